#!/usr/bin/env python3
"""Many facts in one adapter: those that hold, and what else changes, as the ledger grows.

  joint.py MOBIEDIT MODEL FACTS.json FOLDER [--steps 1,10,100] [--no-stack] [--svg FILE] [--json FILE] [--beside ROWS.json]

For each N of --steps the first N facts are imported into one ledger, exported as one adapter, and measured with it
(mobiedit eval --adapter). Beside it stands naive stacking: each fact's own `mobiedit edit --no-ledger` adapter, and all of
them in one file, vectors unchanged. Everything lies in FOLDER, and what is there is not done again: a run that was cut off
goes on where it was. --beside draws what --json wrote in other runs too. Needs the Python package gguf.
"""
import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys

import gguf
import numpy

from growth import HEIGHT, WIDTH, panel

NEITHER = (0, 1)  # exit statuses of a command that did what it could


class Bench:
    def __init__(self, options):
        self.mobiedit, self.model, self.facts_path = options.mobiedit, options.model, options.facts
        self.facts = json.loads(options.facts.read_text(encoding="utf-8"))
        self.folder = options.folder
        (self.folder / "single").mkdir(parents=True, exist_ok=True)
        self.ledger = self.folder / "ledger.db"

    def kept(self, name, *command):
        """The command's JSON, which is run unless FOLDER has it."""
        path = self.folder / name
        if not path.exists():
            ran = subprocess.run([self.mobiedit, *map(str, command), "--json"], stdout=subprocess.PIPE, check=False)
            if ran.returncode not in NEITHER or not ran.stdout:
                sys.exit(f"{command[0]} ends with exit status {ran.returncode}")
            part = path.with_suffix(".part")
            part.write_bytes(ran.stdout)
            os.replace(part, path)
        return json.loads(path.read_text(encoding="utf-8"))

    def measure(self, name, adapter, n):
        return self.kept(f"eval-{name}-{n}.json", "eval", self.model, self.facts_path, "-n", n, "--adapter", adapter,
                         "--no-fluency", "-q", "--state", self.folder / f"eval-{name}-{n}.jsonl")

    def joint(self, n):
        """The adapter of the ledger with n facts; what the import told."""
        told = self.kept(f"import-{n}.json", "import", self.model, self.facts_path, "-n", n, "--ledger", self.ledger, "-q")
        adapter = self.folder / f"joint-{n}.gguf"
        if not adapter.exists():
            subprocess.run([self.mobiedit, "export", self.model, "--ledger", self.ledger, "-o", adapter], check=True)
        return adapter, told

    def records(self, n, told):
        """What the ledger tells of each edit that it has of the first n facts."""
        edits = self.kept(f"list-{n}.json", "list", self.model, "--ledger", self.ledger)["edits"]
        known = {fact["id"] for fact in told["facts"]}
        return [edit for edit in edits if edit["id"] in known and edit["state"] == "active"]

    def single(self, i):
        """The adapter of fact i alone; None where there is none: it cannot be edited, or is said already."""
        rewrite = self.facts[i]["requested_rewrite"]
        prompt = rewrite["prompt"].replace("{}", "{" + rewrite["subject"] + "}")
        path = self.folder / "single" / f"{i}.gguf"
        self.kept(f"single/{i}.json", "edit", self.model, prompt, rewrite["target_new"]["str"], "--no-ledger",
                  "--place", "subject", "-o", path, "-q")
        return path if path.exists() else None

    def stack(self, n):
        """All single adapters in one file."""
        path = self.folder / f"stack-{n}.gguf"
        if not path.exists():
            stack_adapters([a for a in map(self.single, range(n)) if a], path)
        return path


def tensors_of(path):
    """{name: values}; lora_a [rank][n_in], lora_b [n_out][rank]. The file leaves dimensions of 1 out at the end."""
    return {t.name: numpy.atleast_2d(t.data) for t in gguf.GGUFReader(path).tensors}


def stack_adapters(paths, output):
    rows = {}
    for path in paths:
        for name, values in tensors_of(path).items():
            rows.setdefault(name, []).append(values)
    ranks = {sum(a.shape[0] for a in parts) for name, parts in rows.items() if name.endswith(".lora_a")}
    architecture = gguf.GGUFReader(paths[0]).get_field("general.architecture").contents()
    writer = gguf.GGUFWriter(output, architecture)
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    # llama.cpp scales by alpha / rank of each tensor, so that only one rank can be left unscaled by alpha: the vectors of
    # other layers are scaled here instead.
    alpha = max(ranks)
    writer.add_float32("adapter.lora.alpha", float(alpha))
    for name, parts in rows.items():
        is_a = name.endswith(".lora_a")
        whole = numpy.concatenate(parts, axis=0 if is_a else 1).astype(numpy.float32)
        writer.add_tensor(name, numpy.ascontiguousarray(whole if is_a else whole * (whole.shape[1] / alpha)))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def rank_of(path):
    return sum(values.shape[0] for name, values in tensors_of(path).items() if name.endswith("ffn_down.weight.lora_a"))


def edited_neighbours(measured):
    """Share of neighbour prompts that name an edited subject, and of the others those that are unchanged."""
    subjects = {case["subject"] for case in measured["per_case"]}
    said = [s for case in measured["per_case"] for s in case.get("said", []) if s["kind"] == "neighbour"]
    others = [s["held"] for s in said if not any(subject in s["prompt"] for subject in subjects)]
    return 1 - len(others) / len(said) if said else 0, statistics.mean(others) if others else None


def row(kind, n, measured, adapter, told=None, records=()):
    named, others = edited_neighbours(measured)
    out = {"kind": kind, "facts": n, "rank": rank_of(adapter), "bytes": adapter.stat().st_size,
           "neighbours_edited": named, "unchanged_others": others}
    out |= {name: measured[name] for name in ("rewrite", "paraphrase", "unchanged", "neighbour_kl", "drift")}
    if told:
        out |= {"active": told["active"], "hold": told["hold"], "solved_anew": told["solved_anew"]}
        out |= {f"median_{name}": statistics.median(r[name] for r in records) for name in ("evals", "seconds")}
    return out


def share(value):
    return "-" if value is None else f"{100 * value:.0f} %"


def print_table(rows):
    print("\n| facts | | rank | active | hold | rewrite | paraphrase | unchanged | of others | neighbour KL | drift |"
          "\n| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for r in rows:
        print(f"| {r['facts']} | {r['kind']} | {r['rank']} | {r.get('active', '')} | {r.get('hold', '')} | {share(r['rewrite'])}"
              f" | {share(r['paraphrase'])} | {share(r['unchanged'])} | {share(r['unchanged_others'])}"
              f" | {r['neighbour_kl']:.3f} | {r['drift']:.4f} |", flush=True)


def draw(rows, path):
    def series(field, factor):
        return [(kind, colour, [(r["facts"], factor * r[field]) for r in rows if r["kind"] == kind])
                for kind, colour in (("joint", "#1460aa"), ("stacked", "#bb4411")) if any(r["kind"] == kind for r in rows)]
    panels = [("facts that hold, %", series("rewrite", 100)), ("neighbours unchanged, %", series("unchanged", 100)),
              ("drift, nats / 1,000", series("drift", 1000))]
    body = "".join(panel(i * WIDTH, title, "facts", lines) for i, (title, lines) in enumerate(panels))
    path.write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{len(panels) * WIDTH}" height="{HEIGHT}" font-family="sans-serif"'
        f' font-size="11"><rect width="100%" height="100%" fill="white"/>{body}</svg>\n', encoding="utf-8")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("mobiedit", "model", "facts", "folder"):
        parser.add_argument(name, type=lambda text: pathlib.Path(text).resolve())
    parser.add_argument("--steps", default="1,10,100")
    parser.add_argument("--no-stack", action="store_true", help="without naive stacking, which is as many edits again")
    parser.add_argument("--svg", type=pathlib.Path)
    parser.add_argument("--json", type=pathlib.Path)
    parser.add_argument("--beside", type=pathlib.Path, action="append", default=[])
    options = parser.parse_args()

    bench, rows = Bench(options), []
    for n in (int(step) for step in options.steps.split(",")):
        if n > len(bench.facts):
            break
        adapter, told = bench.joint(n)
        rows.append(row("joint", n, bench.measure("joint", adapter, n), adapter, told, bench.records(n, told)))
        if not options.no_stack:
            adapter = bench.stack(n)
            rows.append(row("stacked", n, bench.measure("stacked", adapter, n), adapter))
        print_table(rows)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    if options.svg:
        for path in options.beside:
            rows += json.loads(path.read_text(encoding="utf-8"))
        draw(sorted(rows, key=lambda row: row["facts"]), options.svg)


if __name__ == "__main__":
    main()
