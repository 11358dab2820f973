#!/usr/bin/env python3
"""Perplexity of the demo's model in files that llama.cpp quantized, by Sluice and by llama.cpp.

  quantized.py --sluice SLUICE --text wikitext2-valid.txt [--types Q4_K_M,Q6_K] [--pieces 63] [--threads 2]
               [--exact]

The model (launch/fetch_model.sh) in f32, and the same function padded with zeros to a width of 768, a
multiple of 256, so that no matrix falls back to another type; of both one file for each type, by
llama-quantize; they stay in $SLUICE_CACHE, by default the user's cache folder: 3 GB. Pieces of 512 tokens, of
which the last 255 are scored, as llama-perplexity does. Prints a row of a table as soon as it is known;
exit status 1 when one differs by more than 0.7%, unless Sluice is nearer to the figure that --exact adds: of
the same file dequantized to f32, so that no activations are rounded. Needs the PyPI packages `gguf` and
`numpy`, and llama.cpp, which is built first (../build_llama_cpp.sh).
"""
import argparse
import json
import math
import os
import pathlib
import re
import subprocess
import sys

import numpy as np

sys.dont_write_bytecode = True
from rewrite_gguf import rewrite  # noqa: E402: leaves nothing beside itself

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[2]
TYPES = ["Q4_K_M", "Q5_K_M", "Q6_K", "Q3_K_M", "Q2_K", "IQ4_XS"]
CONTEXT, SCORED = 512, 255
FEW = 8  # pieces that f32 is checked on, which takes long
WIDTH, PADDED, HEAD = 576, 768, 64
ALLOWED = 0.007
# The padded model computes the same function; its sums in f32 run in another order.
SAME = 0.0005


def output(*words, **more):
    return subprocess.run([str(w) for w in words], stdout=subprocess.PIPE, check=True, text=True,
                          **more).stdout


def padded(name, values):
    """Zeros behind each row and column that is as long as the width or the keys; a norm sees the same
    squares over more elements, so its gains shrink by the root of that."""
    if "norm" in name:
        values = values * math.sqrt(WIDTH / PADDED)
    wider = {WIDTH: PADDED, WIDTH // 3: PADDED // 3}
    sides = [(0, wider.get(n, n) - n) for n in values.shape]
    return np.pad(values, sides).astype(np.float32)


PADDED_KEYS = {"llama.embedding_length": PADDED, "llama.attention.head_count": PADDED // HEAD,
               "llama.attention.head_count_kv": PADDED // HEAD // 3,
               "llama.attention.layer_norm_rms_epsilon": 1e-5 * WIDTH / PADDED}


class Comparison:
    def __init__(self, args):
        cache = os.environ.get("SLUICE_CACHE") or pathlib.Path(
            os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "sluice"
        self.folder = pathlib.Path(cache) / "quantized"
        self.folder.mkdir(parents=True, exist_ok=True)
        self.args = args
        self.model = output(ROOT / "launch/fetch_model.sh").strip()
        build = output(HERE.parent / "build_llama_cpp.sh", "native", "llama-quantize",
                       "llama-perplexity").strip()
        self.programs = pathlib.Path(build) / "bin"
        self.text = self.cut_text()

    def cut_text(self):
        """So many pieces and less than one more, for both programs."""
        text = pathlib.Path(self.args.text).read_bytes()[:self.args.pieces * CONTEXT * 8]
        ids = subprocess.run([self.args.sluice, "tokenize", "-m", self.model], input=text, check=True,
                             stdout=subprocess.PIPE).stdout.split()[:(self.args.pieces + 1) * CONTEXT - 64]
        path = self.folder / "text"
        path.write_bytes(subprocess.run([self.args.sluice, "tokenize", "-m", self.model, "--decode"],
                                        input=b" ".join(ids), check=True, stdout=subprocess.PIPE).stdout)
        return path

    def made(self, name, make):
        """The file of this name, whole: it gets its name last."""
        path = self.folder / f"{name}.gguf"
        if not path.exists():
            print(f"quantized: making {path}", file=sys.stderr)
            unfinished = path.with_suffix(".unfinished")
            make(unfinished)
            unfinished.rename(path)
        return path

    def plain(self, name):
        if name == "padded":
            return self.made("padded-F32", lambda out: rewrite(self.model, out, padded, PADDED_KEYS))
        return self.made("width576-F32", lambda out: rewrite(self.model, out))

    def quantized(self, name, kind):
        def make(out):
            subprocess.run([self.programs / "llama-quantize", self.plain(name), out, kind, self.args.threads],
                           check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return self.made(f"{name}-{kind}", make)

    def own_perplexity(self, path, pieces):
        told = json.loads(output(self.args.sluice, "eval", "perplexity", "-m", path, "--text", self.text,
                                 "--context", CONTEXT, "--score", SCORED, "--limit", pieces, "-t", self.args.threads,
                                 "--json", "-q"))
        if told["tokens"] != pieces * SCORED:
            sys.exit(f"quantized: {told['tokens']} tokens were scored")
        return told["perplexity"]

    def exact_perplexity(self, path):
        plain = self.folder / "exact.gguf"
        rewrite(path, plain)
        found = self.own_perplexity(plain, self.args.pieces)
        plain.unlink()
        return found

    def their_perplexity(self, path):
        told = output(self.programs / "llama-perplexity", "-m", path, "-f", self.text, "-c", CONTEXT,
                      "--chunks", self.args.pieces, "-t", self.args.threads, stderr=subprocess.STDOUT)
        return float(re.search(r"Final estimate: PPL = ([0-9.]+)", told).group(1))


def main():
    p = argparse.ArgumentParser(description=__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--sluice", required=True)
    p.add_argument("--text", required=True)
    p.add_argument("--types", default=",".join(TYPES))
    p.add_argument("--pieces", type=int, default=63)
    p.add_argument("--threads", default="2")
    p.add_argument("--exact", action="store_true")
    args = p.parse_args()
    comparison, good = Comparison(args), True

    both = [comparison.own_perplexity(comparison.plain(name), FEW) for name in ("width576", "padded")]
    print(f"In f32, {FEW * SCORED} tokens scored: {both[0]:.4f}, padded {both[1]:.4f}. Below, "
          f"{args.pieces * SCORED} tokens scored.\n", flush=True)
    good &= abs(both[1] / both[0] - 1) < SAME
    print("| file | llama.cpp | Sluice | difference | in f32 |\n|---|---|---|---|---|")
    for kind in args.types.split(","):
        for name in ("width576", "padded"):
            path = comparison.quantized(name, kind)
            theirs, own = comparison.their_perplexity(path), comparison.own_perplexity(path, args.pieces)
            exact = comparison.exact_perplexity(path) if args.exact else math.nan
            print(f"| {kind}{', padded' * (name == 'padded')} | {theirs:.4f} | {own:.4f} | "
                  f"{own / theirs - 1:+.2%} | {f'{exact:.4f}' if args.exact else ''} |", flush=True)
            good &= abs(own / theirs - 1) < ALLOWED or abs(own - exact) < abs(theirs - exact)
    sys.exit(not good)


if __name__ == "__main__":
    main()
