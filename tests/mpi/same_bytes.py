"""Contract 1: the records of a job do not depend on how it was computed. One batch of all kinds of
requests, one reference for each policy and type of cache, and runs in which every two values of
policy, ranks, threads, chunk, codec and sequences at a time meet; then codecs that lose something,
other kernels against themselves, and a cache too small for the job."""
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


# Policies and types of cache, each with a reference of its own: what they evict or round depends on
# nothing but the tokens. Of light runs, those whose code differs most.
SMALL = ["--sinks", 4, "--window", 24]
LIGHT_WAYS = ["full", "q8_0", "random", "gate window", "gate prompt"]


def gates(bench, model):
    """Gate files of every span, and two that keep all and nothing."""
    made = {}
    for name, options in [("window", ["--span", "window:20,9"]),
                          ("causal", ["--span", "causal", "--own-kv", "--gate-hidden", 8]),
                          ("prompt", ["--span", "prompt", "--type", "f16"]),
                          ("all", ["--fill", "constant", "--bias", 1]),
                          ("none", ["--fill", "constant", "--bias", -1])]:
        made[name] = bench.path(f"gate-{name}.gguf")
        run = bench.run(0, "train", "init", "-m", model, "-o", made[name], *options)
        e2e.check(run.returncode == 0, f"train init {name}: {run.stderr}")
    return made


def all_ways(gate):
    return {"full": [],
            "q8_0": ["--kv", "q8_0"],
            "random": ["--policy", "random", "--keep", 0.3, *SMALL],
            "streaming": ["--policy", "streaming", *SMALL],
            "keynorm": ["--policy", "keynorm", "--keep", 0.5, *SMALL],
            "keydiff": ["--policy", "keydiff", "--keep", 0.25, *SMALL],
            "snapkv": ["--policy", "snapkv", "--keep", 0.25, *SMALL],
            "h2o": ["--policy", "h2o", "--keep", 0.5, *SMALL],
            "gate window": ["-g", gate["window"], "--keep", 0.25, *SMALL],
            "gate causal": ["-g", gate["causal"], *SMALL],
            "gate prompt": ["-g", gate["prompt"]]}


def rows_of(light, ways):
    """What is run: every two values meet; of light runs, every two but for the way, of which each has
    a row. One rank has no links, so no codec."""
    if light:
        rows = e2e.covering(ranks=[2, 3, 7], threads=[1, 2], chunk=[64, 1000],
                            codec=["f32", "f32-zstd"], sequences=[3, 24])
        assert len(rows) >= len(LIGHT_WAYS)
        return [{"way": way, **row} for way, row in zip(itertools.cycle(LIGHT_WAYS), rows)]
    alone = [(0, 1, 64, 3), (0, 2, 1000, 24), (1, 1, 33, SEQUENCES)]
    return [{"way": "full", "ranks": ranks, "threads": threads, "chunk": chunk, "codec": "f32",
             "sequences": sequences} for ranks, threads, chunk, sequences in alone] + \
        e2e.covering(way=list(ways), ranks=[2, 3, 5, 7], threads=[1, 2], chunk=[33, 64, 256, 1000],
                     codec=["f32", "f32-zstd"], sequences=[3, SEQUENCES, 24])


def reference_of(runner, way, options, full):
    """One rank's records. Each way is seen to do what it is for."""
    found, _, report = runner.run(way, 0, "--sequences", SEQUENCES, *options)
    keep = report["retention_mean"]
    if way == "q8_0":
        e2e.check(found != full, "q8_0: nothing was lost, so it was not used")
    elif way == "streaming":
        e2e.check(keep == 0, f"{way}: kept {keep}")
    else:
        e2e.check(0 < keep < 0.95, f"{way}: kept {keep}")
    return found


def every_pair(bench, runner, reference, ways):
    """Every two of: policy or type of cache, ranks, threads, chunk, codec, sequences at a time."""
    references = {"full": reference}
    rows = rows_of(bench.args.light, ways)
    for row in rows:
        way = row["way"]
        if way not in references:
            references[way] = reference_of(runner, way, ways[way], reference)
        what = ", ".join(f"{name} {value}" for name, value in row.items())
        found, _, _ = runner.run(what, row["ranks"], "-t", row["threads"], "--chunk", row["chunk"],
                                 "--codec", row["codec"], "--sequences", row["sequences"], *ways[way])
        e2e.compare(references[way], found, what)
    return len(rows)


def own_kernels(bench, model):
    rows = json.loads(bench.run(0, "bench", "-m", model, "-p", 1, "-n", 0, "-r", 1, "--json").stdout)
    return rows["rows"][0]["kernels"]


def every_kernel_set(bench, runner):
    """Another set may round otherwise, but not from run to run. One this CPU lacks is refused; the one
    it takes by itself is what all other runs are of."""
    n, own = 0, own_kernels(bench, runner.model)
    for kernels in ["ref"] if bench.args.light else ["ref", "avx2", "avx512", "amx-emulated", "amx"]:
        if kernels == own:
            continue
        probe = bench.run(0, "run", "-m", runner.model, "-p", "x", "-n", 1, SLUICE_KERNELS=kernels)
        if probe.returncode != 0:
            e2e.check(b"no such kernel set" in probe.stderr, f"{kernels}: {probe.stderr}")
            print(f"kernels {kernels}: not on this CPU", flush=True)
            continue
        first, _, _ = runner.run(f"{kernels} kernels", 0, "--sequences", SEQUENCES,
                                 SLUICE_KERNELS=kernels)
        what = f"{kernels} kernels, 3 ranks, chunk 100, f32-zstd"
        found, _, _ = runner.run(what, 3, "-t", 1, "--chunk", 100, "--codec", "f32-zstd", "--sequences",
                                 24, SLUICE_KERNELS=kernels)
        e2e.compare(first, found, what)
        n += 2
    return n


def lossy_codecs(bench, runner, reference):
    """What is lost depends on the links, so on the ranks, and on nothing else: zstd loses nothing more."""
    kinds = ["int8"] if bench.args.light else ["bf16", "int8"]
    for kind in kinds:
        lossy = None
        for codec, chunk, threads in [(kind, 64, 1), (kind + "-zstd", 1000, 2)]:
            what = f"3 ranks, {codec}, chunk {chunk}"
            found, _, _ = runner.run(what, 3, "-t", threads, "--chunk", chunk, "--codec", codec,
                                     "--sequences", SEQUENCES)
            lossy = lossy or found
            e2e.compare(lossy, found, what)
        e2e.check(lossy != reference, f"{kind}: nothing was lost, so it was not used")
    return 2 * len(kinds)


# Architectures, each with other types of attention, FFN, embedding and head: all that there are but f32.
MODELS = [("llama", ("q5_1", "q4_0", "bf16"), {}), ("qwen2", ("q4_k", "q6_k", "q5_k"), {}),
          ("qwen3", ("q3_k", "q2_k", "iq4_xs"), {}), ("smollm3", ("iq4_nl", "mxfp4", "q5_0"), {}),
          ("gemma3", ("f16", "q4_1", "q8_0"), {"window": 40, "window_pattern": 3})]


def every_model(bench):
    """Each on one rank and on 2, 3 and 5, so that layers that are unlike others (SmolLM3's without rope,
    Gemma's without a window) are alone on a rank and beside others; 3,000 tokens and two shorter
    requests; light runs only Gemma, which has most steps. 256 inputs share scales of some types, 16 of others."""
    models, n = (MODELS[-1:], 600) if bench.args.light else (MODELS, 3000)
    text = [8 + (i * i * 7 + i // 5) % 500 for i in range(n)]
    jobs = requests()[:2] + [e2e.completion("all", text, max_tokens=4, echo=True, logprobs=1, temperature=0)]
    source, many = bench.job("few.jsonl", jobs), [3] if bench.args.light else [2, 3, 5]
    for name, mix, more in models:
        model = bench.model(f"{name}.gguf", seed=SEED, architecture=name, layers=5, width=256, ffn=256,
                            heads=4, head_dim=64, context=4096, attention_type=mix[0], ffn_type=mix[1],
                            head=mix[2], **more)
        runner = Runner(bench, model, source)
        found, _, _ = runner.run(name, 0, "-t", 2)
        for ranks in many:
            what = f"{name} of {', '.join(mix)}, {ranks} ranks"
            again, _, _ = runner.run(what, ranks, "-t", 1, "--chunk", 70 * ranks, "--sequences", 2)
            e2e.compare(found, again, what)
    return len(models) * (1 + len(many))


def without_cache_bytes(found):
    """Records but for the cache's bytes: a gate has state of its own."""
    return {id: re.sub(rb'"cache_bytes":\d+', b'"cache_bytes":0', line) for id, line in found.items()}


def constant_gates(runner, gate):
    """A gate that keeps all is the full cache, and one that keeps nothing is streaming."""
    for name, policy in [("all", "full"), ("none", "streaming")]:
        plain, _, _ = runner.run(policy, 0, "--policy", policy, *SMALL)
        gated, _, _ = runner.run(f"gate {name}", 2, "-g", gate[name], *SMALL)
        e2e.compare(without_cache_bytes(plain), without_cache_bytes(gated), f"gate {name}")
    return 2


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
    for ranks in [1, 3]:
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
    gate = gates(bench, model)
    n = every_pair(bench, runner, reference, all_ways(gate))
    n += constant_gates(runner, gate)
    n += lossy_codecs(bench, runner, reference)
    n += every_kernel_set(bench, runner)
    n += every_model(bench)
    n += small_cache(bench)
    print(f"{n} runs of equal bytes ({generated} tokens of 21 good requests each)")


e2e.main("same bytes", body)
