#!/usr/bin/env python3
"""mask_oracle.py ORACLE.py SLUICE MODEL TEXT [--pieces N] [--context N] [--gate FILE] [--only WORD] [--out FILE]

Every policy against an independent forward pass: `sluice eval` writes who was kept (--keep-out), the
oracle masks exactly those, and the two must agree: perplexity within 0.5% over the pieces, and the
most likely token's log-probability, position by position, within --tolerance where it can be asked (not
of `random`, drawn by a request's id, nor of a prompt's end, of which a piece has another). Exit 1: some
do not. With --gate also gates, those of a `prompt` span in paper mode. Minutes per policy: run it by
hand, with --out to keep the figures. Needs gguf and numpy."""
import argparse
import importlib.util
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

RATES = [0.5, 0.25]


def ways(gate):
    """(name, options) of every run."""
    for window in (128, 16):
        place = ["--sinks", "4", "--window", str(window)]
        yield f"full W {window}", ["--policy", "full", *place]
        yield f"streaming W {window}", ["--policy", "streaming", *place]
        for policy in ["random", "keynorm", "keydiff", "snapkv", "h2o"] + (["gate"] if gate else []):
            keep = RATES[window == 16]
            yield f"{policy} {keep} W {window}", ["--policy", policy, "--keep", str(keep), *place]
    if gate:
        yield "gate as its file says", ["--policy", "gate"]
    yield "paper mode, random", ["--policy", "random", "--keep", "0.5", "--sinks", "0", "--window", "1"]


def load_oracle(path):
    spec = importlib.util.spec_from_file_location("oracle", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run(*arguments, given=None):
    return subprocess.run(list(map(str, arguments)), input=given, stdout=subprocess.PIPE,
                          check=True).stdout


def top_logprobs(sluice, model, ids, options, folder):
    """Most likely log-probability after each token of one prompt, as `batch` echoes it."""
    request = {"custom_id": "x", "method": "POST", "url": "/v1/completions",
               "body": {"prompt": ids, "max_tokens": 0, "echo": True, "logprobs": 1}}
    source, out = folder / "in.jsonl", folder / "out.jsonl"
    source.write_text(json.dumps(request) + "\n")
    for old in (out, folder / "out.jsonl.job"):
        old.unlink(missing_ok=True)
    run(sluice, "batch", "-m", model, "-i", source, "-o", out, "-q", *options)
    record = json.loads(out.read_text())
    tops = record["response"]["body"]["choices"][0]["logprobs"]["top_logprobs"]
    return np.array([max(top.values()) for top in tops[1:]])


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("oracle", "sluice", "model", "text"):
        p.add_argument(name)
    p.add_argument("--pieces", type=int, default=8)
    p.add_argument("--context", type=int, default=1024)
    p.add_argument("--gate")
    p.add_argument("--only", default="")
    p.add_argument("--out")
    p.add_argument("--tolerance", type=float, default=0.75,
                   help="natural log; the dense model is off by 0.3 to 0.5 somewhere in 1,024 tokens")
    a = p.parse_args()
    oracle = load_oracle(a.oracle)
    model = oracle.Model(a.model, "q8")
    n, half, rows = a.context, a.context // 2, []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        ids = run(a.sluice, "tokenize", "-m", a.model, given=Path(a.text).read_bytes()[:1 << 18])
        ids = [int(i) for i in ids.split()][:a.pieces * n]
        text = folder / "text"
        text.write_bytes(run(a.sluice, "tokenize", "-m", a.model, "--decode",
                             given=" ".join(map(str, ids)).encode()))
        for name, options in ways(a.gate):
            if a.only not in name:
                continue
            gate = ["-g", a.gate] if a.gate and "gate" in name else []
            out = json.loads(run(a.sluice, "eval", "perplexity", "-m", a.model, *gate, "--text", text,
                                 "--context", n, "--json", "-q", "--keep-out", folder / "keep.npy",
                                 *options))
            keep = np.load(folder / "keep.npy")
            losses, off = [], np.nan
            for start in range(0, len(ids), n):
                piece = np.array(ids[start:start + n])
                logits = model.logits(piece, keep[:, :, start:start + n], out["sinks"], out["window"],
                                      out["mask_from"])
                losses.append(oracle.nll(logits[half - 1:-1], piece[half:]))
                # random is drawn by id, and a batch has no halves, as a prompt's end makes of a piece
                whole = "random" not in name and out["mask_from"] == 0 and out["window"] > 1
                if start == 0 and whole:
                    top = logits.max(-1) - oracle.nll(logits, logits.argmax(-1)) - logits.max(-1)
                    mine = top_logprobs(a.sluice, a.model, piece.tolist(), [*gate, *options], folder)
                    off = float(np.abs(top[:-1] - mine).max())
            perplexity = float(np.exp(np.concatenate(losses).mean()))
            change = out["perplexity"] / perplexity - 1
            rows.append({"name": name, "options": options, "retention": out["retention_mean"],
                         "perplexity": perplexity, "sluice": out["perplexity"], "top_off": off})
            print(f"{name:28} kept {out['retention_mean']:6.1%}  oracle {perplexity:9.4f}  "
                  f"sluice {out['perplexity']:9.4f} {change:+.3%}  top-1 off by {off:.3f}", flush=True)
    if a.out:
        Path(a.out).write_text(json.dumps({"pieces": a.pieces, "context": n, "rows": rows}, indent=1) + "\n")
    good = [abs(row["sluice"] / row["perplexity"] - 1) <= 0.005 and not row["top_off"] > a.tolerance
            for row in rows]
    sys.exit(not rows or not all(good) or all(np.isnan(row["top_off"]) for row in rows))


if __name__ == "__main__":
    main()
