"""Contract 3 for a whole run: what is planned is enough. A job of long prompts, long answers and many
log-probabilities ends within the plan, also when the system gives the data segment no byte more; the
peak that is reported is the kernel's own."""
import json
import os
import resource
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "mpi"))
import e2e  # noqa: E402

N_REQUESTS = 24


def requests():
    for i in range(N_REQUESTS):
        text = e2e.words(i, 700 + 40 * i)
        if i % 4 == 0:
            yield e2e.completion(f"score-{i}", text, max_tokens=0, echo=True, logprobs=5)
        elif i % 4 == 1:
            yield e2e.completion(f"many-{i}", text, max_tokens=20, n=3, temperature=1)
        else:
            yield e2e.chat(f"told-{i}", text, max_tokens=60, logprobs=True, top_logprobs=20)


def limit_data(n_bytes):
    """As `prlimit --data` would, for this process's children from now on."""
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (n_bytes, hard))


def batch(bench, model, ranks, *more):
    bench.remove("out", "out.job")
    ran = bench.run(ranks, "batch", "-m", model, "-i", bench.path("in.jsonl"), "-o",
                    bench.path("out"), "-t", 2, "--sequences", 4, "--json", *more)
    talk = ran.stderr.decode(errors="replace")
    e2e.check(ran.returncode == 0, f"ranks {ranks} {more}: exit code {ran.returncode}\n{talk}")
    return json.loads(ran.stdout)["ranks"], e2e.records(bench.path("out"))


def body(bench):
    model = bench.model("model.gguf", seed=9, layers=4, width=256, ffn=704, heads=8, kv_heads=2,
                        head_dim=32, context=4096)
    bench.job("in.jsonl", requests())
    weights = os.path.getsize(model)
    limits = resource.getrlimit(resource.RLIMIT_DATA)
    reference = None
    for ranks in (0, 3):
        plans, found = batch(bench, model, ranks, "--memory", "400M")
        reference = reference or found
        e2e.compare(reference, found, f"ranks {ranks}")
        for i, rank in enumerate(plans):
            e2e.check(rank["planned_bytes"] <= 400 << 20, f"rank {i}: planned {rank}")
            e2e.check(rank["peak_bytes"] <= rank["planned_bytes"], f"rank {i}: {rank}")
        # the largest plan, less the weights, which are mapped; every rank gets the same limit
        limit = max(rank["planned_bytes"] for rank in plans) - (0 if ranks else weights)
        limit_data(limit)
        tight, found = batch(bench, model, ranks, "--memory", "400M")
        resource.setrlimit(resource.RLIMIT_DATA, limits)
        e2e.compare(reference, found, f"ranks {ranks}, data limited to {limit}")
        print(f"ranks {ranks}: planned {[r['planned_bytes'] >> 20 for r in plans]} MB, peaks "
              f"{[r['peak_bytes'] >> 20 for r in tight]} MB under a limit of {limit >> 20} MB")

    # The kernel's word, of a process that is larger than the one it was forked from.
    large = bench.model("large.gguf", seed=9, type="f16", layers=6, width=768, ffn=2112, heads=12,
                        kv_heads=4, head_dim=64)
    command = bench.command(0, "run", "-m", large, "-p", "x", "-n", 4, "--json", "-t", 1)
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    child = os.posix_spawn("/bin/sh", ["sh", "-c", 'exec "$@" >"$0"', bench.path("run.json"),
                                       *command], e2e.environment())
    _, status, usage = os.wait4(child, 0)
    e2e.check(status == 0, f"run ended with {status}")
    with open(bench.path("run.json")) as file:
        peak = json.load(file)["report"]["ranks"][0]["peak_bytes"]
    print(f"peak {peak / 1e6:.1f} MB, by the kernel {usage.ru_maxrss * 1024 / 1e6:.1f}")
    e2e.check(usage.ru_maxrss > own, "the child is smaller than this script")
    e2e.check(abs(peak / (usage.ru_maxrss * 1024) - 1) < 0.05,
              f"peak {peak}, the kernel says {usage.ru_maxrss * 1024}")


e2e.main("memory", body)
