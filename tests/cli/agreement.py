"""`sluice eval agreement`: nothing differs from the full cache under policy full, something does under
the others; its perplexities are those of `eval perplexity`; bytes are equal on 1, 2 and 3 ranks."""
import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "mpi"))
import e2e  # noqa: E402

KEYS = ["policy", "sinks", "window", "context", "pieces", "positions", "agreement", "agreement_se",
        "kl", "kl_se", "perplexity_full", "perplexity", "retention_mean"]


def run(bench, ranks, *words):
    ran = bench.run(ranks, "eval", *words, "-m", bench.path("model.gguf"), "--json")
    e2e.check(ran.returncode == 0, f"{ranks} ranks, {words}: {ran.stderr.decode()}")
    return ran.stdout


def agreement(bench, text, *words):
    value = json.loads(run(bench, 0, "agreement", "--text", text, *words))
    e2e.check(list(value) == KEYS, f"{words}: {list(value)}")
    for policy, key in [([], "perplexity"), (["--policy", "full"], "perplexity_full")]:
        scored = json.loads(run(bench, 0, "perplexity", "--text", text, *words, *policy))
        e2e.check(abs(scored["perplexity"] / value[key] - 1) < 1e-7,
                  f"{words}: {key} {value[key]}, of eval perplexity {scored['perplexity']}")
        if not policy:
            e2e.check(scored["retention_mean"] == value["retention_mean"],
                      f"{words}: {value}, of eval perplexity {scored['retention_mean']}")
    return value


def test_policies(bench, text):
    words = ["--context", 256, "--window", 16]
    full = agreement(bench, text, *words, "--policy", "full")
    e2e.check(full["agreement"] == 1 and full["kl"] == 0 and full["agreement_se"] == 0
              and full["kl_se"] == 0 and full["perplexity"] == full["perplexity_full"]
              and full["positions"] == 128 * full["pieces"], f"full: {full}")
    for policy in ["streaming", "random", "keydiff", "snapkv", "h2o"]:
        value = agreement(bench, text, *words, "--policy", policy, "--keep", 0.3)
        e2e.check(0 <= value["agreement"] < 1 and value["kl"] > 0 and value["kl_se"] > 0
                  and value["policy"] == policy, f"{policy}: {value}")
        e2e.check(value["perplexity_full"] == full["perplexity"], f"{policy}: {value}")


def test_positions(bench, text):
    value = agreement(bench, text, "--context", 1000, "--window", 16, "--policy", "streaming")
    e2e.check(value["positions"] == 250 * value["pieces"], f"every second of 500: {value}")
    short = bench.write("short.txt", e2e.words(7, 900))
    value = agreement(bench, short, "--context", 256, "--window", 16, "--policy", "streaming")
    if value["pieces"] == 1:
        e2e.check(value["kl_se"] is None and value["agreement_se"] is None, f"one piece: {value}")
    value = agreement(bench, short, "--context", 3, "--window", 1, "--sinks", 0)
    e2e.check(value["positions"] == 2 * value["pieces"], f"tiny pieces: {value}")


def test_ranks(bench, text):
    n = 0
    for policy in ["random", "h2o"]:
        words = ["agreement", "--text", text, "--context", 256, "--window", 16, "--policy", policy,
                 "--keep", 0.3]
        alone = run(bench, 0, *words)
        for ranks, more in [(0, ["--chunk", 37, "-t", 2]), (1, []), (2, []), (3, ["--chunk", 50])]:
            found = run(bench, ranks, *words, *more)
            e2e.check(found == alone, f"{policy}, {ranks} ranks {more}: {found!r}, alone {alone!r}")
            n += 1
    return n


def test_refusals(bench, text):
    for words, said in [([], "--text"), (["--text", text, "--keep-out", "x"], "--keep-out")]:
        ran = bench.run(0, "eval", "agreement", "-m", bench.path("model.gguf"), *words)
        e2e.check(ran.returncode == 2 and said in ran.stderr.decode(), f"{words}: {ran}")


def body(bench):
    bench.model("model.gguf", seed=31, layers=3, width=96, ffn=160, context=1024)
    text = bench.write("text.txt", e2e.words(5, 6000))
    test_policies(bench, text)
    test_positions(bench, text)
    test_refusals(bench, text)
    print(f"{test_ranks(bench, text)} runs of equal bytes")


e2e.main("agreement", body)
