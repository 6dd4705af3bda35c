#!/usr/bin/env python3
"""How time and memory grow with the work: with the model, the deltas a batch, the length of the prompt, the threads.

  growth.py BUILD MODELS_DIR TEXT [--svg FILE] [--rounds N]

Prints a table for each, every row measured against libllama in the same run (bench/bench_suffix.c), and draws them.
"""
import argparse
import json
import os
import pathlib
import subprocess
import tempfile

MODELS = [  # name, file, millions of parameters
    ("smollm2", "smollm2-135m-instruct-q4_1.gguf", 135),
    ("qwen05", "qwen2.5-coder-0.5b-instruct-q4_k_m.gguf", 494),
    ("qwen15", "qwen2.5-coder-1.5b-instruct-q4_k_m.gguf", 1544),
]
COLUMNS = ["suffix", "hidden", "responses", "whole", "libllama", "ratio"]
WIDTH, HEIGHT, MARGIN = 360, 240, 48


def suffix(options, model, **flags):
    """What bench_suffix prints; flags are its own."""
    command = [options.build / "bench/bench_suffix", "-r", str(options.rounds)]
    for flag, value in flags.items():
        command += ["-" + flag, str(value)]
    return json.loads(subprocess.run(command + [model, options.text], check=True,
                                     capture_output=True, text=True).stdout)


def edit(options, model, *more, check=True):
    """What an edit of the model prints; `more` are options of the command. check: one that fails ends the program."""
    with tempfile.TemporaryDirectory() as folder:
        command = [options.build / "mobiedit", "edit", "--no-ledger", model, "The capital of {Japan} is", "Lima", "-q", "--json",
                   "--place", "subject", "-o", folder + "/edit.gguf", *more]
        result = json.loads(subprocess.run(command, check=check, capture_output=True, text=True).stdout)
    return result | {"file_bytes": os.path.getsize(model)}


def table(title, key, rows):
    print(f"\n{title}\n{key:>10} " + " ".join(f"{name:>10}" for name in COLUMNS))
    for value, row in rows:
        print(f"{value:>10} " + " ".join(f"{row[name]:>10}" for name in COLUMNS), flush=True)


def polyline(points, x_of, y_of, colour):
    path = " ".join(f"{x_of(x):.1f},{y_of(y):.1f}" for x, y in points)
    dots = "".join(f'<circle cx="{x_of(x):.1f}" cy="{y_of(y):.1f}" r="2.5" fill="{colour}"/>' for x, y in points)
    return f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.5"/>{dots}'


def panel(left, title, x_name, series):
    """series: [(name, colour, [(x, y)])]; y from zero, x evenly spaced in the order given."""
    xs = [x for x, _ in series[0][2]]
    top = max(y for _, _, points in series for _, y in points) * 1.1
    place = {x: i for i, x in enumerate(xs)}

    def x_of(x):
        return left + MARGIN + place[x] * (WIDTH - 1.5 * MARGIN) / max(1, len(xs) - 1)

    def y_of(y):
        return HEIGHT - MARGIN - y / top * (HEIGHT - 2 * MARGIN)

    parts = [f'<text x="{left + WIDTH / 2}" y="18" text-anchor="middle" font-weight="bold">{title}</text>',
             f'<text x="{left + WIDTH / 2}" y="{HEIGHT - 8}" text-anchor="middle">{x_name}</text>',
             f'<path d="M{left + MARGIN} {y_of(top)} V{y_of(0)} H{left + WIDTH - MARGIN / 2}" fill="none" stroke="#888"/>']
    parts += [f'<text x="{x_of(x)}" y="{HEIGHT - MARGIN + 14}" text-anchor="middle">{x}</text>' for x in xs]
    parts += [f'<text x="{left + MARGIN - 4}" y="{y_of(top * share) + 4}" text-anchor="end">{top * share:,.0f}</text>'
              for share in (0, .5, 1)]
    for i, (name, colour, points) in enumerate(series):
        parts.append(polyline(points, x_of, y_of, colour))
        parts.append(f'<text x="{left + MARGIN + 8}" y="{34 + 13 * i}" fill="{colour}">{name}</text>')
    return "".join(parts)


def speeds(rows):
    return [(name, colour, [(x, row[column]) for x, row in rows]) for name, colour, column in
            (("native", "#1460aa", "suffix"), ("libllama", "#bb4411", "libllama"))]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("build", type=pathlib.Path)
    parser.add_argument("models", type=pathlib.Path)
    parser.add_argument("text")
    parser.add_argument("--svg")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()

    there = [(name, options.models / file, millions) for name, file, millions in MODELS if (options.models / file).exists()]
    main_model = there[0][1]
    by_model = [(name, suffix(options, model)) for name, model, _ in there]
    table("evaluations a second: 64 deltas, 4 tokens of suffix behind 4, 2 of them read", "model", by_model)
    by_deltas = [(n, suffix(options, main_model, n=n)) for n in (8, 16, 32, 64, 128)]
    table(f"by deltas a batch, {there[0][0]}", "deltas", by_deltas)
    by_prompt = [(b, suffix(options, main_model, b=b, n=32)) for b in (8, 32, 64, 128, 256)]
    table(f"by tokens before the subject, 32 deltas, {there[0][0]}", "tokens", by_prompt)
    by_suffix = [(s, suffix(options, main_model, s=s, n=16)) for s in (2, 4, 8, 16, 32)]
    table(f"by tokens of suffix, 16 deltas, {there[0][0]}", "tokens", by_suffix)
    by_threads = [(j, suffix(options, main_model, j=j)) for j in sorted({1, os.cpu_count() or 1})]
    table(f"by threads, {there[0][0]}", "threads", by_threads)

    print(f"\none edit, model load and verification included\n{'model':>10} {'million':>8} {'evals':>6} {'wall s':>7}"
          f" {'CPU s':>7} {'J':>7} {'peak MiB':>9} {'file MiB':>9}")
    edits = [(name, millions, edit(options, model)) for name, model, millions in there]
    for name, millions, e in edits:
        print(f"{name:>10} {millions:>8} {e['evals']:>6} {e['seconds']:>7.2f} {e['cpu_seconds']:>7.2f}"
              f" {'-' if e['joules'] is None else format(e['joules'], '.1f'):>7} {e['peak_rss_bytes'] / 2**20:>9.0f} {e['file_bytes'] / 2**20:>9.0f}")
    if not options.svg:
        return
    panels = [("evaluations a second, by model", "model", speeds(by_model)),
              ("... by deltas a batch", "deltas", speeds(by_deltas)),
              ("... by prompt length", "tokens before the subject", speeds(by_prompt)),
              ("memory of an edit, MiB", "million parameters",
               [("peak", "#1460aa", [(m, e["peak_rss_bytes"] / 2**20) for _, m, e in edits]),
                ("model file", "#888", [(m, e["file_bytes"] / 2**20) for _, m, e in edits])])]
    body = "".join(panel(i * WIDTH, *p) for i, p in enumerate(panels))
    pathlib.Path(options.svg).write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{len(panels) * WIDTH}" height="{HEIGHT}" font-family="sans-serif"'
        f' font-size="11"><rect width="100%" height="100%" fill="white"/>{body}</svg>\n', encoding="utf-8")


if __name__ == "__main__":
    main()
