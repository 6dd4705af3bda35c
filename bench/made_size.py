#!/usr/bin/env python3
"""What an edit of a model takes whose size is real and whose weights are random, beside backpropagation in PyTorch.

  made_size.py MOBIEDIT DONOR.gguf --shape NAME [--max-evals N] [--steps N] [--dtype NAME]... [--model MODEL.gguf]

made_model.py makes the model, in a temporary folder, or MODEL.gguf is one that it made. `mobiedit edit` is measured as a whole,
model load, keys, and if the target is said verification in libllama: at the answer, which is the default, and at the subject.
Random weights may need more evaluations than --max-evals; then the run ends there ("not solved"). made_reference.py searches
for a delta at the subject in the same layer, in float32 and bfloat16 unless --dtype names one. Of both: wall and processor
seconds, the process's peak resident memory, and the load of the machine before.
"""
import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile

import float_reference
from edit_vs_reference import run

FACT = "The capital of {Japan} is", "Lima"
HERE = pathlib.Path(__file__).resolve().parent
DTYPES = "float32", "bfloat16"
NO_MEMORY = 3  # made_reference.py's exit status


def load():
    return f"{os.getloadavg()[0]:.1f}"


def edit(options, model, place):
    busy = load()
    with tempfile.TemporaryDirectory() as folder:
        status, out, wall, cpu, memory = run([
            options.mobiedit, "edit", model, *FACT, "--no-ledger", "--calibration", "none", "--place", place, "--max-evals",
            str(options.max_evals), "-q", "--json", "-o", os.path.join(folder, "edit.gguf")])
    if status not in (0, 1):
        sys.exit(f"mobiedit edit failed with exit status {status}")
    told = json.loads(out)
    work = f"{told['evals']} evaluations, {told['token_passes']} token passes, layer {told['layer']}"
    return told, (f"mobiedit, {place}", work, f"{told['status']}, loss {told['loss']:.2f}", wall, cpu, memory, busy)


def backpropagation(options, dtype, layer):
    busy = load()
    status, out, _, _, memory = run([
        sys.executable, HERE / "made_reference.py", options.donor, "--shape", options.shape, "--layer", str(layer),
        "--dtype", dtype, "--steps", str(options.steps)], {**os.environ, "OMP_WAIT_POLICY": "passive"})
    if status == NO_MEMORY:
        return None
    if status:
        sys.exit(f"the reference failed with exit status {status}")
    told = json.loads(out)
    return (f"backpropagation, {dtype}", f"{told['steps']} steps, layer {layer}", f"loss {told['nll']:.2f}", told["seconds"],
            told["cpu_seconds"], memory, busy)


def show(row):
    *texts, wall, cpu, memory, busy = row
    print(f"| {' | '.join(texts)} | {wall:.0f} | {cpu:.0f} | {memory / 2**20:,.0f} | {busy} |", flush=True)


def measure(options, model):
    print(f"{options.shape}, seed 0, {os.path.getsize(model) / 2**20:,.0f} MiB; load of {os.cpu_count()} processors\n\n"
          "| what | work | end | wall s | CPU s | peak MiB | load |\n| --- | --- | --- | --- | --- | --- | --- |")
    for place in ("answer", "subject"):
        told, row = edit(options, model, place)
        show(row)
    for dtype in options.dtype or DTYPES:
        if row := backpropagation(options, dtype, told["layer"]):
            show(row)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mobiedit")
    parser.add_argument("donor")
    parser.add_argument("--shape", required=True, help="one that made_model.py knows")
    parser.add_argument("--max-evals", type=int, default=300)
    parser.add_argument("--steps", type=int, default=25)
    parser.add_argument("--dtype", action="append", choices=DTYPES)
    parser.add_argument("--model")
    options = parser.parse_args()
    float_reference.packages()  # installed before anything is timed
    with tempfile.TemporaryDirectory() as folder:
        model = options.model or os.path.join(folder, "made.gguf")
        # By a process of its own: a child's peak memory is never less than its parent's memory at the fork.
        if not options.model:
            subprocess.run([sys.executable, HERE / "made_model.py", options.donor, model, "--shape", options.shape], check=True)
        measure(options, model)


if __name__ == "__main__":
    main()
