#!/usr/bin/env python3
"""Remake the goldens of this folder with the oracle (README.md says what each one holds).

  make.py --oracle ORACLE.PY real      --model MODEL.gguf --text wikitext2-valid.txt
  make.py --oracle ORACLE.PY synthetic --make-model BUILD/tests/support/make_model

Needs the PyPI packages `gguf`, `numpy` and `tokenizers`. Writes beside itself; `real` takes
some minutes, `synthetic` some seconds.
"""
import argparse
import importlib.util
import json
import pathlib
import re
import subprocess
import tempfile

import numpy as np
from gguf import GGUFReader
from gguf.quants import dequantize

HERE = pathlib.Path(__file__).parent
# What tests/support/make_model is told; tests read it from the golden.
SHAPE = ("--seed 1 --layers 4 --width 96 --ffn 160 --heads 6 --kv-heads 2 --head-dim 16 --vocab 512 "
         "--context 2048 ")
F32 = "--type f32 --head f32 --tied "
SYNTHETIC = {
    "synth_f32": F32,
    "synth_f16_tied": "--type f16 --head f16 --tied",
    "synth_f16_untied": "--type f16 --head f16 --untied",
    "synth_bf16": "--type bf16 --head bf16 --untied",
    "synth_q8": "--type q8_0 --head f16 --untied",
    "synth_q4_tied": "--type q4_1 --head q8_0 --tied",
    "synth_q4_untied": "--type q4_1 --head q8_0 --untied",
    "synth_q4_0": "--type q4_0 --head q4_0 --untied",
    "synth_biased": F32 + "--biased",
    "synth_vectors": F32 + "--biased --rope-freqs --vector-type f16",
    "synth_rope_freqs": F32 + "--rope-freqs",
    "synth_linear": F32 + "--rope-scaling linear --rope-factor 4",
    # pairs above, between and below the bounds; 64 ids are beyond the old context
    "synth_llama3": (F32 + "--rope-scaling llama3 --rope-factor 8 --rope-context 32 "
                     "--rope-llama3-keys"),
    "synth_yarn": F32 + "--rope-base 500 --rope-scaling yarn --rope-factor 4 --rope-context 512",
    "synth_qwen2": F32 + "--architecture qwen2",
    # keys that prompts must not round to int8 (runtime/stage/attention.c, has_large_bias)
    "synth_key_bias": F32 + "--architecture qwen2 --head-dim 64 --key-bias 100",
    "synth_qwen3": F32 + "--architecture qwen3 --head-dim 32",  # heads wider than the model
    "synth_smollm3": F32 + "--architecture smollm3 --layers 6",  # the fourth without rope
    # layers 2 and 5 attend to all tokens, others to the last 20
    "synth_gemma3": (F32 + "--architecture gemma3 --head-dim 32 --layers 6 --rope-base 1000000 "
                     "--window 20 --window-pattern 3"),
}

# What each architecture does beside a Llama: without any of these the test must fail. "position": keys
# are turned as if they were one later.
STEPS = {
    "synth_qwen2": ["bias", "halves", "position"],
    "synth_qwen3": ["attn_q", "attn_k", "halves", "position"],  # the norms of both
    "synth_smollm3": ["no rope", "position"],
    "synth_gemma3": ["attn_q", "attn_k", "post_attention_norm", "post_ffw_norm", "embedding scale",
                     "gelu", "halves", "position", "window", "last of window", "pattern", "sliding base"],
}
# What tests/golden/test_golden_synth.c allows models of f32 weights, on average.
ALLOWED = 0.0006


def load_oracle(path):
    spec = importlib.util.spec_from_file_location("oracle", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def extended(oracle):
    """The oracle's model with what it leaves out: other architectures, biases, scaled rope, K and V
    rounded to f16, int8 activations for quantized weights only. Written from the papers and the
    published models' own code, apart from Sluice's. `without` names steps to leave out (STEPS)."""

    class Model(oracle.Model):
        def __init__(self, path, without=()):
            reader = GGUFReader(path)
            self.meta = {k: f.contents() for k, f in reader.fields.items()}
            self.architecture = self.meta["general.architecture"]
            self.without = without
            self.n_layers = self.get("block_count")
            self.n_heads = self.get("attention.head_count")
            self.n_kv_heads = self.get("attention.head_count_kv")
            self.head_dim = self.get("attention.key_length")
            self.eps = self.get("attention.layer_norm_rms_epsilon")
            self.rope_base = self.get("rope.freq_base")
            self.rope_dim = self.get("rope.dimension_count")
            self.w, self.types = {}, {}
            for t in reader.tensors:
                shape = [int(n) for n in reversed(t.shape)]
                values = dequantize(t.data, t.tensor_type).reshape(shape)
                self.w[t.name] = values.astype(np.float32)
                self.types[t.name] = t.tensor_type.name
            self.w.setdefault("output.weight", self.w["token_embd.weight"])
            self.types.setdefault("output.weight", self.types["token_embd.weight"])
            self.frequencies, self.magnitude = scaled_frequencies(self)
            self.window = self.get("attention.sliding_window", 0)
            self.pattern = self.get("attention.sliding_window_pattern", 6)

        def get(self, key, default=None):
            return self.meta.get(f"{self.architecture}.{key}", default)

        def linear(self, x, name):
            self.q8 = self.types[name] not in ("F32", "F16", "BF16")
            bias = self.w.get(name.replace(".weight", ".bias"), 0)
            return super().linear(x, name) + (0 if "bias" in self.without else bias)

        def turns(self, layer):
            """SmolLM3: no rope in every fourth layer."""
            if "no rope" in self.without:
                return True
            return self.architecture != "smollm3" or (layer + 1) % 4 != 0

        def slides(self, layer):
            """Gemma 3: all layers but every sixth, or as the pattern has it."""
            pattern = self.pattern + ("pattern" in self.without)
            return self.window > 0 and "window" not in self.without and (layer + 1) % pattern != 0

        def visible(self, layer, n):
            """Whether query (row) sees key (column)."""
            window = self.window - ("last of window" in self.without) if self.slides(layer) else n
            return np.tri(n, dtype=bool) & ~np.tri(n, k=-window, dtype=bool)

        def rope(self, x, positions, layer):
            """Pairs of Qwen and Gemma are halves of a head, as Hugging Face has them; others adjacent."""
            frequencies = self.frequencies
            if self.slides(layer) and "sliding base" not in self.without:  # never scaled
                frequencies = 10000.0 ** (-2.0 * np.arange(self.rope_dim // 2) / self.rope_dim)
            angle = positions[:, None] * frequencies
            turn = (self.magnitude * np.exp(1j * angle))[:, None]
            halves = self.architecture.startswith(("qwen", "gemma")) and "halves" not in self.without
            half = x.shape[-1] // 2
            real, imaginary = (x[..., :half], x[..., half:]) if halves else (x[..., 0::2], x[..., 1::2])
            pairs = (real + 1j * imaginary) * turn
            if halves:
                return np.concatenate([pairs.real, pairs.imag], -1)
            return np.stack([pairs.real, pairs.imag], -1).reshape(x.shape)

        def heads(self, x, name, layer, positions):
            """Queries or keys: mapped, normed where the model has that, turned where it does."""
            if name == "attn_k" and "position" in self.without:
                positions = positions + 1
            x = self.linear(x, f"blk.{layer}.{name}.weight")
            x = x.reshape(len(positions), -1, self.head_dim)
            norm = f"blk.{layer}.{name}_norm.weight"
            if norm in self.w and name not in self.without:
                x = self.norm(x, norm)
            return self.rope(x, positions, layer) if self.turns(layer) else x

        def attention(self, x, layer, positions):
            n, group = len(positions), self.n_heads // self.n_kv_heads
            q = self.heads(x, "attn_q", layer, positions)
            k = in_cache(self.heads(x, "attn_k", layer, positions))
            v = in_cache(self.linear(x, f"blk.{layer}.attn_v.weight"))
            v = v.reshape(n, self.n_kv_heads, -1)
            visible = self.visible(layer, n)
            out = np.empty((n, self.n_heads, self.head_dim))
            for head in range(self.n_heads):
                score = q[:, head] @ k[:, head // group].T / np.sqrt(self.head_dim)
                score = np.where(visible, score, -np.inf)
                score = np.exp(score - score.max(-1, keepdims=True))
                out[:, head] = score / score.sum(-1, keepdims=True) @ v[:, head // group]
            return self.linear(out.reshape(n, -1), f"blk.{layer}.attn_output.weight")

        def feed_forward(self, x, layer):
            gate = self.linear(x, f"blk.{layer}.ffn_gate.weight")
            up = self.linear(x, f"blk.{layer}.ffn_up.weight")
            if self.architecture == "gemma3" and "gelu" not in self.without:
                act = gate / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (gate + 0.044715 * gate ** 3)))
            else:
                act = gate / (1 + np.exp(-gate))
            return self.linear(act * up, f"blk.{layer}.ffn_down.weight")

        def post_norm(self, x, layer, name):
            """Gemma norms what attention and FFN give before it is added."""
            norm = f"blk.{layer}.{name}.weight"
            return self.norm(x, norm) if norm in self.w and name not in self.without else x

        def logits(self, ids):
            positions = np.arange(len(ids), dtype=np.float64)
            x = self.w["token_embd.weight"][ids].astype(np.float64)
            if self.architecture == "gemma3" and "embedding scale" not in self.without:
                x = x * np.sqrt(x.shape[-1])
            for i in range(self.n_layers):
                attended = self.attention(self.norm(x, f"blk.{i}.attn_norm.weight"), i, positions)
                x = x + self.post_norm(attended, i, "post_attention_norm")
                fed = self.feed_forward(self.norm(x, f"blk.{i}.ffn_norm.weight"), i)
                x = x + self.post_norm(fed, i, "post_ffw_norm")
            return self.linear(self.norm(x, "output_norm.weight"), "output.weight")

    return Model


def in_cache(x):
    return x.astype(np.float32).astype(np.float16).astype(np.float64)


def scaled_frequencies(model):
    """Radians a position of each pair, and what cosines and sines are multiplied by."""
    get, dim, base = model.get, model.rope_dim, model.rope_base
    assert dim == model.head_dim
    pair = np.arange(dim // 2)
    frequency = base ** (-2.0 * pair / dim) / model.w.get("rope_freqs.weight", np.ones(dim // 2))
    kind, factor = get("rope.scaling.type", "linear"), get("rope.scaling.factor", 1.0)
    old = get("rope.scaling.original_context_length")
    wavelength = 2 * np.pi / frequency
    if kind == "linear":
        return frequency / factor, 1.0
    if kind == "llama3":  # Llama 3.1: by wavelength, smooth between two of them
        low, high = get("rope.scaling.low_freq_factor"), get("rope.scaling.high_freq_factor")
        smooth = (old / wavelength - low) / (high - low)
        between = (1 - smooth) * frequency / factor + smooth * frequency
        slow = np.where(wavelength > old / low, frequency / factor, between)
        return np.where(wavelength < old / high, frequency, slow), 1.0
    assert kind == "yarn"  # section 3.2, "NTK-by-parts", with whole pairs as bounds; eq. 22
    pair_of = lambda turns: dim / 2 * np.log(old / (turns * 2 * np.pi)) / np.log(base)
    first, last = max(np.floor(pair_of(32)), 0), min(np.ceil(pair_of(1)), dim - 1)
    gamma = 1 - np.clip((pair - first) / (last - first), 0, 1)
    return (1 - gamma) * frequency / factor + gamma * frequency, 0.1 * np.log(factor) + 1


def log_softmax(logits):
    top = logits.max(-1, keepdims=True)
    return logits - top - np.log(np.exp(logits - top).sum(-1, keepdims=True))


def best(logp, n):
    """The n most likely [id, log-probability], ties by lower id."""
    return [[int(i), round(float(logp[i]), 6)] for i in np.argsort(-logp, kind="stable")[:n]]


def perplexity(oracle, model, ids, context):
    losses = []
    for start in range(0, len(ids) - context + 1, context):
        piece = np.array(ids[start:start + context])
        losses.append(oracle.nll(model.logits(piece)[context // 2 - 1:-1], piece[context // 2:]))
    loss = np.concatenate(losses)
    return {"tokens": int(loss.size), "nll": float(loss.mean()),
            "perplexity": float(np.exp(loss.mean()))}


def greedy(model, prompt, n):
    """n most likely tokens after the prompt; the gap to the runner-up says how sure each is."""
    ids, steps = list(prompt), []
    for _ in range(n):
        logp = log_softmax(model.logits(np.array(ids))[-1])
        (token, value), (_, second) = best(logp, 2)
        steps.append({"token": token, "logprob": value, "gap": round(value - second, 6)})
        ids.append(token)
    return steps


def write(name, golden):
    # One line per innermost list or object: a diff shows which number moved.
    text = re.sub(r"[\[{][^\[\]{}]*[\]}]", lambda m: re.sub(r"\s*\n\s*", " ", m.group()),
                  json.dumps(golden, indent=1))
    (HERE / f"{name}.json").write_text(text + "\n")


def make_real(oracle, a):
    model, golden = oracle.Model(a.model, "q8"), {}
    text = open(a.text, encoding="utf-8", newline="").read(16384)
    ids = oracle.tokenizer(model).encode(text).ids[:1024]
    prompt = ids[300:500]
    golden["prompt"] = prompt
    golden["activations"] = "q8"
    golden["top"] = best(log_softmax(model.logits(np.array(prompt))[-1]), 20)
    golden["greedy"] = greedy(model, prompt, 16)
    golden["ids"] = ids
    golden["perplexity_context"] = 512
    golden["perplexity_q8"] = perplexity(oracle, model, ids, 512)
    model.q8 = False
    golden["perplexity_exact"] = perplexity(oracle, model, ids, 512)
    # The first 8,192 tokens of the same text, made once: too long to repeat here.
    golden["perplexity_8192"] = {"exact": 15.3533, "q8": 15.3871}
    write("real", golden)


def synthetic_ids():
    return np.random.default_rng(1).integers(8, 512, 64)


def compared(logits, ids, rows):
    """The log-probabilities that a test compares: of the next id, and of the best of `rows`."""
    logp = log_softmax(logits)
    best_ids = np.argsort(-rows, -1, kind="stable")[:-1, :8]
    return np.take_along_axis(logp[:-1], np.concatenate([best_ids, ids[1:, None]], 1), 1)


def check_sharp(model_class, path, name, logits, ids):
    """A model without one of its steps is far outside of what the test allows."""
    for step in STEPS.get(name, []):
        wrong = model_class(path, [step]).logits(ids)
        off = np.abs(compared(wrong, ids, logits) - compared(logits, ids, logits)).mean()
        print(f"{name} without {step!r}: off by {off:.3f} on average")
        assert off > 20 * ALLOWED, f"{name}: the test would not see that {step!r} is missing"


def make_synthetic(oracle, a):
    ids, model_class = synthetic_ids(), extended(oracle)
    for name, options in SYNTHETIC.items():
        words = (SHAPE + options).strip()
        with tempfile.TemporaryDirectory() as folder:
            path = f"{folder}/model.gguf"
            subprocess.run([a.make_model, *words.split(), path], check=True)
            logits = model_class(path).logits(ids)
            check_sharp(model_class, path, name, logits, ids)
            write(name, {"make_model": words, "ids": ids.tolist(),
                         "nll": [round(float(x), 6) for x in oracle.nll(logits[:-1], ids[1:])],
                         "top": [best(row, 8) for row in log_softmax(logits)]})


def main():
    p = argparse.ArgumentParser(description=__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--oracle", required=True)
    which = p.add_subparsers(dest="which", required=True)
    real = which.add_parser("real")
    real.add_argument("--model", required=True)
    real.add_argument("--text", required=True)
    synthetic = which.add_parser("synthetic")
    synthetic.add_argument("--make-model", required=True)
    a = p.parse_args()
    (make_real if a.which == "real" else make_synthetic)(load_oracle(a.oracle), a)


if __name__ == "__main__":
    main()
