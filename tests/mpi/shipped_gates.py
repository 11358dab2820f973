"""The gates of runtime/gates on the model they are for (SLUICE_TEST_MODEL), at rates they are calibrated for:
better than keeping tokens at random, at the asked rate, on licences, which nobody trained them on and which
are unlike what anybody did; and the same bytes over ranks and chunks."""
import json
import os

import e2e

LICENSES = "/usr/share/common-licenses"
GATES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "runtime", "gates")
CONTEXT, KEEP = 2048, 0.25
SHARES = {128: 0.6, 16: 0.85}  # by window: of what keeping at random costs, at most


def good(bench, ranks, *words):
    ran = bench.run(ranks, *words)
    e2e.check(ran.returncode == 0, f"{words[:2]}: exit code {ran.returncode}\n"
                                   f"{ran.stderr.decode(errors='replace')}")
    return ran.stdout


def agreement(bench, model, text, window, *policy):
    return json.loads(good(bench, 0, "eval", "agreement", "-q", "--json", "-m", model, "--text", text,
                           "--context", CONTEXT, "--limit", 1, "--keep", KEEP, "--window", window, *policy))


def test_cost(bench, model, text, gate, at_random):
    for window, share in SHARES.items():
        keep, random = KEEP, at_random[window]
        gated = agreement(bench, model, text, window, "-g", gate)
        what = f"{os.path.basename(gate)}, window {window}, keep {keep}"
        print(f"{what}: rise {100 * gated['rise']:.2f}%, KL {gated['kl']:.4f}; random "
              f"{100 * random['rise']:.2f}%, {random['kl']:.4f}", flush=True)
        e2e.check(abs(gated["retention_mean"] - keep) < 0.02, f"{what} kept {gated['retention_mean']}")
        e2e.check(gated["kl"] < share * random["kl"], f"{what}: KL {gated['kl']}, random {random['kl']}")
        e2e.check(gated["rise"] < share * random["rise"], f"{what}: {gated['rise']}, random {random['rise']}")


def test_bytes(bench, model, text, gate, ranks, words):
    with open(text, encoding="utf-8") as file:
        prompt = file.read(4500)
    source = bench.job("in.jsonl", [
        e2e.completion("a", prompt, temperature=0, max_tokens=16, ignore_eos=True, logprobs=1),
        e2e.completion("b", prompt[1500:3000], temperature=0.9, seed=3, max_tokens=16)])

    def run(ranks, *words):
        bench.remove("out", "out.job")
        good(bench, ranks, "batch", "-m", model, "-g", gate, "--keep", 0.25, "-i", source, "-o",
             bench.path("out"), *words)
        return e2e.records(bench.path("out"))

    alone = run(0)
    e2e.compare(alone, run(ranks, *words), f"{os.path.basename(gate)}, {ranks} ranks {words}")


def body(bench):
    model = os.environ.get("SLUICE_TEST_MODEL")
    if not model:
        print("skipped: SLUICE_TEST_MODEL is not set")
        return "skipped"
    licenses = ["GPL-3", "GFDL-1.3"]
    text = bench.write("text.txt", "\n".join(open(os.path.join(LICENSES, name), encoding="utf-8").read()
                                             for name in licenses))
    at_random = {window: agreement(bench, model, text, window, "--policy", "random") for window in SHARES}
    for kind, ranks, words in [("default", 3, ["--chunk", 64, "-t", 1]), ("lite", 2, ["--chunk", 1000])]:
        gate = os.path.join(GATES, f"SmolLM2-135M-Instruct.{kind}.gguf")
        test_cost(bench, model, text, gate, at_random)
        test_bytes(bench, model, text, gate, ranks, words)


e2e.main("shipped gates", body)
