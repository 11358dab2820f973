#!/usr/bin/env python3
"""make_8b.py VOCABULARY.gguf OUT.gguf [LAYERS] - a file of Llama 3.1 8B's shape with random weights, mixed as llama.cpp's
Q4_K_M: Q4_K, and Q6_K in the head and in half of the layers' attn_v and ffn_down. Tokens are those of
VOCABULARY.gguf, so the embedding and the head have its rows, not 128,256. For speed alone: what it says is noise.
LAYERS: 4, 8 or 16 of them, evenly chosen, for what would take hours; half have the more bits.
Needs the PyPI packages `gguf` and `numpy`.
"""
import os
import sys

import numpy as np
from gguf import GGMLQuantizationType as Type
from gguf import GGUFReader, GGUFValueType, GGUFWriter
from gguf.constants import GGML_QUANT_SIZES

LAYERS, WIDTH, FFN, HEADS, KV_HEADS, HEAD = 32, 4096, 14336, 32, 8, 128
# Of blocks of random bytes: where scale and minimum are, the deviation of weights whose scale is 1, and the
# minimum that makes their mean 0 then.
FORMS = {Type.Q4_K: (slice(0, 4), 258, 7.5), Type.Q6_K: (slice(208, 210), 1368, None)}
RANDOM = np.random.default_rng(8)


def chosen(n_layers):
    """Evenly of all layers."""
    return [i * LAYERS // n_layers + LAYERS // n_layers // 2 for i in range(n_layers)]


def more_bits(layer):
    """The first and last eighth of the layers and each third of the others, as llama.cpp chooses them."""
    return layer < LAYERS // 8 or layer >= 7 * LAYERS // 8 or (layer - LAYERS // 8) % 3 == 2


def matrix(kind, n_in, n_out):
    """Rows of blocks of random bytes, weights of deviation 1 / sqrt(n_in)."""
    weights, n_bytes = GGML_QUANT_SIZES[kind]
    blocks = np.frombuffer(RANDOM.bytes(n_out * n_in // weights * n_bytes), dtype=np.uint8).copy()
    blocks = blocks.reshape(-1, n_bytes)
    where, deviation, minimum = FORMS[kind]
    scale = 1 / np.sqrt(n_in) / deviation
    halves = [scale] if minimum is None else [scale, scale * minimum]
    blocks[:, where] = np.array(halves, dtype=np.float16).view(np.uint8)
    return blocks.reshape(n_out, -1)


def put_keys(writer, vocabulary, n_layers):
    writer.add_name("8b")
    writer.add_block_count(n_layers)
    writer.add_context_length(131072)
    writer.add_embedding_length(WIDTH)
    writer.add_feed_forward_length(FFN)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_rope_freq_base(500000)
    writer.add_rope_dimension_count(HEAD)
    writer.add_layer_norm_rms_eps(1e-5)
    for name, field in vocabulary.fields.items():
        if not name.startswith("tokenizer.ggml."):
            continue
        kind = field.types[0]
        writer.add_key_value(name, field.contents(), kind,
                             field.types[-1] if kind == GGUFValueType.ARRAY else None)


def tensors(n_vocab, n_layers):
    """(name, type, inputs, outputs), in the file's order."""
    kv = KV_HEADS * HEAD
    yield "token_embd", Type.Q4_K, WIDTH, n_vocab
    for i, layer in enumerate(chosen(n_layers)):
        more = Type.Q6_K if more_bits(layer) else Type.Q4_K
        yield f"blk.{i}.attn_norm", Type.F32, WIDTH, 0
        yield f"blk.{i}.attn_q", Type.Q4_K, WIDTH, WIDTH
        yield f"blk.{i}.attn_k", Type.Q4_K, WIDTH, kv
        yield f"blk.{i}.attn_v", more, WIDTH, kv
        yield f"blk.{i}.attn_output", Type.Q4_K, WIDTH, WIDTH
        yield f"blk.{i}.ffn_norm", Type.F32, WIDTH, 0
        yield f"blk.{i}.ffn_gate", Type.Q4_K, WIDTH, FFN
        yield f"blk.{i}.ffn_up", Type.Q4_K, WIDTH, FFN
        yield f"blk.{i}.ffn_down", more, FFN, WIDTH
    yield "output_norm", Type.F32, WIDTH, 0
    yield "output", Type.Q6_K, WIDTH, n_vocab


def main():
    if len(sys.argv) not in (3, 4):
        sys.exit(__doc__)
    source, out = sys.argv[1:3]
    n_layers = int(sys.argv[3]) if len(sys.argv) == 4 else LAYERS
    if n_layers not in (4, 8, 16, LAYERS):
        sys.exit(__doc__)
    vocabulary = GGUFReader(source)
    writer = GGUFWriter(f"{out}.unfinished", "llama")
    put_keys(writer, vocabulary, n_layers)
    listed = list(tensors(len(vocabulary.fields["tokenizer.ggml.tokens"].data), n_layers))
    for name, kind, n_in, n_out in listed:
        weights, n_bytes = GGML_QUANT_SIZES[kind]
        shape, dtype = ((n_out, n_in // weights * n_bytes), np.uint8) if n_out else ((n_in,), np.float32)
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        writer.add_tensor_info(f"{name}.weight", shape, np.dtype(dtype), size, kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for name, kind, n_in, n_out in listed:
        data = matrix(kind, n_in, n_out) if n_out else np.ones(n_in, dtype=np.float32)
        writer.write_tensor_data(data)
    writer.close()
    os.rename(f"{out}.unfinished", out)  # whole, or absent


if __name__ == "__main__":
    main()
