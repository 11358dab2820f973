#!/usr/bin/env python3
"""Make the goldens of the gates' forward pass, beside this file: gate files, inputs, logits.

  make.py            write them
  make.py --check    only compare what would be written with what is there

Written from runtime/gate/GATE_FILE.md alone, in float64: gate files by the PyPI package `gguf`, then
read with it again and computed by the equations. Seeded. Needs `gguf` and `numpy`."""
import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np
from gguf import GGMLQuantizationType, GGUFReader, GGUFWriter, dequantize, quantize

HERE = Path(__file__).resolve().parent
SEED, TOKENS, WIDTH, KV_HEADS = 5, 150, 64, 3
WINDOWS = [2, 16, 128]  # the look-ahead cut to 1, to 15, not cut
FILES = ["q8_0", "f16"]

# span, back, ahead, heads, width, kv, hidden, files
SHAPES = [
    ("window", 96, 32, 2, 16, "shared", 0, "q8_0 f16"),
    ("window", 7, 3, 2, 16, "shared", 0, "q8_0"),
    ("window", 7, 3, 2, 16, "own", 24, "q8_0 f16"),
    ("window", 5, 0, 3, 16, "own", 0, "q8_0"),
    ("window", 96, 32, 1, 48, "shared", 24, "q8_0"),
    ("prompt", 0, 0, 2, 16, "shared", 0, "q8_0 f16"),
    ("prompt", 0, 0, 2, 16, "own", 24, "q8_0"),
    ("absent", 0, 0, 0, 0, "shared", 0, "q8_0 f16"),
    ("causal", 0, 0, 2, 16, "shared", 24, "q8_0"),
    ("causal", 0, 0, 2, 32, "own", 0, "q8_0 f16"),
    ("window", 7, 3, 0, 0, "shared", 0, "q8_0"),
    ("causal", 0, 0, 0, 0, "shared", 24, "q8_0 f16"),
]
NAMES = ["span", "span.back", "span.ahead", "heads", "width", "kv", "hidden"]


# ---- gate files ----

def tensors(shape, random):
    """Of one layer: name, and values so large that softmax is neither flat nor a choice of one."""
    span, _, _, heads, width, kv, hidden, _ = shape
    if span == "absent":
        return
    inner, kv_width = hidden or KV_HEADS, width * (heads if kv == "own" else 1)

    def weights(name, n_out, n_in):
        return f"{name}.weight", random.normal(0, 1.5 / np.sqrt(n_in), (n_out, n_in))

    yield weights("gate_x", inner, WIDTH)
    yield "gate_x.bias", random.normal(0, 1, inner)
    if heads:
        yield weights("gate_q", heads * width, WIDTH)
        yield weights("gate_k", kv_width, WIDTH)
        yield weights("gate_v", kv_width, WIDTH)
        yield weights("gate_a", inner, heads * width)
    if hidden:
        yield weights("gate_out", KV_HEADS, hidden)
        yield "gate_out.bias", random.normal(0, 1, KV_HEADS)


def put_tensor(writer, name, values, file):
    """Wide maps of the file's type, the small ones f16 beside q8_0 and f32 beside f16."""
    values, last = values.astype(np.float32), name.split(".", 2)[2]
    small = last.startswith(("gate_a", "gate_out"))
    if last.endswith("bias") or (small and file == "f16"):
        writer.add_tensor(name, values)
    elif small or file == "f16":
        writer.add_tensor(name, values.astype(np.float16))
    else:
        kind = GGMLQuantizationType.Q8_0
        writer.add_tensor(name, quantize(values, kind), raw_dtype=kind)


def write_gates(path, file, random):
    shapes = [s for s in SHAPES if file in s[-1].split()]
    w, key = GGUFWriter(path, "sluice.gate"), "sluice.gate."
    w.add_string("general.name", "gates of the goldens")
    w.add_string(key + "model_name", "no model")
    w.add_uint64(key + "model_hash", 0xfedcba9876543210)
    for name, value in [("version", 1), ("block_count", len(shapes)), ("embedding_length", WIDTH),
                        ("head_count_kv", KV_HEADS), ("sinks", 4), ("window", 128)]:
        w.add_uint32(key + name, value)
    w.add_float32(key + "threshold", 0.25)
    w.add_float32(key + "keep", 0.5)
    for name, values in zip(NAMES, zip(*shapes)):
        w.add_array(key + name, list(values))
    for layer, shape in enumerate(shapes):
        for name, values in tensors(shape, random):
            put_tensor(w, f"blk.{layer}.{name}", values, file)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def make_inputs(random):
    """Some channels larger than others, as in models, and blocks of zeros."""
    x = random.normal(0, 1, (TOKENS, WIDTH)) * np.exp(random.normal(0, 0.5, WIDTH))
    x[41, :32] = x[99] = 0
    return x.astype("<f4")


# ---- the equations ----

def to_int8(x):
    """Blocks of 32 as int8 with an f16 scale, as numbers again; divided in f32, as engines do."""
    blocks = x.astype(np.float32).reshape(len(x), -1, 32)
    scale = np.abs(blocks).max(-1, keepdims=True) / np.float32(127)
    scale = scale.astype(np.float16).astype(np.float32)
    q = np.rint(np.divide(blocks, scale, out=np.zeros_like(blocks), where=scale > 0))
    return (q.clip(-127, 127).astype(float) * scale).reshape(x.shape)


class Gates:
    def __init__(self, path):
        self.reader = GGUFReader(path)
        self.tensors = {t.name: t for t in self.reader.tensors}
        self.n_layers, self.n_kv_heads = self.key("block_count"), self.key("head_count_kv")

    def key(self, name):
        return self.reader.fields["sluice.gate." + name].contents()

    def values(self, layer, name):
        t = self.tensors[f"blk.{layer}.{name}"]
        return dequantize(t.data, t.tensor_type).astype(float)

    def linear(self, layer, name, x):
        kind = self.tensors[f"blk.{layer}.{name}.weight"].tensor_type
        if kind == GGMLQuantizationType.Q8_0:
            x = to_int8(x)
        return x @ self.values(layer, f"{name}.weight").T

    def logits(self, layer, x, window):
        """[kv_head][token]; NaN where there is none: no gate, or tokens to be seen are not there."""
        n = len(x)
        span, back, ahead, heads, width, kv, hidden = [self.key(name)[layer] for name in NAMES]
        if span == "absent":
            return np.full((self.n_kv_heads, n), np.nan)
        ahead = min(ahead, window - 1)
        z = self.linear(layer, "gate_x", x) + self.values(layer, "gate_x.bias")
        if heads:
            visible = self.visible(n, span, back, ahead)
            z += self.linear(layer, "gate_a", self.attend(layer, x, visible, heads, width, kv))
        if hidden:
            z = self.linear(layer, "gate_out", np.maximum(z, 0)) + self.values(layer, "gate_out.bias")
        if span == "window":
            z[max(n - ahead, 0):] = np.nan
        return z.T

    @staticmethod
    def visible(n, span, back, ahead):
        """[token][key]"""
        t, j = np.arange(n)[:, None], np.arange(n)
        return {"prompt": np.ones((n, n), bool), "causal": j <= t,
                "window": (j >= t - back) & (j <= t + ahead)}[span]

    def attend(self, layer, x, visible, heads, width, kv):
        q = self.linear(layer, "gate_q", x)
        k, v = (self.linear(layer, name, x).astype(np.float16).astype(float)
                for name in ("gate_k", "gate_v"))
        out = np.empty((len(x), heads * width))
        for h in range(heads):
            own, one = slice(h * width, (h + 1) * width), slice(0, width)
            of_head = own if kv == "own" else one
            score = np.where(visible, q[:, own] @ k[:, of_head].T / np.sqrt(width), -np.inf)
            score = np.exp(score - score.max(-1, keepdims=True))
            out[:, own] = score / score.sum(-1, keepdims=True) @ v[:, of_head]
        return out


# ---- files ----

def make(folder):
    random = np.random.default_rng(SEED)
    x = make_inputs(random)
    (folder / "x.f32").write_bytes(x.tobytes())
    for file in FILES:
        path = folder / f"{file}.gguf"
        write_gates(path, file, random)
        gates = Gates(path)
        for window in WINDOWS:
            logits = np.stack([gates.logits(layer, x.astype(float), window)
                               for layer in range(gates.n_layers)])
            (folder / f"{file}.w{window}.f32").write_bytes(logits.astype("<f4").tobytes())


def differences(folder):
    """What is there and what is made now, file by file; another BLAS may round sums otherwise."""
    for path in sorted(folder.iterdir()):
        new, old = path.read_bytes(), (HERE / path.name).read_bytes()
        if path.suffix != ".f32":
            yield path.name, 0 if new == old else np.inf
        elif len(new) != len(old):
            yield path.name, np.inf
        else:
            a, b = np.frombuffer(new, "<f4"), np.frombuffer(old, "<f4")
            same = np.array_equal(np.isnan(a), np.isnan(b))
            yield path.name, np.nanmax(np.abs(a - b)) if same else np.inf


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--check", action="store_true")
    if not p.parse_args().check:
        make(HERE)
        return
    with tempfile.TemporaryDirectory() as temporary:
        make(Path(temporary))
        rows = list(differences(Path(temporary)))
    for name, off in rows:
        print(f"{name:14} off by {off:.1e}")
    sys.exit(any(off > 1e-5 for _, off in rows))


if __name__ == "__main__":
    main()
