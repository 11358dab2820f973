"""The gates of runtime/gates on the models they are for (SLUICE_TEST_MODEL, SLUICE_TEST_GEMMA), at a rate they
are calibrated for: better than keeping tokens at random, at the asked rate, on licences, which nobody trained
them on and which are unlike what anybody did; and the same bytes over ranks and chunks."""
import json
import os

import e2e

LICENSES = "/usr/share/common-licenses"
FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "runtime", "gates")
CONTEXT = 2048
# Of a model: the variable with its file; what is kept; shares, by window, of what keeping at random costs, at most;
# and its gates, each with the ranks and options that must give the same bytes.
MODELS = [
    ("SmolLM2-135M-Instruct", "SLUICE_TEST_MODEL", 0.25, {128: 0.6, 16: 0.85},
     [("default", 3, ["--chunk", 64, "-t", 1]), ("lite", 2, ["--chunk", 1000])]),
    ("gemma-3-270m", "SLUICE_TEST_GEMMA", 0.5, {128: 0.7}, [("default", 3, ["--chunk", 64, "-t", 1])]),
]


def good(bench, ranks, *words):
    ran = bench.run(ranks, *words)
    e2e.check(ran.returncode == 0, f"{words[:2]}: exit code {ran.returncode}\n"
                                   f"{ran.stderr.decode(errors='replace')}")
    return ran.stdout


def agreement(bench, model, text, keep, window, *policy):
    return json.loads(good(bench, 0, "eval", "agreement", "-q", "--json", "-m", model, "--text", text,
                           "--context", CONTEXT, "--limit", 1, "--keep", keep, "--window", window, *policy))


def test_cost(bench, model, text, gate, keep, shares, at_random):
    for window, share in shares.items():
        random = at_random[window]
        gated = agreement(bench, model, text, keep, window, "-g", gate)
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


def test_model(bench, text, name, model, keep, shares, gates):
    at_random = {window: agreement(bench, model, text, keep, window, "--policy", "random") for window in shares}
    for kind, ranks, words in gates:
        gate = os.path.join(FOLDER, f"{name}.{kind}.gguf")
        test_cost(bench, model, text, gate, keep, shares, at_random)
        test_bytes(bench, model, text, gate, ranks, words)


def body(bench):
    licenses = ["GPL-3", "GFDL-1.3"]
    text = bench.write("text.txt", "\n".join(open(os.path.join(LICENSES, name), encoding="utf-8").read()
                                             for name in licenses))
    verdict = "skipped"
    for name, variable, keep, shares, gates in MODELS:
        if os.environ.get(variable):
            test_model(bench, text, name, os.environ[variable], keep, shares, gates)
            verdict = None
        else:
            print(f"{name} is left out: {variable} is not set", flush=True)
    return verdict


e2e.main("shipped gates", body)
