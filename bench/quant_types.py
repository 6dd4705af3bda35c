#!/usr/bin/env python3
"""One model in many quant types: each is made by libllama's quantizer in a temporary folder, edited once, and verified.

  PYTHONPATH=$(scripts/llama_cpp_python.sh) LLAMA_CPP_LIB_PATH=LIBRARIES \\
      bench/quant_types.py BUILD MODEL.gguf [--type NAME]... [--prompt PROMPT] [--target TARGET] [--json FILE]

LIBRARIES is the folder of libllama.so. If MODEL.gguf is quantized itself, it is quantized once more. A Markdown table is
printed, a row when it is known: the type, the types of the tensors (rows whose length is no multiple of 256 get others than
were asked for), the engine, the edit's loss, evaluations and processor time, and whether `mobiedit verify` finds that it holds.
"""
import argparse
import json
import os
import pathlib
import subprocess
import tempfile

import requantize

DEFAULT = ("BF16", "Q8_0", "Q5_K_S", "IQ4_XS", "MXFP4", "Q3_K_M", "Q2_K")


def told(options, *args):
    """What a command prints as JSON, on failure too."""
    ran = subprocess.run([options.build / "mobiedit", *args, "--json"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                         check=False, env={**os.environ, "OMP_WAIT_POLICY": "passive"})
    return json.loads(ran.stdout)


def measure(options, model):
    about = told(options, "inspect", model)
    edit = told(options, "edit", model, options.prompt, options.target, "-q")
    row = {"types": about["types"], "engine": about["backend"], "status": edit["status"]}
    if edit["status"] == "ok":
        verified = told(options, "verify", model, "-q")
        row |= {name: edit[name] for name in ("loss", "evals", "cpu_seconds", "after")}
        row["holds"] = verified.get("hold") == verified.get("active") == 1
    return row


def shown(name, row):
    if row["status"] != "ok":
        return f"| {name} | {row['types']} | {row['engine']} | - | - | - | no: {row['status']} |"
    return (f"| {name} | {row['types']} | {row['engine']} | {row['loss']:.2f} | {row['evals']} | {row['cpu_seconds']:.0f} | "
            f"{'yes' if row['holds'] else 'no'} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", type=pathlib.Path)
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("--type", action="append", choices=requantize.TYPES, help=f"by default {', '.join(DEFAULT)}")
    parser.add_argument("--prompt", default="The capital of {Japan} is")
    parser.add_argument("--target", default="Lima")
    parser.add_argument("--json", type=pathlib.Path)
    options = parser.parse_args()
    rows = {}
    print("| type | tensors | engine | loss | evaluations | CPU s | holds |\n| --- | --- | --- | --- | --- | --- | --- |", flush=True)
    for name in options.type or DEFAULT:
        with tempfile.TemporaryDirectory() as folder:
            model = pathlib.Path(folder) / f"{name}.gguf"
            requantize.quantize(options.model, model, name)
            rows[name] = measure(options, model)
        print(shown(name, rows[name]), flush=True)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
