"""Contract 1: the records of a job do not depend on how it was computed. One batch of all kinds of
requests, one reference, and every combination of ranks, threads and chunk; then codec, sequences
at a time, a cache of q8_0, one too small for the job, and the reference kernels against
themselves."""
import itertools
import json
import re

import e2e

SEED = 20240
SEQUENCES = 8


def requests():
    """24 lines of IN; three are bad."""
    ids = [3 + (i * i) % 500 for i in range(90)]
    sampled = {"temperature": 0.9, "top_p": 0.9, "seed": 7}
    jobs = [
        e2e.completion("greedy", e2e.words(1, 40), temperature=0, max_tokens=20),
        e2e.completion("long", e2e.words(2, 700), temperature=0, max_tokens=12),
        e2e.completion("longer", e2e.words(3, 560), temperature=1, seed=3, max_tokens=40),
        e2e.completion("one", "a", temperature=0, max_tokens=1, truncate_prompt_tokens=1),
        e2e.completion("chunk", ids[:64] * 4, temperature=0, max_tokens=5, ignore_eos=True),
        e2e.completion("chunk+1", ids[:64] * 4 + [9], temperature=0, max_tokens=5),
        e2e.completion("ids", ids, temperature=0.7, seed=11, max_tokens=60, ignore_eos=True),
        e2e.completion("nucleus", e2e.words(4, 130), max_tokens=30, **sampled),
        e2e.completion("top_k", e2e.words(5, 77), max_tokens=33, top_k=5, seed=1, min_tokens=20,
                       stop_token_ids=[3 + 4 * i for i in range(64)], stop="e"),
        e2e.completion("min_p", e2e.words(6, 200), max_tokens=25, min_p=0.05, seed=2),
        e2e.completion("penalties", e2e.words(7, 90), max_tokens=50, presence_penalty=0.5,
                       frequency_penalty=0.7, repetition_penalty=1.2, **sampled),
        e2e.completion("bias", e2e.words(8, 60), temperature=0, max_tokens=24,
                       logit_bias={"17": 5, "42": -100, "300": 2.5}, ignore_eos=True),
        e2e.completion("three", e2e.words(9, 300), max_tokens=20, n=3, seed=5),
        e2e.completion("three-logprobs", e2e.words(10, 64), max_tokens=9, n=3, seed=6,
                       logprobs=3),
        e2e.completion("echo", e2e.words(11, 350), max_tokens=8, echo=True, logprobs=5,
                       temperature=0),
        e2e.completion("scored", e2e.words(12, 500), max_tokens=0, echo=True, logprobs=2),
        e2e.completion("logprobs", [e2e.words(13, 25), "a", e2e.words(18, 90)], n=2, max_tokens=15, logprobs=4, **sampled),
        e2e.completion("stops", e2e.words(14, 110), max_tokens=60, temperature=1, seed=9,
                       stop=["e", "th", " a"]),
        e2e.chat("chat", e2e.words(15, 80), temperature=0, max_tokens=28),
        e2e.chat("chat-two", e2e.words(16, 150), n=2, seed=4, max_tokens=18, logprobs=True,
                 top_logprobs=3, stop="o"),
        e2e.chat("chat-long", e2e.words(17, 640), max_completion_tokens=48, ignore_eos=True,
                 **sampled),
        '{"custom_id": "torn", "method": "POST", "url"',
        e2e.completion("bad-top_p", "x", top_p=7),
        {"custom_id": "bad-url", "method": "GET", "url": "/v1/embeddings", "body": {}},
    ]
    assert len(jobs) == 24
    return jobs


class Runner:
    def __init__(self, bench, model, source):
        self.bench, self.model, self.source = bench, model, source

    def run(self, what, ranks, *options, **env):
        """One run: (records, what was said, the report). Three bad lines make exit code 3."""
        self.bench.remove("out", "out.job")
        out = self.bench.path("out")
        run = self.bench.run(ranks, "batch", "-m", self.model, "-i", self.source, "-o", out,
                             "--json", *options, **env)
        talk = run.stderr.decode(errors="replace")
        found = e2e.records(out) if run.returncode in (0, 3) else {}
        bad = sum(b'"error":null' not in line for line in found.values())
        e2e.check(run.returncode == (3 if bad else 0),
                  f"{what}: exit code {run.returncode}\n{talk}")
        return found, talk, json.loads(run.stdout)


def every_combination(bench, runner, reference):
    ranks, threads, chunks = [1, 2, 3, 5, 7], [1, 2], [64, 256, 1000]
    grid = list(itertools.product(ranks, threads, chunks))
    if bench.args.light:
        grid = [(1, 2, 64), (2, 1, 1000), (3, 2, 256), (7, 1, 64)]
    for n, t, chunk in grid:
        what = f"{n} ranks, {t} threads, chunk {chunk}"
        found, _, _ = runner.run(what, 0 if n == 1 else n, "-t", t, "--chunk", chunk,
                                 "--sequences", SEQUENCES)
        e2e.compare(reference, found, what)
    return len(grid)


def other_ways(runner, reference):
    ways = [(3, "--codec", "f32-zstd", "--sequences", SEQUENCES),
            (2, "--sequences", 3),  # the least that n of 3 can have
            (2, "--sequences", 24),
            (1, "--sequences", SEQUENCES, "--chunk", 33)]  # mpirun -n 1
    for ranks, *options in ways:
        what = f"{ranks} ranks, {' '.join(map(str, options))}"
        found, _, _ = runner.run(what, ranks, *options)
        e2e.compare(reference, found, what)
    return len(ways)


def every_kernel_set(bench, runner):
    """Another set may round otherwise, but not from run to run. One this CPU lacks is refused."""
    n = 0
    for kernels in ["ref"] if bench.args.light else ["ref", "avx2", "avx512", "amx-emulated", "amx"]:
        probe = bench.run(0, "run", "-m", runner.model, "-p", "x", "-n", 1, SLUICE_KERNELS=kernels)
        if probe.returncode != 0:
            e2e.check(b"no such kernel set" in probe.stderr, f"{kernels}: {probe.stderr}")
            print(f"kernels {kernels}: not on this CPU", flush=True)
            continue
        first, _, _ = runner.run(f"{kernels} kernels", 0, "--sequences", SEQUENCES,
                                 SLUICE_KERNELS=kernels)
        for ranks, chunk, codec in [(3, 100, "f32"), (2, 256, "f32-zstd")]:
            what = f"{kernels} kernels, {ranks} ranks, chunk {chunk}, {codec}"
            found, _, _ = runner.run(what, ranks, "-t", 1, "--chunk", chunk, "--codec", codec,
                                     "--sequences", SEQUENCES, SLUICE_KERNELS=kernels)
            e2e.compare(first, found, what)
        n += 3
    return n


def lossy_codecs(bench, runner, reference):
    """What is lost depends on the links, so on the ranks, and on nothing else."""
    codecs = ["int8-zstd"] if bench.args.light else ["bf16", "bf16-zstd", "int8", "int8-zstd"]
    lossy = {}
    for codec in codecs:
        kind = codec.split("-")[0]
        for chunk, threads in [(64, 1), (1000, 2)]:
            what = f"3 ranks, {codec}, chunk {chunk}"
            found, _, _ = runner.run(what, 3, "-t", threads, "--chunk", chunk, "--codec", codec,
                                     "--sequences", SEQUENCES)
            e2e.compare(lossy.setdefault(kind, found), found, what)
    for kind, found in lossy.items():
        e2e.check(found != reference, f"{kind}: nothing was lost, so it was not used")
    return 2 * len(codecs)


def q8_cache(bench, source):
    """What rounding the cache loses depends on nothing but the tokens."""
    model = bench.model("q8.gguf", seed=SEED + 2, layers=8, width=96, ffn=160, head_dim=32,
                        context=1024)
    runner = Runner(bench, model, source)
    options = ["--sequences", SEQUENCES, "--kv"]
    plain, _, _ = runner.run("f16 cache", 0, *options, "f16")
    reference, _, _ = runner.run("q8_0 cache", 0, "-t", 2, *options, "q8_0")
    e2e.check(plain != reference, "q8_0: nothing was lost, so it was not used")
    grid = [(1, 1, 64, "f32"), (2, 1, 1000, "f32-zstd"), (3, 2, 256, "f32"), (7, 1, 33, "f32")]
    if bench.args.light:
        grid = grid[1:3]
    for ranks, threads, chunk, codec in grid:
        what = f"q8_0 cache, {ranks} ranks, {threads} threads, chunk {chunk}, {codec}"
        found, _, _ = runner.run(what, ranks, "-t", threads, "--chunk", chunk, "--codec", codec,
                                 *options, "q8_0")
        e2e.compare(reference, found, what)
    return len(grid)


# ---- policies ----

def gates(bench, runner):
    """Gate files of every span, and two that keep all and nothing."""
    made = {}
    for name, options in [("window", ["--span", "window:20,9"]),
                          ("causal", ["--span", "causal", "--own-kv", "--gate-hidden", 8]),
                          ("prompt", ["--span", "prompt", "--type", "f16"]),
                          ("all", ["--fill", "constant", "--bias", 1]),
                          ("none", ["--fill", "constant", "--bias", -1])]:
        made[name] = bench.path(f"gate-{name}.gguf")
        run = bench.run(0, "train", "init", "-m", runner.model, "-o", made[name], *options)
        e2e.check(run.returncode == 0, f"train init {name}: {run.stderr}")
    return made


def without_cache_bytes(found):
    """Records but for the cache's bytes: a gate has state of its own."""
    return {id: re.sub(rb'"cache_bytes":\d+', b'"cache_bytes":0', line) for id, line in found.items()}


def policies(bench, runner):
    """Who is evicted depends on nothing but the request: not on ranks, chunk, mix, threads, kernels of
    the same set, nor on restarts."""
    gate = gates(bench, runner)
    small = ["--sinks", 4, "--window", 24]
    ways = [["--policy", "random", "--keep", 0.3, *small], ["--policy", "streaming", *small],
            ["--policy", "keynorm", "--keep", 0.5, *small],
            ["--policy", "keydiff", "--keep", 0.25, *small],
            ["-g", gate["window"], "--keep", 0.25, *small],
            ["-g", gate["causal"], *small], ["-g", gate["prompt"]],
            ["--policy", "snapkv", "--keep", 0.25, *small],
            ["--policy", "h2o", "--keep", 0.5, *small]]
    shapes = [(2, 1, 64, 8), (3, 2, 100, 24), (5, 1, 256, 3), (7, 1, 33, 8)]
    if bench.args.light:
        ways, shapes = [ways[0], ways[4], ways[6]], shapes[1:2]
    n = 0
    for options in ways:
        what = " ".join(map(str, options))
        first, _, report = runner.run(what, 0, "--sequences", SEQUENCES, *options)
        keep = report["retention_mean"]
        e2e.check(keep == 0 if "streaming" in what else 0 < keep < 0.95, f"{what}: kept {keep}")
        for ranks, threads, chunk, sequences in shapes:
            found, _, _ = runner.run(what, ranks, "-t", threads, "--chunk", chunk, "--sequences",
                                     sequences, *options)
            e2e.compare(first, found, f"{what}, {ranks} ranks, chunk {chunk}")
            n += 1
    for name, policy in [("all", "full"), ("none", "streaming")]:
        plain, _, _ = runner.run(policy, 0, "--policy", policy, *small)
        gated, _, _ = runner.run(f"gate {name}", 2, "-g", gate[name], *small)
        e2e.compare(without_cache_bytes(plain), without_cache_bytes(gated), f"gate {name}")
        n += 1
    return n


# ---- too small a cache ----

def long_requests():
    """More tokens than the driver expects of an answer (512), so that pages run out."""
    jobs = [e2e.completion(f"long-{i}", e2e.words(30 + i, 60 + 25 * i), seed=i, ignore_eos=True,
                           max_tokens=700 + 20 * i, n=2 if i == 3 else 1) for i in range(7)]
    return jobs + [e2e.completion("long-greedy", e2e.words(40, 90), temperature=0,
                                  ignore_eos=True, max_tokens=800, logprobs=1)]


def memory_for(report, talk, head_pages, head_pages_planned):
    """--memory that leaves head_pages to each head of the rank that has least room."""
    page_bytes = 64 * 64 * 2 * 2 + 8  # tokens, head dimension, K and V, f16; and its bookkeeping
    layers = [int(end) - int(begin) + 1
              for begin, end in re.findall(r"^sluice: +\d+ +(\d+)-(\d+) ", talk, re.M)]
    e2e.check(len(layers) == len(report["ranks"]), f"no table of ranks in:\n{talk}")
    missing = head_pages_planned - head_pages
    return max(rank["planned_bytes"] - missing * n * 2 * page_bytes
               for rank, n in zip(report["ranks"], layers))


def small_cache(bench):
    model = bench.model("wide.gguf", seed=SEED + 1, layers=4, width=96, ffn=160, heads=2,
                        kv_heads=2, head_dim=64, context=1280)
    runner = Runner(bench, model, bench.job("long.jsonl", long_requests()))
    options = ["-t", 1, "--sequences", 6, "--window", 64, "--sinks", 4]
    reference, talk, report = runner.run("enough cache", 0, *options)
    e2e.check("restarts" not in talk, f"restarts with enough cache:\n{talk}")
    n = 0
    for ranks in [1, 3] if bench.args.light else [1, 2, 3]:
        what = f"a small cache, {ranks} ranks"
        if ranks > 1:
            _, talk, report = runner.run(f"enough cache, {ranks} ranks", ranks, *options)
        planned = 6 * -(-(1280 - 64 - 4) // 64)
        restarts = 0
        too_few, too_many = 8, 64  # head pages; what a rank has in use differs from run to run
        while restarts == 0 and too_many - too_few > 1:
            head_pages = (too_few + too_many) // 2
            memory = memory_for(report, talk, head_pages, planned)
            found, said, _ = runner.run(what, 0 if ranks == 1 else ranks, *options, "--memory",
                                        memory)
            filled = {id for id, line in found.items() if b'"code":"out_of_memory"' in line}
            e2e.compare({id: line for id, line in reference.items() if id not in filled},
                        {id: line for id, line in found.items() if id not in filled}, what)
            n += 1
            match = re.search(r"(\d+) restarts", said)
            restarts = 0 if filled or not match else int(match.group(1))
            print(f"{what}: --memory {memory}, {restarts} restarts, {len(filled)} could not finish "
                  "alone", flush=True)
            too_few, too_many = (head_pages, too_many) if filled else (too_few, head_pages)
        e2e.check(restarts > 0, f"{what}: no --memory made a restart:\n{said}")
    return n


def body(bench):
    print(f"model seed {SEED}")
    model = bench.model("model.gguf", seed=SEED, layers=8, width=96, ffn=160, head_dim=32,
                        context=1024)
    runner = Runner(bench, model, bench.job("in.jsonl", requests()))
    reference, _, report = runner.run("reference", 0, "-t", 2, "--sequences", SEQUENCES)
    e2e.check(len(reference) == 24 and report["failed"] == 3 and report["requests"] == 24,
              f"reference: {report}")
    choices = json.loads(reference["logprobs"])["response"]["body"]["choices"]
    e2e.check([c["index"] for c in choices] == list(range(6)), f"three prompts, n 2: {choices}")
    generated = report["generated_tokens"]
    e2e.check(generated > 300, f"only {generated} tokens to compare")
    n = every_combination(bench, runner, reference)
    n += other_ways(runner, reference)
    n += every_kernel_set(bench, runner)
    n += lossy_codecs(bench, runner, reference)
    n += q8_cache(bench, runner.source)
    n += policies(bench, runner)
    n += small_cache(bench)
    print(f"{n} runs of equal bytes ({generated} tokens of 21 good requests each)")


e2e.main("same bytes", body)
