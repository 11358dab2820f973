#!/usr/bin/env python3
"""check_gguf.py SLUICE MAKE_MODEL: gate files that `sluice train init` writes, read by the PyPI package
`gguf`: keys with the kinds of GATE_FILE.md, every tensor's shape and type, values, and the same told by
`sluice show gate --json`. Needs gguf and numpy; exit 77 without."""
import json
import subprocess
import sys
import tempfile
from pathlib import Path

try:
    import numpy as np
    from gguf import GGMLQuantizationType as Type
    from gguf import GGUFReader, GGUFValueType, dequantize
except ImportError as missing:
    print(f"skipped: {missing}")
    sys.exit(77)

LAYERS, WIDTH, KV_HEADS = 3, 96, 2
U32, F32, TEXT, I32 = (getattr(GGUFValueType, kind) for kind in ("UINT32", "FLOAT32", "STRING", "INT32"))
KINDS = {"version": U32, "model_hash": GGUFValueType.UINT64, "model_name": TEXT, "block_count": U32,
         "embedding_length": U32, "head_count_kv": U32, "sinks": U32, "window": U32,
         "threshold": F32, "keep": F32, "span": [TEXT], "span.back": [I32], "span.ahead": [I32],
         "heads": [I32], "width": [I32], "kv": [TEXT], "hidden": [I32]}

# options of train init; span, back, ahead, heads, width, kv, hidden, each of all layers or of each
CASES = [
    ("--seed 7", "window", 96, 32, 3, 16, "shared", 0),
    ("--seed 7 --gate-hidden 24 --own-kv --span causal --gate-width 32 --gate-heads 2",
     "causal", 0, 0, 2, 32, "own", 24),
    ("--span prompt --gate-heads 0 --gate-hidden 5", "prompt", 0, 0, 0, 0, "shared", 5),
    ("--span window:7,0 --gate-heads 0 --sinks 9 --window 33", "window", 7, 0, 0, 0, "shared", 0),
    ("--gate-heads 4,1,0 --gate-width 32,16 --gate-hidden 0,8", "window", 96, 32, [4, 1, 0], [32, 32, 0],
     "shared", [0, 0, 8]),
]


def each(number):
    """Of every layer."""
    return number if isinstance(number, list) else [number] * LAYERS


def check(condition, text):
    if not condition:
        sys.exit(f"FAILED: {text}")


def shapes(heads, width, kv, hidden):
    inner, kv_width = hidden or KV_HEADS, width * (heads if kv == "own" else 1)
    yield "gate_x.weight", (inner, WIDTH)
    yield "gate_x.bias", (inner,)
    if heads:
        yield "gate_q.weight", (heads * width, WIDTH)
        yield "gate_k.weight", (kv_width, WIDTH)
        yield "gate_v.weight", (kv_width, WIDTH)
        yield "gate_a.weight", (inner, heads * width)
    if hidden:
        yield "gate_out.weight", (KV_HEADS, hidden)
        yield "gate_out.bias", (KV_HEADS,)


def read(path):
    """Keys under sluice.gate as {name: (kind, or [kind of items], value)}, and {name: tensor}."""
    reader, keys, prefix = GGUFReader(path), {}, "sluice.gate."
    check(reader.alignment == 32, f"alignment {reader.alignment}")
    check(reader.fields["general.architecture"].contents() == "sluice.gate", "another architecture")
    for name, field in reader.fields.items():
        if name.startswith(prefix):
            kind = field.types[1:] if field.types[0] == GGUFValueType.ARRAY else field.types[0]
            keys[name.removeprefix(prefix)] = kind, field.contents()
    return keys, {t.name: t for t in reader.tensors}


def check_keys(keys, case, told):
    check({name: kind for name, (kind, _) in keys.items()} == KINDS, f"keys or kinds: {keys}")
    value = {name: value for name, (_, value) in keys.items()}
    _, *numbers = case
    names = ["span", "span.back", "span.ahead", "heads", "width", "kv", "hidden"]
    for name, expected in zip(names, numbers):
        check(value[name] == each(expected), f"{name} is {value[name]}, expected {expected}")
        heard = [layer[name.removeprefix("span.")] for layer in told["layers"]]
        check(heard == value[name], f"show gate says {name} {heard}")
    check((value["version"], value["block_count"], value["embedding_length"], value["head_count_kv"])
          == (1, LAYERS, WIDTH, KV_HEADS), f"shape of the model: {value}")
    model = {"name": value["model_name"], "hash": f"{value['model_hash']:016x}", "layers": LAYERS,
             "kv_heads": KV_HEADS, "width": WIDTH}
    check(told["model"] == model, f"show gate says {told['model']}, the file {model}")
    for name in ("sinks", "window", "threshold", "keep"):
        check(told[name] == value[name], f"show gate says {name} {told[name]}, not {value[name]}")


def values_of(tensors, case, wide):
    """{name: f64 array} of all tensors, each of the shape and type it must have."""
    expected, values = {}, {}
    for layer, numbers in enumerate(zip(*map(each, case[4:]))):
        expected.update((f"blk.{layer}.{name}", shape) for name, shape in shapes(*numbers))
    check(set(tensors) == set(expected), f"tensors {set(tensors) ^ set(expected)}")
    for name, t in tensors.items():
        small = name.endswith(("gate_a.weight", "gate_out.weight"))
        kind = Type.F32 if name.endswith("bias") else Type.F16 if small else wide
        check(t.tensor_type == kind, f"{name} is {t.tensor_type!r}, expected {kind!r}")
        values[name] = dequantize(t.data, t.tensor_type).astype(float)
        check(values[name].shape == expected[name], f"{name}: {values[name].shape}")
    return values


def check_random(name, q8, f16):
    """The same weights in two types: half a step of the coarser apart; and N(0, 1 / n_in)."""
    steps = np.abs(f16).reshape(-1, 32).max(-1, keepdims=True) / 127
    off = np.abs(q8 - f16).reshape(-1, 32)
    check((off <= 0.51 * steps + 1e-3 * np.abs(f16).max()).all(), f"{name}: types differ by {off.max()}")
    spread, n = f16.std() * np.sqrt(f16.shape[1]), f16.size
    check(abs(spread - 1) < 4 / np.sqrt(n), f"{name}: spread {spread} of {n} weights")


def main():
    sluice, make_model = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:
        model = f"{folder}/model.gguf"
        subprocess.run([make_model, f"--layers={LAYERS}", f"--width={WIDTH}", model], check=True)

        def made(options):
            path = Path(folder, "gate.gguf")
            subprocess.run([sluice, "train", "init", "-q", "-m", model, "-o", path, *options], check=True)
            told = subprocess.run([sluice, "show", "gate", path, "--json"], check=True,
                                  stdout=subprocess.PIPE).stdout
            return read(path), json.loads(told)

        for case in CASES:
            options = case[0].split()
            (keys, tensors), told = made(options)
            check_keys(keys, case, told)
            q8 = values_of(tensors, case, Type.Q8_0)
            (_, tensors), _ = made([*options, "--type", "f16"])
            f16 = values_of(tensors, case, Type.F16)
            for name, values in f16.items():
                if name.endswith(("gate_x.weight", "gate_q.weight", "gate_k.weight", "gate_v.weight")):
                    check_random(name, q8[name], values)
                else:
                    check((q8[name] == values).all(), f"{name} differs by type")
                    check(name.endswith("bias") != values.any(), f"{name}: {values}")
        (_, tensors), _ = made(["--fill", "constant", "--bias", "2,-1"])
        for name, values in values_of(tensors, CASES[0], Type.Q8_0).items():
            bias = 2 - 1.5 * int(name.split(".")[1]) if name.endswith("bias") else 0
            check((values == bias).all(), f"{name}: {values}, expected {bias}")
    print(f"{len(CASES)} shapes in 2 types, and constant ones, as the package reads them")


if __name__ == "__main__":
    main()
