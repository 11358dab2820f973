"""LoRA adapters as their users give them: the same bytes on any ranks, threads, chunks and batches; memory
planned; a job resumed with the same adapters only; what is wrong is named. Synthetic models."""
import json
import os
import shutil
import subprocess

import e2e


def make_lora(bench, model, name, *words):
    """words: seed, rank, alpha, type, attention or all (tests/support/make_lora.c)."""
    maker = os.path.join(os.path.dirname(bench.args.make_model), "make_lora")
    subprocess.run([maker, model, bench.path(name), *map(str, words)], check=True, stdout=subprocess.DEVNULL)
    return bench.path(name)


def requests():
    sampled = {"temperature": 1.0, "top_p": 0.95, "seed": 7}
    return [e2e.completion("greedy", e2e.words(1, 200), max_tokens=12, temperature=0, logprobs=3),
            e2e.completion("long", e2e.words(2, 420), max_tokens=9, echo=True, logprobs=1, temperature=0),
            e2e.completion("drawn", e2e.words(3, 60), max_tokens=16, n=3, logprobs=2, **sampled),
            e2e.completion("short", "a", max_tokens=20, **sampled),
            e2e.chat("chat", e2e.words(4, 90), max_tokens=14, **sampled)]


def batch(bench, ranks, model, *options, out="out", code=0, **env):
    ran = bench.run(ranks, "batch", "-m", model, "-i", bench.path("in.jsonl"), "-o", bench.path(out), "--json",
                    *options, **env)
    talk = ran.stderr.decode(errors="replace")
    e2e.check(ran.returncode == code, f"{options} on {ranks} ranks: exit code {ran.returncode}\n{talk}")
    return talk


def answers(bench, ranks, model, *options, **env):
    bench.remove("out", "out.job")
    batch(bench, ranks, model, *options, **env)
    return e2e.records(bench.path("out"))


def same_bytes(bench, model, one, two):
    """Contract 1, and each adapter, scale and order of adapters has a part in it."""
    lora = f"{one}=0.75,{two}"
    plain = answers(bench, 0, model)
    found = answers(bench, 0, model, "--lora", lora, "-t", 2)
    e2e.check(all(plain[name] != line for name, line in found.items()), "adapters change nothing")
    rows = [(1, 1, 33, 3), (2, 1, 64, 16), (3, 2, 100, 4)] if bench.args.light else \
        [(0, 1, 64, 3), (1, 1, 33, 16), (2, 1, 64, 16), (2, 2, 256, 5), (3, 2, 100, 4), (5, 1, 48, 7)]
    for ranks, threads, chunk, sequences in rows:
        what = f"{ranks} ranks, {threads} threads, chunk {chunk}, {sequences} sequences"
        again = answers(bench, ranks, model, "--lora", lora, "-t", threads, "--chunk", chunk, "--sequences",
                        sequences)
        e2e.compare(found, again, what)
    e2e.compare(found, answers(bench, 2, model, SLUICE_LORA=lora), "SLUICE_LORA")
    e2e.compare(plain, answers(bench, 2, model, "--lora", f"{one}=0,{two}=-0"), "a scale of 0")
    for other in [one, f"{one}=0.75", two, f"{one}=0.7,{two}"]:
        e2e.check(answers(bench, 0, model, "--lora", other) != found, f"{other} gives what {lora} does")
    gated = [["--kv", "q8_0"], ["--policy", "streaming", "--window", 24]]
    for more in gated[:1] if bench.args.light else gated:
        alone = answers(bench, 0, model, "--lora", lora, *more)
        e2e.compare(alone, answers(bench, 3, model, "--lora", lora, "--chunk", 50, *more), f"{more}")


def resumed(bench, model, one, two):
    """OUT belongs to the adapters' content and scales, not to their names."""
    bench.remove("out", "out.job")
    batch(bench, 0, model, "--lora", f"{one}=0.5")
    copy = bench.path("copy.gguf")
    shutil.copy(one, copy)
    batch(bench, 2, model, "--lora", f"{copy}=0.50")
    for other in [[], ["--lora", one], ["--lora", f"{two}=0.5"], ["--lora", f"{one}=0.5,{two}"]]:
        talk = batch(bench, 0, model, *other, code=2)
        e2e.check("its results are of --lora " in talk, f"resumed with {other}: {talk}")


def planned(bench, model, one):
    """f32 in memory, in the plan of a job and of `plan`."""
    hosts = bench.write("hosts", "a slots=1\nb slots=1\n")

    def bytes_of_ranks(*options):
        ran = e2e.good(bench, 0, "plan", "-m", model, "--hosts", hosts, "--json", *options)
        return [r["weights_bytes"] for r in json.loads(ran.stdout)["even"]["ranks"]]
    width, heads, kv, ffn, rank, layers = 96, 96, 32, 160, 4, 8
    adapter = 4 * rank * (width + heads + 2 * (width + kv) + heads + width + 3 * (width + ffn)) * layers // 2
    more = [b - a for a, b in zip(bytes_of_ranks(), bytes_of_ranks("--lora", one))]
    e2e.check(all(adapter <= n < adapter + 14 * 64 * layers for n in more), f"planned {more}, not {adapter}")
    ran = bench.run(0, "run", "-m", model, "-p", "a", "-n", 1, "--lora", one, "--memory", "4M")
    e2e.check(ran.returncode == 5 and b"does not fit" in ran.stderr, f"--memory 4M: {ran.stderr}")


def commands(bench, model, one):
    text = bench.write("text", e2e.words(9, 3000))
    seen = set()
    for more in [[], ["--lora", one], ["--lora", one + "=0.5"]]:
        ran = e2e.good(bench, 2, "eval", "perplexity", "-m", model, "--text", text, "--context", 128, "--json", *more)
        seen.add(json.loads(ran.stdout)["nll"])
    e2e.check(len(seen) == 3, f"perplexities: {seen}")
    ran = e2e.good(bench, 2, "bench", "-m", model, "-p", 64, "-n", 4, "-r", 1, "--lora", one, "--profile")
    e2e.check(b"lora" in ran.stdout, f"bench --profile has no step lora: {ran.stdout}")
    ran = e2e.good(bench, 0, "bench", "-m", model, "-p", 64, "-n", 4, "-r", 1, "--profile")
    e2e.check(b"lora" not in ran.stdout, f"a step lora without adapters: {ran.stdout}")


def refused(bench, model, one):
    other = bench.model("qwen3.gguf", seed=4, architecture="qwen3", layers=2)
    gate = bench.path("gate.gguf")
    e2e.good(bench, 0, "train", "init", "-m", model, "-o", gate)
    cut = bench.write("cut.gguf", e2e.bytes_of(one)[:-40000])
    equals = bench.path("a=b.gguf")
    shutil.copy(one, equals)
    for lora, model_path, code, said in [
            (bench.path("none.gguf"), model, 4, "No such file"), (model, model, 4, "is no LoRA adapter"),
            (gate, model, 4, "give it with -g"), (cut, model, 4, "cut.gguf"),
            (one, other, 4, "for the architecture 'llama'"), (f"{one},", model, 2, "an item is empty"),
            (f",{one}", model, 2, "an item is empty"), ("", model, 2, "an item is empty"),
            (f"{one}=", model, 2, "is no scale"), (f"{one}=1x", model, 2, "is no scale"),
            (f"{one}=nan", model, 2, "is no scale"), (equals, model, 2, "needs =1 behind it"),
            ("=2", model, 2, "no file before it"), (f"{one}=1e38", model, 2, "give a smaller scale")]:
        ran = bench.run(0, "run", "-m", model_path, "-p", "a", "-n", 1, "--lora", lora)
        talk = ran.stderr.decode(errors="replace")
        e2e.check(ran.returncode == code and said in talk, f"--lora {lora}: {ran.returncode}, {talk}")
    e2e.good(bench, 0, "run", "-m", model, "-p", "a", "-n", 1, "--lora", equals + "=1")
    ran = bench.run(0, "batch", "-m", model, "-i", bench.path("in.jsonl"), "-o", one, "--lora", f"{one}=2")
    e2e.check(ran.returncode == 2 and b"give another -o" in ran.stderr, f"OUT is the adapter: {ran.stderr}")
    words = ["run", "-m", model, "-p", "a", "-n", "1", "--lora"]
    line = bench.command(1, *words, one) + [":", "-n", "1", bench.args.sluice, *words, one + "=2"]
    ran = subprocess.run(line, env=e2e.environment(), capture_output=True, timeout=60)
    e2e.check(ran.returncode != 0 and b"other options, or another gate file or adapter" in ran.stderr,
              f"ranks with other scales: {ran.returncode}, {ran.stderr}")


def body(bench):
    model = bench.model("model.gguf", seed=11, layers=8, width=96, ffn=160, heads=3, kv_heads=1, head_dim=32,
                        context=1024)
    one = make_lora(bench, model, "one.gguf", 1, 4, 8, "f32", "all")
    two = make_lora(bench, model, "two.gguf", 2, 32, 16, "mixed", "attention")
    bench.job("in.jsonl", requests())
    same_bytes(bench, model, one, two)
    resumed(bench, model, one, two)
    planned(bench, model, one)
    commands(bench, model, one)
    refused(bench, model, one)


e2e.main("lora", body)
