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

HERE = pathlib.Path(__file__).parent
# What tests/support/make_model is told: keep equal to what the tests that read these files build.
SYNTHETIC = {
    "synth_f16_tied": ["--type", "f16", "--head", "f16", "--tied"],
    "synth_f16_untied": ["--type", "f16", "--head", "f16", "--untied"],
    "synth_q4_tied": ["--type", "q4_1", "--head", "q8_0", "--tied"],
    "synth_q4_untied": ["--type", "q4_1", "--head", "q8_0", "--untied"],
}
SYNTHETIC_SHAPE = ["--seed", "1", "--layers", "4", "--width", "96", "--ffn", "160", "--heads", "6",
                   "--kv-heads", "2", "--head-dim", "16", "--vocab", "512", "--context", "2048"]


def load_oracle(path):
    spec = importlib.util.spec_from_file_location("oracle", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


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


def make_synthetic(oracle, a):
    ids = np.random.default_rng(1).integers(8, 512, 64)
    for name, options in SYNTHETIC.items():
        with tempfile.TemporaryDirectory() as folder:
            path = f"{folder}/model.gguf"
            subprocess.run([a.make_model, *SYNTHETIC_SHAPE, *options, path], check=True)
            golden = {"make_model": " ".join(SYNTHETIC_SHAPE + options), "ids": ids.tolist()}
            for activations in ("exact", "q8"):
                logits = oracle.Model(path, activations).logits(ids)
                golden[activations] = {
                    "nll": [round(float(x), 6) for x in oracle.nll(logits[:-1], ids[1:])],
                    "top": [best(row, 8) for row in log_softmax(logits)],
                }
            write(name, golden)


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
