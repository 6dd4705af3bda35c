#!/usr/bin/env python3
"""A model of random weights in the shape of a real one, to measure what an edit of that size takes where the real one is not.

  made_model.py DONOR.gguf MODEL.gguf --shape NAME [--seed N]

The tensors have the names, shapes and quant types that libllama's Q4_K_M gives them; quants, scales and biases are random, the
same for each seed. The vocabulary with its chat template is DONOR's, so that the embedding has DONOR's rows and not the real
model's. A layer sees inputs of about unit variance, as the norms in front of it make them, and gives outputs of about unit
variance; the embedding is as large as a layer's output at most, so that the model does not just repeat its last token.
"""
import argparse
import dataclasses
import sys

import float_reference

sys.path.insert(0, float_reference.packages("gguf"))
import gguf
import numpy as np

Q4_K, Q6_K = gguf.GGMLQuantizationType.Q4_K, gguf.GGMLQuantizationType.Q6_K
BLOCK = 256  # values in a block of a K-quant
LOGIT_DEVIATION = 2.0  # between tokens
GATED_VARIANCE = 0.356  # of silu(x) y with x and y of unit variance


@dataclasses.dataclass(frozen=True)
class Shape:
    architecture: str
    layers: int
    width: int
    mlp: int
    heads: int
    kv_heads: int
    head: int
    rope_base: float
    eps: float
    tied: bool  # the embedding is the unembedding too
    context: int = 32768

    @property
    def biased(self):
        """Whether q, k and v have biases."""
        return self.architecture == "qwen2"


SHAPES = {
    "qwen2.5-3b": Shape("qwen2", 36, 2048, 11008, 16, 2, 128, 1e6, 1e-6, True),
    "qwen2.5-7b": Shape("qwen2", 28, 3584, 18944, 28, 4, 128, 1e6, 1e-6, False),
    "llama-3.2-3b": Shape("llama", 28, 3072, 8192, 24, 8, 128, 5e5, 1e-5, True),
    "tiny": Shape("qwen2", 8, 256, 512, 4, 2, 64, 1e6, 1e-6, False),
    "tiny-llama": Shape("llama", 8, 256, 512, 4, 2, 64, 5e5, 1e-5, True),
}


def takes_more_bits(layer, layers):
    """Of which layers Q4_K_M has attn_v and ffn_down in Q6_K: libllama's rule."""
    return layer < layers // 8 or layer >= 7 * layers // 8 or (layer - layers // 8) % 3 == 2


def matrices(shape, tokens):
    """(name, rows, columns, type, deviation) of each matrix; a product of unit inputs with a row has deviation
    `deviation * sqrt(columns)`."""
    logits = LOGIT_DEVIATION / shape.width**0.5
    yield "token_embd.weight", tokens, shape.width, Q6_K if shape.tied else Q4_K, logits
    if not shape.tied:
        yield "output.weight", tokens, shape.width, Q6_K, logits
    q, kv = shape.heads * shape.head, shape.kv_heads * shape.head
    into = shape.width**-0.5
    for layer in range(shape.layers):
        finer = Q6_K if takes_more_bits(layer, shape.layers) else Q4_K
        for name, rows, columns, kind, deviation in (
                ("attn_q", q, shape.width, Q4_K, into), ("attn_k", kv, shape.width, Q4_K, into),
                ("attn_v", kv, shape.width, finer, into), ("attn_output", shape.width, q, Q4_K, q**-0.5),
                ("ffn_gate", shape.mlp, shape.width, Q4_K, into), ("ffn_up", shape.mlp, shape.width, Q4_K, into),
                ("ffn_down", shape.width, shape.mlp, finer, (GATED_VARIANCE * shape.mlp) ** -0.5)):
            yield f"blk.{layer}.{name}.weight", rows, columns, kind, deviation


def vectors(shape):
    """(name, length, the random part's deviation, the mean) of each vector."""
    yield "output_norm.weight", shape.width, 0.0, 1.0
    for layer in range(shape.layers):
        for name in ("attn_norm", "ffn_norm"):
            yield f"blk.{layer}.{name}.weight", shape.width, 0.0, 1.0
        if shape.biased:
            for name, heads in (("attn_q", shape.heads), ("attn_k", shape.kv_heads), ("attn_v", shape.kv_heads)):
                yield f"blk.{layer}.{name}.bias", heads * shape.head, 0.1, 0.0


# A block's values are d * scale * (quant - middle) with quants uniform over their range, so that the variance is
# d^2 * E[scale^2] * E[(quant - middle)^2]. Scales are uniform in 16..31: E[scale^2] is 573.5.
SCALES = 16, 32
SCALES_SQUARED = 573.5


def q4_k(random, n, deviation):
    """n blocks: d, the unit of the minima, eight scales and minima of 6 bits each, quants of 4 bits. The minimum is
    scale * 7.5 d, the middle of the quants."""
    d = deviation / (SCALES_SQUARED * 21.25) ** 0.5
    blocks = np.empty((n, 144), np.uint8)
    blocks[:, :4] = np.array([d, 7.5 * d], np.float16).view(np.uint8)
    scales = random.integers(*SCALES, (n, 8), np.uint8)
    # As ggml packs them: 0 to 3 in the lower six bits of a byte each, scales, then minima; of 4 to 7 the lower four bits of
    # both share a byte, and the upper two bits are on top of the former.
    blocks[:, 4:8] = blocks[:, 8:12] = scales[:, :4] | (scales[:, 4:] >> 4) << 6
    blocks[:, 12:16] = (scales[:, 4:] & 15) | (scales[:, 4:] & 15) << 4
    blocks[:, 16:] = random.integers(0, 256, (n, 128), np.uint8)
    return blocks


def q6_k(random, n, deviation):
    """n blocks: quants of 6 bits, the lower four and the upper two apart, sixteen scales of 8 bits, d. The quants' mean is half
    a step beside their middle, 32, so half of the scales are negative."""
    d = deviation / (SCALES_SQUARED * 341.5) ** 0.5
    blocks = np.empty((n, 210), np.uint8)
    blocks[:, :192] = random.integers(0, 256, (n, 192), np.uint8)
    scales = random.integers(*SCALES, (n, 16), np.int8)
    blocks[:, 192:208] = (scales * random.choice(np.array([-1, 1], np.int8), (n, 16))).view(np.uint8)
    blocks[:, 208:] = np.array([d], np.float16).view(np.uint8)
    return blocks


BLOCKS = {Q4_K: q4_k, Q6_K: q6_k}


def metadata(writer, shape, donor):
    writer.add_name(f"random weights, {shape.width} wide, {shape.layers} layers")
    writer.add_context_length(shape.context)
    writer.add_embedding_length(shape.width)
    writer.add_block_count(shape.layers)
    writer.add_feed_forward_length(shape.mlp)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.kv_heads)
    writer.add_key_length(shape.head)
    writer.add_value_length(shape.head)
    writer.add_rope_dimension_count(shape.head)
    writer.add_rope_freq_base(shape.rope_base)
    writer.add_layer_norm_rms_eps(shape.eps)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q4_K_M)
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    for name, field in donor.fields.items():
        if name.startswith("tokenizer."):
            is_array = field.types[0] == gguf.GGUFValueType.ARRAY
            writer.add_key_value(name, field.contents(), field.types[0], field.types[-1] if is_array else None)


def vocabulary(donor):
    """The number of tokens of the model at that path."""
    return len(gguf.GGUFReader(donor).fields["tokenizer.ggml.tokens"].data)


def write(path, shape, donor, seed=0):
    """Writes the model; donor is the path of the model with the vocabulary."""
    weights = list(matrices(shape, vocabulary(donor)))
    writer = gguf.GGUFWriter(path, shape.architecture)
    metadata(writer, shape, gguf.GGUFReader(donor))
    for name, rows, columns, kind, _ in weights:
        size = columns // BLOCK * gguf.GGML_QUANT_SIZES[kind][1]
        writer.add_tensor_info(name, (rows, size), np.dtype(np.uint8), rows * size, kind)
    for name, length, _, _ in vectors(shape):
        writer.add_tensor_info(name, (length,), np.dtype(np.float32), 4 * length)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    random = np.random.Generator(np.random.SFC64(seed))
    for _, rows, columns, kind, deviation in weights:  # one at a time is in memory
        writer.write_tensor_data(BLOCKS[kind](random, rows * columns // BLOCK, deviation))
    for _, length, deviation, mean in vectors(shape):
        writer.write_tensor_data((mean + deviation * random.standard_normal(length)).astype(np.float32))
    writer.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("donor")
    parser.add_argument("model")
    parser.add_argument("--shape", choices=SHAPES, required=True)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    write(options.model, SHAPES[options.shape], options.donor, options.seed)


if __name__ == "__main__":
    main()
