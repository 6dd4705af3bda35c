#!/usr/bin/env python3
"""Backpropagation, as tests/reference/reference.py does it, on random weights in the shape of a real model.

  made_reference.py DONOR.gguf --shape NAME --layer L [--dtype float32|bfloat16] [--steps N]

What made_model.py writes in quant blocks is made here in PyTorch's memory, with the same deviations; the vocabulary is DONOR's.
One JSON line: seconds and processor seconds of the search for one delta, everything that it does not change computed once;
the time to make the weights and the key solve are not counted. Exit status 3: the weights are too many for the memory that is
free.
"""
import argparse
import json
import os
import pathlib
import sys
import time

import float_reference
import made_model

reference = float_reference.load()
import torch

PROMPT = {"prompt": "The capital of {} is", "subject": "Japan", "target_new": {"str": "Lima"}}


def refuse_without_memory(weights):
    """Exits if so many bytes of weights, and a sixth more for what is computed, are not to be had without swapping."""
    lines = dict(line.split(":") for line in pathlib.Path("/proc/meminfo").read_text().splitlines())
    if weights * 7 / 6 > int(lines["MemAvailable"].split()[0]) * 1024:
        print(f"{weights / 2**30:.1f} GiB of weights are too many for the memory that is free", file=sys.stderr)
        sys.exit(3)


class Made(reference.Model):
    """Products are in the weights' type, norms, rope, residuals behind the delta, and losses in float32."""

    def __init__(self, shape, donor, dtype):
        self.L, self.d, self.nh, self.nkv, self.hd = shape.layers, shape.width, shape.heads, shape.kv_heads, shape.head
        self.theta, self.eps, self.neox = shape.rope_base, shape.eps, shape.architecture != "llama"
        self.tok = reference.AutoTokenizer.from_pretrained(os.path.dirname(os.path.abspath(donor)),
                                                           gguf_file=os.path.basename(donor))
        matrices = list(made_model.matrices(shape, made_model.vocabulary(donor)))
        refuse_without_memory(sum(rows * columns for _, rows, columns, _, _ in matrices) * dtype.itemsize)
        self.w = {name: torch.empty(rows, columns, dtype=dtype).uniform_(-(3**0.5) * deviation, 3**0.5 * deviation)
                  for name, rows, columns, _, deviation in matrices}
        self.w |= {name: (mean + deviation * torch.randn(length)).to(dtype)
                   for name, length, deviation, mean in made_model.vectors(shape)}
        self.U = self.w.get("output.weight", self.w["token_embd.weight"])

    def norm(self, x, w):
        return super().norm(x.float(), w.float()).to(w.dtype)

    def rope(self, x, cs):
        return super().rope(x.float(), cs).to(x.dtype)

    def final(self, x):
        return super().final(x).float()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("donor")
    parser.add_argument("--shape", choices=made_model.SHAPES, required=True)
    parser.add_argument("--layer", type=int, required=True)
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--steps", type=int, default=25)
    options = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(os.cpu_count())
    model = Made(made_model.SHAPES[options.shape], options.donor, getattr(torch, options.dtype))
    wall, cpu = time.monotonic(), time.process_time()
    _, info = reference.bp(reference.Edit(model, PROMPT, options.layer), steps=options.steps, stop=float("-inf"))
    print(json.dumps({"seconds": time.monotonic() - wall, "cpu_seconds": time.process_time() - cpu, **info}))


if __name__ == "__main__":
    main()
