#!/usr/bin/env python3
"""Compare what makes the synthetic goldens (make.py over the oracle) with llama.cpp.

  against_llama.py --oracle ORACLE.PY --make-model BUILD/tests/support/make_model

Both keep K and V unrounded here. For each model: the largest and the mean difference of the
log-probabilities of the next id and the 8 best, at each of 63 ids. Models of f32 weights, so biases and the
scalings of rope, must agree within 1e-4. Of the others llama.cpp also rounds the activations, to the
weights' type or to int8 with a scale rounded otherwise: their figures only say that no type is
misread. Needs `llama-cpp-python`, `gguf` and `numpy` from PyPI.
"""
import argparse
import subprocess
import sys
import tempfile

import numpy as np
from llama_cpp import Llama

sys.dont_write_bytecode = True
import make  # noqa: E402: leaves nothing beside itself

F32_CACHE = {"type_k": 0, "type_v": 0, "flash_attn": False}


def llama_log_probabilities(path, ids):
    model = Llama(path, n_ctx=128, n_batch=128, logits_all=True, verbose=False, **F32_CACHE)
    model.eval(ids.tolist())
    return make.log_softmax(np.array(model.scores[:len(ids)], dtype=np.float64))


def main():
    p = argparse.ArgumentParser(description=__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--oracle", required=True)
    p.add_argument("--make-model", required=True)
    a = p.parse_args()
    make.in_cache = lambda x: x
    model_class = make.extended(make.load_oracle(a.oracle))
    ids, failed = make.synthetic_ids(), False
    for name, options in make.SYNTHETIC.items():
        if "llama3" in options:
            print(f"{name:18} llama.cpp does not know: its files have rope_freqs instead")
            continue
        with tempfile.TemporaryDirectory() as folder:
            path = f"{folder}/model.gguf"
            subprocess.run([a.make_model, *(make.SHAPE + options).split(), path], check=True)
            ours = make.log_softmax(model_class(path).logits(ids))
            theirs = llama_log_probabilities(path, ids)
        best = np.argsort(-ours, -1)[:-1, :8]
        tokens = np.concatenate([best, ids[1:, None]], 1)
        off = np.abs(np.take_along_axis(ours[:-1] - theirs[:-1], tokens, 1))
        wrong = "--type f32" in options and off.max() > 1e-4
        failed |= wrong
        print(f"{name:18} off by {off.max():.6f} at most, {off.mean():.6f} on average"
              f"{': TOO MUCH' if wrong else ''}")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
