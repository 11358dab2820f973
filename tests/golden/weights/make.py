#!/usr/bin/env python3
"""Blocks of every quantized type and what the public gguf package makes of them.

  pip install gguf numpy; make.py > weights.bin

Of each type, one after the other: uint32 type, bytes and weights; the bytes; the weights as f32.
Bytes are random, but for the f16 numbers, which are finite."""
import struct
import sys

import numpy as np
from gguf import GGMLQuantizationType as Type
from gguf.constants import GGML_QUANT_SIZES
from gguf.quants import dequantize

N_BLOCKS = {32: 8, 256: 2}
F16_AT = {  # bytes of a block where f16 numbers stand
    Type.Q4_0: [0], Type.Q4_1: [0, 2], Type.Q5_0: [0], Type.Q5_1: [0, 2], Type.Q8_0: [0],
    Type.Q2_K: [80, 82], Type.Q3_K: [108], Type.Q4_K: [0, 2], Type.Q5_K: [0, 2],
    Type.Q6_K: [208], Type.IQ4_NL: [0], Type.IQ4_XS: [0], Type.MXFP4: [],
}

random = np.random.default_rng(16)
for kind, places in F16_AT.items():
    weights, size = GGML_QUANT_SIZES[kind]
    blocks = random.integers(0, 256, (N_BLOCKS[weights], size), dtype=np.uint8)
    for at in places:
        numbers = random.normal(0, 0.05, len(blocks)).astype("<f2")
        blocks[:, at:at + 2] = numbers.view(np.uint8).reshape(-1, 2)
    values = dequantize(blocks, kind).astype("<f4").reshape(-1)
    sys.stdout.buffer.write(struct.pack("<3I", int(kind), blocks.size, values.size))
    sys.stdout.buffer.write(blocks.tobytes() + values.tobytes())
