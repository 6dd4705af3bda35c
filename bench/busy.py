#!/usr/bin/env python3
"""How much longer an edit takes beside one busy program: alone and beside it in turns, medians.

    bench/busy.py [BUILD] MODEL [--runs N]
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def busy_program() -> Iterator[None]:
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as process:
        try:
            yield
        finally:
            process.kill()


def seconds(command: list[str], environment: dict[str, str]) -> float:
    told = subprocess.run(command, check=True, capture_output=True, env=environment)
    return float(json.loads(told.stdout)["seconds"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", nargs="?", type=Path, default=Path("build"))
    parser.add_argument("model")
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    environments = {wait: {**{k: v for k, v in os.environ.items() if k != "OMP_WAIT_POLICY"}, **more}
                    for wait, more in (("asleep (the default)", {}), ("in a loop", {"OMP_WAIT_POLICY": "active"}))}
    print("| threads wait | alone, s | beside one busy program, s | ratio |\n| --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as folder:
        command = [str(options.build / "mobiedit"), "edit", "--no-ledger", "--json", options.model,
                   "The capital of {Japan} is", "Lima", "-o", str(Path(folder) / "lima.gguf")]
        for wait, environment in environments.items():
            alone, beside = [], []
            for _ in range(options.runs):
                alone.append(seconds(command, environment))
                with busy_program():
                    beside.append(seconds(command, environment))
            ratio = statistics.median(b / a for a, b in zip(alone, beside))
            print(f"| {wait} | {statistics.median(alone):.1f} | {statistics.median(beside):.1f} | {ratio:.1f} |", flush=True)


if __name__ == "__main__":
    main()
