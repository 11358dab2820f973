#!/usr/bin/env python3
"""perplexity.py SLUICE - `sluice eval perplexity` against the oracle's figures (golden/model).

The first 8,192 tokens of wikitext2-valid.txt at context 512, with every kernel set this CPU runs but the
plain one, which would take minutes: within 0.5% of the exact figure and, of sets that compute prompts in int8,
0.3% of the one with such activations. Needs SLUICE_TEST_MODEL and SLUICE_TEST_DATA; exit 77 when one is not set.
"""
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

EXACT, Q8, TOKENS = 15.3533, 15.3871, 8192
SETS = ["avx2", "avx512", "amx-emulated", "amx"]

if not os.environ.get("SLUICE_TEST_MODEL") or not os.environ.get("SLUICE_TEST_DATA"):
    print("skipped: SLUICE_TEST_MODEL or SLUICE_TEST_DATA is not set")
    sys.exit(77)
sluice, model = sys.argv[1], os.environ["SLUICE_TEST_MODEL"]
text = (Path(os.environ["SLUICE_TEST_DATA"]) / "text" / "wikitext2-valid.txt").read_bytes()


def run(*arguments, given=None, kernels=""):
    return subprocess.run([sluice, *arguments], input=given, stdout=subprocess.PIPE, check=True,
                          env={**os.environ, "SLUICE_KERNELS": kernels}).stdout


def runs_here(kernels):
    probe = [sluice, "run", "-m", model, "-p", "x", "-n", "1", "-q"]
    done = subprocess.run(probe, capture_output=True, env={**os.environ, "SLUICE_KERNELS": kernels})
    if done.returncode != 0 and b"no such kernel set" not in done.stderr:
        sys.exit(f"{kernels}: {done.stderr.decode()}")
    return done.returncode == 0


def good(kernels, piece):
    out = json.loads(run("eval", "perplexity", "-m", model, "--text", str(piece), "--context", "512",
                         "--json", "-q", kernels=kernels))
    exact, q8 = (out["perplexity"] / figure - 1 for figure in (EXACT, Q8))
    print(f"{kernels}: {out['perplexity']:.4f}, {exact:+.3%} of exact, {q8:+.3%} of q8", flush=True)
    return out["tokens"] == TOKENS // 2 and abs(exact) < 0.005 and (
        abs(q8) < 0.003 or kernels.startswith("amx"))


ids = run("tokenize", "-m", model, given=text[:200_000]).split()[:TOKENS]
sets = [kernels for kernels in SETS if runs_here(kernels)] or [""]
with tempfile.TemporaryDirectory() as folder:
    path = Path(folder) / "text"
    path.write_bytes(run("tokenize", "-m", model, "--decode", given=b" ".join(ids)))
    sys.exit(not all([good(kernels, path) for kernels in sets]))
