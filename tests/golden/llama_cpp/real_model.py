#!/usr/bin/env python3
"""A real model by Sluice and by llama.cpp, on the same file: perplexities, and what they continue greedily.

  real_model.py --sluice SLUICE --model MODEL.gguf --text A.txt,B.txt [--contexts 512,2048,8192]
                [--tokens 16384] [--prompts 8] [--threads 2]

Perplexity of the first --tokens of each text, in pieces of each context whose last half is scored, as
llama-perplexity does; at most 1% may lie between the two. Of as many --prompts of each text, greedy
continuations of 64 tokens, which may differ from where the two likeliest tokens are 0.2 nat apart or less.
Prints tables; exit status 1 when something differs more. Needs llama.cpp, which is built first (../build_llama_cpp.sh).
"""
import argparse
import json
import pathlib
import re
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
ALLOWED, NEAR_TIE, CONTINUED = 0.01, 0.2, 64
PROMPT, PROMPTS_FROM, PROMPTS_APART = 1500, 20000, 15000  # characters


def output(*words, **more):
    return subprocess.run([str(w) for w in words], stdout=subprocess.PIPE, check=True, **more).stdout


class Comparison:
    def __init__(self, args, folder):
        self.args, self.folder = args, pathlib.Path(folder)
        build = output(HERE.parent / "build_llama_cpp.sh", "native", "llama-perplexity", "llama-completion",
                       text=True).strip()
        self.programs = pathlib.Path(build) / "bin"

    def sluice(self, *words, **more):
        return output(self.args.sluice, *words, "-m", self.args.model, **more)

    def cut_text(self, path, n):
        """Its first n tokens, and less than one more piece of any context, for both programs."""
        ids = self.sluice("tokenize", input=path.read_bytes()[:n * 8]).split()[:n + 64]
        cut = self.folder / "text"
        cut.write_bytes(self.sluice("tokenize", "--decode", input=b" ".join(ids)))
        return cut

    def perplexities(self, path, context):
        n = self.args.tokens // context
        text = self.cut_text(path, n * context)
        own = json.loads(self.sluice("eval", "perplexity", "--text", text, "--context", context, "--score",
                                     context // 2 - 1, "--limit", n, "-t", self.args.threads, "--json", "-q"))
        if own["tokens"] != n * (context // 2 - 1):
            sys.exit(f"real_model: {own['tokens']} tokens were scored of {n} pieces of {context}")
        told = output(self.programs / "llama-perplexity", "-m", self.args.model, "-f", text, "-c", context, "-b",
                      context, "--chunks", n, "-t", self.args.threads, "-fa", "on", text=True,
                      stderr=subprocess.STDOUT)
        return float(re.search(r"Final estimate: PPL = ([0-9.]+)", told).group(1)), own["perplexity"]

    def their_continuation(self, prompt):
        """The bytes, and whether it ended by itself."""
        end = b" [end of text]"
        told = output(self.programs / "llama-completion", "-m", self.args.model, "-p", prompt, "-n", CONTINUED,
                      "--temp", 0, "-no-cnv", "--no-display-prompt", "--no-escape", "-t", self.args.threads,
                      "-fa", "on", stderr=subprocess.DEVNULL).rstrip(b"\n")
        return told.removesuffix(end), told.endswith(end)

    def own_continuations(self, prompts):
        """For each the tokens' bytes, how far the second likeliest is from the first, whether it ended."""
        lines, done = self.folder / "in.jsonl", self.folder / "out.jsonl"
        body = {"max_tokens": CONTINUED, "temperature": 0, "logprobs": 2}
        lines.write_text("".join(json.dumps({"custom_id": str(i), "method": "POST", "url": "/v1/completions",
                                             "body": {**body, "prompt": prompt}}) + "\n"
                                 for i, prompt in enumerate(prompts)))
        done.unlink(missing_ok=True)
        self.sluice("batch", "-i", lines, "-o", done, "-t", self.args.threads, "-q")
        found = {}
        for line in done.read_text().splitlines():
            record = json.loads(line)
            choice = record["response"]["body"]["choices"][0]
            told, ended = choice["logprobs"], choice["finish_reason"] == "stop"
            tokens = [bytes_of(token) for token in told["tokens"]]
            ranked = [sorted(top.values(), reverse=True) for top in told["top_logprobs"]]
            found[int(record["custom_id"])] = (tokens[:-1] if ended else tokens,
                                               [r[0] - r[1] for r in ranked], ended)
        return [found[i] for i in range(len(prompts))]


def bytes_of(token):
    """Tokens that are no text are told by their bytes: bytes:\\xe2\\x80."""
    if not token.startswith("bytes:"):
        return token.encode()
    return bytes(int(byte, 16) for byte in token[len("bytes:"):].split("\\x")[1:])


def first_difference(tokens, ended, theirs, they_ended):
    """The place of the first token that they do not go on with, or None. Line ends at the very end of theirs
    cannot be told from those of the program."""
    text = b""
    for i, token in enumerate(tokens):
        text += token
        if not theirs.startswith(text) and (theirs != text.rstrip(b"\n") or they_ended):
            return i
    return None if ended == they_ended else len(tokens)


def prompts_of(path, n):
    text = path.read_text(encoding="utf-8")
    if len(text) < PROMPTS_FROM + n * PROMPTS_APART:
        sys.exit(f"real_model: {path} is too short for {n} prompts: give --prompts, or another text")
    return [text[at:at + PROMPT].strip() for at in range(PROMPTS_FROM, PROMPTS_FROM + n * PROMPTS_APART,
                                                         PROMPTS_APART)]


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--sluice", required=True)
    p.add_argument("--model", required=True)
    p.add_argument("--text", required=True)
    p.add_argument("--contexts", default="512,2048,8192")
    p.add_argument("--tokens", type=int, default=16384)
    p.add_argument("--prompts", type=int, default=8)
    p.add_argument("--threads", default="2")
    args = p.parse_args()
    if args.tokens < 2 * max(map(int, args.contexts.split(","))):
        sys.exit("real_model: llama-perplexity wants two pieces at least: give more --tokens")
    texts, good = [pathlib.Path(t) for t in args.text.split(",")], True
    with tempfile.TemporaryDirectory() as folder:
        comparison = Comparison(args, folder)
        print("| text | context | llama.cpp | Sluice | difference |\n|---|---|---|---|---|")
        for text in texts:
            for context in map(int, args.contexts.split(",")):
                theirs, own = comparison.perplexities(text, context)
                print(f"| {text.stem} | {context:,} | {theirs:.4f} | {own:.4f} | {own / theirs - 1:+.2%} |",
                      flush=True)
                good &= abs(own / theirs - 1) < ALLOWED
        print(f"\nGreedy, {CONTINUED} tokens: same, or from which token on they differ and how far apart the two "
              "likeliest are there, in nat.\n")
        for text in texts:
            prompts, told = prompts_of(text, args.prompts), []
            for prompt, (tokens, gaps, ended) in zip(prompts, comparison.own_continuations(prompts)):
                at = first_difference(tokens, ended, *comparison.their_continuation(prompt))
                gap = 0 if at is None or at == len(gaps) else gaps[at]
                told.append("same" if at is None else f"{at}: {gap:.3f}")
                good &= gap <= NEAR_TIE
            print(f"- {text.stem}: {', '.join(told)}", flush=True)
    sys.exit(not good)


if __name__ == "__main__":
    main()
