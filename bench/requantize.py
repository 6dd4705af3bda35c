#!/usr/bin/env python3
"""A model in another quant type, by libllama's own quantizer.

  PYTHONPATH=$(scripts/llama_cpp_python.sh) LLAMA_CPP_LIB_PATH=LIBRARIES \\
      bench/requantize.py MODEL.gguf OUT.gguf TYPE [--pure]

LIBRARIES is the folder of libllama.so. If MODEL.gguf is quantized itself, it is quantized once more. With --pure all matrices
get the type, where their rows are long enough; without, libllama chooses among its neighbours for some of them.
"""
import argparse
import ctypes
import os

import llama_cpp

MLP = rb"ffn_(gate|up|down)\.weight"
MXFP4 = 39  # of enum ggml_type
# libllama's name of the file type, and what the MLP's matrices are beside it: MXFP4 it gives to experts only by itself.
TYPES = {"BF16": ("BF16", None), "Q8_0": ("Q8_0", None), "Q5_K_S": ("Q5_K_S", None), "Q3_K_M": ("Q3_K_M", None),
         "Q2_K": ("Q2_K", None), "IQ4_NL": ("IQ4_NL", None), "IQ4_XS": ("IQ4_XS", None), "MXFP4": ("Q8_0", MXFP4)}


@llama_cpp.llama_log_callback
def silence(level, text, user):
    pass


def quantize(source, target, name, pure=False):
    file_type, mlp = TYPES[name]
    overrides = (llama_cpp.llama_model_tensor_override * 2)()
    overrides[0].pattern, overrides[0].type = MLP, mlp or 0
    params = llama_cpp.llama_model_quantize_default_params()
    params.ftype = getattr(llama_cpp, f"LLAMA_FTYPE_MOSTLY_{file_type}")
    params.allow_requantize = True
    params.pure = pure
    if mlp:
        params.tt_overrides = overrides
    llama_cpp.llama_log_set(silence, ctypes.c_void_p())
    if llama_cpp.llama_model_quantize(os.fsencode(source), os.fsencode(target), ctypes.byref(params)) != 0:
        raise SystemExit(f"libllama cannot write {name}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("out")
    parser.add_argument("type", choices=TYPES)
    parser.add_argument("--pure", action="store_true")
    options = parser.parse_args()
    quantize(options.model, options.out, options.type, options.pure)


if __name__ == "__main__":
    main()
