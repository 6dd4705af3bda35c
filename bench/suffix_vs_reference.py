#!/usr/bin/env python3
"""Suffix evaluations a second: ours, libllama's, and a float32 PyTorch reference's, in one run on one machine.

  suffix_vs_reference.py BENCH_SUFFIX MODEL.gguf TEXT FACTS.json --layer L [--fact I] [--deltas N] [--rounds R]

Takes a fact's prompt, as the reference cuts it: so many tokens before the subject's last one, so many from it on, so
many of the target's. All three then evaluate N deltas of that shape, in turns; `bench_suffix` says how it and libllama
do it. FACTS.json is in CounterFact's schema, as that of made_facts.py. The reference, tests/reference/reference.py, runs in
this interpreter.
Medians of the rounds; ratios are those within a round.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import time

import float_reference


def ours(options, edit, before):
    """One turn of bench_suffix: its own medians of ours and of libllama."""
    shape = ["-n", str(options.deltas), "-b", str(before), "-s", str(edit.S), "-q", str(edit.nt), "-l",
             str(options.layer), "-j", str(options.threads), "-r", "3"]
    out = subprocess.run([options.bench_suffix, *shape, options.model, options.text], check=True, capture_output=True)
    return json.loads(out.stdout)


def theirs(torch, edit, deltas):
    with torch.no_grad():
        begin = time.monotonic()
        edit.nll(edit.hidden(deltas))
        return len(deltas) / (time.monotonic() - begin)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("bench_suffix", "model", "text", "facts"):
        parser.add_argument(name)
    parser.add_argument("--layer", type=int, required=True)
    parser.add_argument("--fact", type=int, default=0)
    parser.add_argument("--deltas", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    options = parser.parse_args()

    reference = float_reference.load()
    import torch  # from the reference's packages

    torch.set_num_threads(options.threads)
    with open(options.facts, encoding="utf-8") as file:
        rewrite = json.load(file)[options.fact]["requested_rewrite"]
    model = reference.Model(options.model)
    edit = reference.Edit(model, rewrite, options.layer, reference.CARRIERS[:1])
    prompt = rewrite["prompt"].replace("{}", rewrite["subject"])
    before = len(model.enc(prompt)) + edit.nt - 1 - edit.S
    if before < 1:
        sys.exit("the subject's last token is the prompt's first: take another fact")
    deltas = torch.randn(options.deltas, model.d) * edit.v / model.d**0.5

    theirs(torch, edit, deltas)  # warms up
    rounds = []
    for _ in range(options.rounds):
        row = ours(options, edit, before)
        rounds.append({"suffix": row["suffix"], "libllama": row["libllama"], "reference": theirs(torch, edit, deltas)})
    print(json.dumps({
        "model": os.path.basename(options.model), "layer": options.layer, "deltas": options.deltas, "before": before,
        "suffix_tokens": edit.S, "read": edit.nt, "threads": options.threads,
        **{name: round(statistics.median(row[name] for row in rounds), 1) for name in rounds[0]},
        "of_libllama": round(statistics.median(row["suffix"] / row["libllama"] for row in rounds), 2),
        "of_reference": round(statistics.median(row["suffix"] / row["reference"] for row in rounds), 2)}))


if __name__ == "__main__":
    main()
