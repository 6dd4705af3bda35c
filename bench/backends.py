#!/usr/bin/env python3
"""Engines beside each other: the native one, and the ggml engine on each backend.

  backends.py BUILD MODEL.gguf ... [--backend NAME]... [--text TEXT] [--positions N] [--rounds N] [--json FILE]

For each model: how far their logits are from libllama's and from the native engine's, by KL(other || engine) in nats, equal
greedy tokens, and the difference in units of the logits' root mean square; suffix evaluations a second, each against libllama
on the same device in the same run (bench/bench_suffix.c); and one whole edit, with its evaluations, time and energy. Needs numpy.
"""
import argparse
import json
import pathlib
import tempfile

from growth import edit, suffix
from logits import Dumps, greedy_share, mean_kl, relative_difference

HERE = pathlib.Path(__file__).resolve().parent
NATIVE = "native"


def compare(reference, logits):
    return {"kl": mean_kl(reference, logits), "greedy": greedy_share(reference, logits),
            "rms": relative_difference(reference, logits)}


def agreement(options, model, engines):
    with tempfile.TemporaryDirectory() as folder:
        dumps = Dumps(options.build / "bench/accuracy_dump", options.text, options.positions, folder)
        libllama, native = dumps.read(model, "libllama"), dumps.read(model, NATIVE)
        for name in engines:
            own = native if name == NATIVE else dumps.read(model, name)
            yield name, {"libllama": compare(libllama, own), NATIVE: compare(native, own)}


def share(row):
    return f"{row['kl']:.4f}, {100 * row['greedy']:.1f} %, {row['rms']:.3f}"


def measure(options, model):
    engines = [NATIVE] + (options.backend or ["CPU"])
    rows = {name: {} for name in engines}
    print(f"\n{pathlib.Path(model).name}\n| engine | libllama | native |\n|---|---|---|", flush=True)
    for name, row in agreement(options, model, engines):
        rows[name]["agreement"] = row
        print(f"| {name} | {share(row['libllama'])} | {share(row[NATIVE])} |", flush=True)
    print("\n| engine | suffix evaluations/s | responses/s | libllama | ratio |\n|---|---|---|---|---|", flush=True)
    for name in engines:
        row = rows[name]["suffix"] = suffix(options, model, **({} if name == NATIVE else {"B": name}))
        print(f"| {name} | {row['suffix']:.0f} | {row['responses']:.0f} | {row['libllama']:.0f} | {row['ratio']:.2f} |", flush=True)
    print("\n| engine | edit | evaluations | wall s | CPU s | J | peak MiB |\n|---|---|---|---|---|---|---|", flush=True)
    for name in engines:
        backend = [] if name == NATIVE else ["--backend", name]
        row = rows[name]["edit"] = edit(options, model, "--idle-watts", "measure", *backend, check=False)
        joules = "-" if row["joules"] is None else f"{row['joules']:.0f} ({row['energy_source']})"
        print(f"| {name} | {'holds' if row['status'] == 'ok' else row['status']} | {row['evals']} | {row['seconds']:.2f} |"
              f" {row['cpu_seconds']:.2f} | {joules} | {row['peak_rss_bytes'] / 2**20:.0f} |", flush=True)
    return {"model": pathlib.Path(model).name, "engines": rows}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("build", type=lambda text: pathlib.Path(text).resolve())
    parser.add_argument("models", nargs="+", metavar="MODEL.gguf")
    parser.add_argument("--backend", action="append", help="as mobiedit devices names it, or rpc:HOST:PORT,...; CPU without any")
    parser.add_argument("--text", default=str(HERE / "text.txt"))
    parser.add_argument("--positions", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=pathlib.Path)
    options = parser.parse_args()
    results = [measure(options, model) for model in options.models]
    if options.json:
        options.json.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
