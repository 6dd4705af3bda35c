#!/usr/bin/env python3
"""Times `mobiedit edit` against a backpropagation reference, fact by fact, in one run on one machine.

  edit_vs_reference.py MOBIEDIT MODEL.gguf FACTS.json --layer L [--n N] [--skip N]

FACTS.json is in CounterFact's schema, as that of made_facts.py, and has at least 40 facts, of which N are edited: five,
which takes some three minutes with a model of 135 million weights. The reference is tests/reference/reference.py. For
each fact the two run one after the other, so that both see the same machine. Of `mobiedit edit`: wall and CPU seconds and
peak resident memory of the whole process, model load and verification included. Of the reference: the seconds that it
reports for the edit itself, load excluded, and its peak memory over all facts.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

import float_reference


def run(command, environment=None):
    """Runs to the end: exit status, stdout, wall seconds, CPU seconds, peak resident bytes."""
    with tempfile.TemporaryFile("w+") as out:
        begin = time.monotonic()
        child = subprocess.Popen(command, stdout=out, stdin=subprocess.DEVNULL, env=environment)
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        wall = time.monotonic() - begin
        out.seek(0)
        return child.returncode, out.read(), wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024


def edit(options, rewrite):
    with tempfile.TemporaryDirectory() as folder:
        prompt = rewrite["prompt"].replace("{}", "{" + rewrite["subject"] + "}")
        status, _, wall, cpu, memory = run([options.mobiedit, "edit", options.model, prompt, rewrite["target_new"]["str"],
                                            "--no-ledger", "--place", "subject", "-q", "-o", folder + "/edit.gguf"])
    if status not in (0, 1):
        sys.exit(f"mobiedit edit failed with exit status {status}")
    return {"written": status == 0, "wall": wall, "cpu": cpu, "memory": memory}


class Reference:
    """One process for all facts, idle between them: to load PyTorch and the model takes longer than an edit."""

    def __init__(self, options):
        command = [sys.executable, float_reference.PROGRAM, options.model, options.facts, "--layer", str(options.layer),
                   "--solver", "bp", "--skip", str(options.skip), "--n", str(options.n), "--paced"]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                        env={**os.environ, "PYTHONPATH": options.packages, "OMP_WAIT_POLICY": "passive"})
        self.line()  # it is loaded

    def line(self):
        told = self.process.stdout.readline()
        if not told:
            sys.exit(f"the reference failed with exit status {self.process.wait()}")
        return json.loads(told)

    def edit(self):
        """Seconds of the next fact."""
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return self.line()["seconds"]

    def close(self):
        """Peak memory of all, in bytes."""
        peak = self.line()["peak_mb"] * 2**20
        self.process.communicate()
        return peak


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("mobiedit", "model", "facts"):
        parser.add_argument(name)
    parser.add_argument("--layer", type=int, required=True, help="the reference's layer")
    parser.add_argument("--n", type=int, default=5)
    parser.add_argument("--skip", type=int, default=0)
    options = parser.parse_args()
    options.packages = float_reference.packages()

    with open(options.facts, encoding="utf-8") as file:
        facts = json.load(file)[: options.skip + options.n]
    ours, theirs = [], []
    reference = Reference(options)
    print("fact  mobiedit: wall s   cpu s  peak MB    reference: wall s", flush=True)
    for index in range(options.skip, len(facts)):
        a = edit(options, facts[index]["requested_rewrite"])
        ours.append(a)
        theirs.append(reference.edit())
        print(f"{index:4}  {a['wall']:16.2f} {a['cpu']:7.2f} {a['memory'] / 2**20:8.0f}  {theirs[-1]:19.2f}"
              f"{'' if a['written'] else '   not written'}", flush=True)
    their_peak = reference.close()
    our_peak = max(row["memory"] for row in ours)

    def median(key):
        return statistics.median(row[key] for row in ours)

    print(json.dumps({
        "model": os.path.basename(options.model),
        "facts": len(ours),
        "written": sum(row["written"] for row in ours),
        "wall": round(median("wall"), 3),
        "cpu": round(median("cpu"), 3),
        "peak_bytes": our_peak,
        "reference_wall": round(statistics.median(theirs), 3),
        "reference_peak_bytes": their_peak,
        "wall_ratio": round(statistics.median(theirs) / median("wall"), 2),
        "memory_ratio": round(their_peak / our_peak, 2),
    }))


if __name__ == "__main__":
    main()
