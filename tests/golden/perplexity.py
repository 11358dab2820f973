#!/usr/bin/env python3
"""perplexity.py SLUICE - `sluice eval perplexity` against the oracle's figures (golden/model).

The first 8,192 tokens of wikitext2-valid.txt at context 512: within 0.5% of the exact figure and 0.3%
of the one with activations in int8, with the kernels this CPU gets (SLUICE_KERNELS for others).
Needs SLUICE_TEST_MODEL and SLUICE_TEST_DATA; exit 77 when one is not set.
"""
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

EXACT, Q8, TOKENS = 15.3533, 15.3871, 8192

if not os.environ.get("SLUICE_TEST_MODEL") or not os.environ.get("SLUICE_TEST_DATA"):
    print("skipped: SLUICE_TEST_MODEL or SLUICE_TEST_DATA is not set")
    sys.exit(77)
sluice, model = sys.argv[1], os.environ["SLUICE_TEST_MODEL"]
text = (Path(os.environ["SLUICE_TEST_DATA"]) / "text" / "wikitext2-valid.txt").read_bytes()


def run(*arguments, given=None):
    return subprocess.run([sluice, *arguments], input=given, stdout=subprocess.PIPE, check=True).stdout


ids = run("tokenize", "-m", model, given=text[:200_000]).split()[:TOKENS]
with tempfile.TemporaryDirectory() as folder:
    piece = Path(folder) / "text"
    piece.write_bytes(run("tokenize", "-m", model, "--decode", given=b" ".join(ids)))
    out = json.loads(run("eval", "perplexity", "-m", model, "--text", str(piece), "--context", "512",
                         "--json", "-q"))
exact, q8 = (out["perplexity"] / figure - 1 for figure in (EXACT, Q8))
print(f"{out['perplexity']:.4f}, {exact:+.3%} of exact, {q8:+.3%} of q8")
sys.exit(0 if out["tokens"] == TOKENS // 2 and abs(exact) < 0.005 and abs(q8) < 0.003 else 1)
