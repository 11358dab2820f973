"""Contract 1 on the real models (SLUICE_TEST_MODEL, and SLUICE_TEST_GEMMA, whose layers mostly slide) with
prompts to 2,500 tokens: one reference, and runs of other ranks that change everything else too. That each by
itself changes nothing, same_bytes.py shows."""
import json
import os

import e2e

LICENSES = "/usr/share/common-licenses"


def text(name, start, n_bytes):
    with open(os.path.join(LICENSES, name)) as file:
        return file.read()[start:start + n_bytes]


def requests(chats):
    """chats: the model has a template for them."""
    found = [
        e2e.completion("long", text("GPL-3", 0, 11000), temperature=0, max_tokens=24,
                       ignore_eos=True, logprobs=2),
        e2e.completion("drawn", text("LGPL-3", 300, 2000), temperature=0.8, top_p=0.95, seed=1,
                       max_tokens=24, n=2),
        e2e.completion("short", "The capital of France is", temperature=0, max_tokens=16),
    ]
    return found + [
        e2e.chat("chat", "Say in one sentence what this grants.\n\n" + text("LGPL-2.1", 0, 1500),
                 temperature=0.7, top_k=40, seed=2, max_tokens=24, logprobs=True,
                 top_logprobs=2),
    ] if chats else found


def options(ranks=0, threads=2, chunk=256, sequences=16, codec="f32"):
    return ranks, ["-t", threads, "--chunk", chunk, "--sequences", sequences, "--codec", codec]


def run(bench, model, source, what, ranks, words):
    bench.remove("out", "out.job")
    out = bench.path("out")
    ran = bench.run(ranks, "batch", "-m", model, "-i", source, "-o", out, *words)
    e2e.check(ran.returncode == 0, f"{what}: exit code {ran.returncode}\n"
                                   f"{ran.stderr.decode(errors='replace')}")
    return e2e.records(out), ran.stderr.decode(errors="replace")


def test_model(bench, model, chats):
    source = bench.job("in.jsonl", requests(chats))
    reference, talk = run(bench, model, source, f"{os.path.basename(model)}: reference", *options())
    print(talk, end="", flush=True)
    runs = [options(ranks=2, threads=1, chunk=1000, sequences=4),
            options(ranks=3, chunk=64, sequences=3, codec="f32-zstd"),
            options(ranks=7, threads=1, chunk=256)]
    for ranks, words in runs:
        what = f"{os.path.basename(model)}: {ranks or 1} ranks, {' '.join(map(str, words))}"
        found, _ = run(bench, model, source, what, ranks, words)
        e2e.compare(reference, found, what)
        print(what, flush=True)


def test_ruler(bench, model):
    """What `eval ruler` tells of a model that finds a needle in a short text, alone and over ranks."""
    source = bench.write("text.txt", text("GPL-3", 0, 30000))
    words = ["eval", "ruler", "-m", model, "--text", source, "--lengths", 384, "--trials", 2, "--tasks",
             "single,questions", "--policies", "streaming,random", "--keep", 0.5, "--window", 32, "--json"]
    alone = bench.run(0, *words, "-t", 2)
    e2e.check(alone.returncode == 0, alone.stderr.decode(errors="replace"))
    value = json.loads(alone.stdout)
    of_full = {p["policy"]: p["of_full"] for p in value["policies"]}
    e2e.check(value["policies"][0]["cells"] == 2 and len(value["cells"]) == 6, f"not solved: {value}")
    e2e.check(of_full["full"] == 1 and of_full["streaming"] < 0.6, f"{of_full}")
    kept = {c["policy"]: c["retention"] for c in value["cells"]}
    e2e.check(kept["streaming"] == 0 and abs(kept["random"] - 0.5) < 0.02, f"{kept}")
    ran = bench.run(3, *words, "-t", 1, "--chunk", 100, "--sequences", 5)
    e2e.check(ran.stdout == alone.stdout, f"3 ranks: {ran.stdout!r}, alone {alone.stdout!r}")
    print("eval ruler", flush=True)


def body(bench):
    verdict = "skipped"
    for variable, chats in [("SLUICE_TEST_MODEL", True), ("SLUICE_TEST_GEMMA", False)]:
        if os.environ.get(variable):
            test_model(bench, os.environ[variable], chats)
            if chats:
                test_ruler(bench, os.environ[variable])
            verdict = None
        else:
            print(f"{variable} is not set: its model is left out", flush=True)
    return verdict


e2e.main("same bytes, real models", body)
