#!/usr/bin/env python3
"""How far the native engine and libllama are from float32 logits of the same weights, on ordinary English text.

  PYTHONPATH=$(scripts/python_packages.sh reference) bench/accuracy.py --dump build/bench/accuracy_dump MODEL.gguf ...

Prints one JSON line a model: mean KL(float32 || libllama) and mean KL(float32 || native) in nats over N positions, their
ratio, and the share of positions at which two computations' greedy tokens are equal; among them libllama and libllama
that keeps K and V in float32 instead of float16, which tells how much of a difference is just rounding. Float32 logits
come from tests/reference/reference.py (PyTorch; llama, qwen2, qwen3), and for other architectures from
libllama on a copy of the file with all weights dequantised to F32.
"""
import argparse
import json
import os
import tempfile

import numpy as np
from gguf import GGMLQuantizationType, GGUFReader, GGUFWriter, dequantize

import float_reference
from logits import Dumps, greedy_share, mean_kl

HERE = os.path.dirname(os.path.abspath(__file__))
REFERENCE_ARCHITECTURES = ("llama", "qwen2", "qwen3")
# What a writer sets by itself.
OWN_FIELDS = ("GGUF.version", "GGUF.tensor_count", "GGUF.kv_count", "general.architecture")


def copy_as_f32(source, path):
    """The model file `source` with every tensor dequantised."""
    reader = GGUFReader(source)
    writer = GGUFWriter(path, reader.fields["general.architecture"].contents())
    for name, field in reader.fields.items():
        if name not in OWN_FIELDS:
            kind = field.types[0]
            writer.add_key_value(name, field.contents(), kind, field.types[-1] if len(field.types) > 1 else None)
    for tensor in reader.tensors:
        shape = [int(n) for n in tensor.shape[::-1]]
        data = np.array(dequantize(tensor.data, tensor.tensor_type), dtype=np.float32).reshape(shape)
        writer.add_tensor(tensor.name, data, raw_dtype=GGMLQuantizationType.F32)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def reference_logits(model, tokens):
    """[n][n_vocab] by the reference's Model class."""
    reference = float_reference.load()
    import torch

    with torch.no_grad():
        exact = reference.Model(model)
        return exact.final(exact.run(tokens.tolist())["x"]).numpy()


def measure(model, options, folder):
    dumps = Dumps(options.dump, options.text, options.positions, folder)
    if GGUFReader(model).fields["general.architecture"].contents() in REFERENCE_ARCHITECTURES:
        exact = reference_logits(model, dumps.read(model, "tokens", np.int32)[:, 0])
        source = "reference"
    else:
        copy = os.path.join(folder, "f32.gguf")
        copy_as_f32(model, copy)
        exact, source = dumps.read(copy, "libllama"), "libllama on F32"
    native, libllama = dumps.read(model, "native"), dumps.read(model, "libllama")
    ours, theirs = mean_kl(exact, native), mean_kl(exact, libllama)
    kv32 = dumps.read(model, "libllama-kv32")
    return dict(model=os.path.basename(model), positions=len(exact), float32=source, kl_libllama=theirs, kl_native=ours,
                ratio=ours / theirs, greedy_native_is_libllama=greedy_share(native, libllama),
                greedy_kv32_is_libllama=greedy_share(kv32, libllama), greedy_native_is_float32=greedy_share(native, exact),
                greedy_libllama_is_float32=greedy_share(libllama, exact))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="+", metavar="MODEL.gguf")
    parser.add_argument("--dump", required=True, help="the accuracy_dump program")
    parser.add_argument("--text", default=os.path.join(HERE, "text.txt"))
    parser.add_argument("--positions", type=int, default=500)
    options = parser.parse_args()
    for model in options.models:
        with tempfile.TemporaryDirectory() as folder:
            result = measure(model, options, folder)
        print(json.dumps({k: round(v, 6) if isinstance(v, float) else v for k, v in result.items()}), flush=True)


if __name__ == "__main__":
    main()
