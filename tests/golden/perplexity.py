#!/usr/bin/env python3
"""perplexity.py SLUICE - `sluice eval perplexity` of real models against figures made elsewhere, on the start
of wikitext2-valid.txt, with every kernel set this CPU runs but the plain one, which would take minutes.

SmolLM2 against the oracle's (golden/model), at context 512: within 0.5% of the exact figure and, of sets that
compute prompts in int8, 0.3% of the one with such activations. Gemma 3 against llama.cpp's, at context 2048,
four times its window: within 1%. Needs SLUICE_TEST_DATA, and SLUICE_TEST_MODEL or SLUICE_TEST_GEMMA; exit 77
without.
"""
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

SETS = ["avx2", "avx512", "amx-emulated", "amx"]
# variable, context, tokens, figures and by how much each may be missed by a set
MODELS = [
    ("SLUICE_TEST_MODEL", 512, 8192, {"exact": (15.3533, lambda kernels: 0.005),
                                      "q8": (15.3871, lambda k: 0.005 if k.startswith("amx") else 0.003)}),
    # llama-perplexity -c 2048 --chunks 2 -fa on, of llama-cpp-python 0.3.36
    ("SLUICE_TEST_GEMMA", 2048, 4096, {"llama.cpp": (11.6158, lambda kernels: 0.01)}),
]


def run(sluice, *arguments, given=None, kernels=""):
    return subprocess.run([sluice, *arguments], input=given, stdout=subprocess.PIPE, check=True,
                          env={**os.environ, "SLUICE_KERNELS": kernels}).stdout


def runs_here(sluice, model, kernels):
    probe = [sluice, "run", "-m", model, "-p", "x", "-n", "1", "-q"]
    done = subprocess.run(probe, capture_output=True, env={**os.environ, "SLUICE_KERNELS": kernels})
    if done.returncode != 0 and b"no such kernel set" not in done.stderr:
        sys.exit(f"{kernels}: {done.stderr.decode()}")
    return done.returncode == 0


def first_tokens(sluice, model, text, n):
    """Their text: all of them, and less than one more piece."""
    ids = run(sluice, "tokenize", "-m", model, given=text[:200_000]).split()[:n]
    return run(sluice, "tokenize", "-m", model, "--decode", given=b" ".join(ids))


def good(sluice, model, kernels, piece, context, tokens, figures):
    out = json.loads(run(sluice, "eval", "perplexity", "-m", model, "--text", str(piece), "--context",
                         str(context), "--json", "-q", kernels=kernels))
    off = {name: out["perplexity"] / figure - 1 for name, (figure, _) in figures.items()}
    told = ", ".join(f"{value:+.3%} of {name}" for name, value in off.items())
    print(f"{Path(model).name}, {kernels}: {out['perplexity']:.4f}, {told}", flush=True)
    return out["tokens"] == tokens // 2 and all(
        abs(off[name]) < allowed(kernels) for name, (_, allowed) in figures.items())


def main():
    data = os.environ.get("SLUICE_TEST_DATA")
    models = [row for row in MODELS if os.environ.get(row[0])]
    if not data or not models:
        print("skipped: SLUICE_TEST_DATA is not set, or neither SLUICE_TEST_MODEL nor SLUICE_TEST_GEMMA")
        sys.exit(77)
    text = (Path(data) / "text" / "wikitext2-valid.txt").read_bytes()
    sluice, all_good = sys.argv[1], True
    for variable, context, tokens, figures in models:
        model = os.environ[variable]
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "text"
            path.write_bytes(first_tokens(sluice, model, text, tokens))
            for kernels in [k for k in SETS if runs_here(sluice, model, k)] or [""]:
                all_good &= good(sluice, model, kernels, path, context, tokens, figures)
    sys.exit(not all_good)


main()
