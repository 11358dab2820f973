"""Contract 3 for the files of a job: 200,000 requests that all end as error records take the memory
of their ids and no more. OUT is on a memory disk where there is one: records are synced, and disks
differ."""
import json
import os
import shutil
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "mpi"))
import e2e  # noqa: E402

MEMORY_DISK = "/dev/shm"
BYTES_A_LINE = 216  # what a job plans: 24 of an id in two maps that may be three eighths full, one
# growing (of IN and OUT; of the journal), and 8 of its line's hash in a list that doubles
BYTES_BESIDE = 4 << 20


def make_job(bench, n_lines):
    with open(bench.path("in.jsonl"), "w") as file:
        for i in range(n_lines):
            file.write(f'{{"custom_id": "request-{i}", "method": "POST", "url": "/v1/unknown", '
                       f'"body": {{"prompt": "never read"}}}}\n')
    return bench.path("in.jsonl")


def run(bench, model, n_lines, folder):
    """Peak bytes of this many lines into a fresh OUT, then of finding them all done."""
    source, out = make_job(bench, n_lines), os.path.join(folder, "out")
    peaks = []
    for expected in (n_lines, 0):
        began = time.monotonic()
        ran = bench.run(0, "batch", "-m", model, "-i", source, "-o", out, "-t", 1, "--json",
                        seconds=600,
                        ASAN_OPTIONS=os.environ.get("ASAN_OPTIONS", "") + ":quarantine_size_mb=1")
        talk = ran.stderr.decode(errors="replace")
        e2e.check(ran.returncode in ((3,) if expected else (0, 3)),
                  f"{n_lines} lines: exit code {ran.returncode}\n{talk}")
        report = json.loads(ran.stdout)
        e2e.check(report["requests"] == expected, f"{n_lines} lines, {expected} to do: {report}")
        peaks.append(report["ranks"][0]["peak_bytes"])
        print(f"{n_lines} lines, {expected} to do: {time.monotonic() - began:.1f} s, peak "
              f"{peaks[-1] / 1e6:.1f} MB", flush=True)
    e2e.check(len(e2e.records(out)) == n_lines, f"{n_lines} lines: records are missing")
    for name in ("out", "out.job"):
        os.unlink(os.path.join(folder, name))
    return peaks


def body(bench):
    model = bench.model("model.gguf", seed=5, layers=1, width=96, ffn=160, context=256)
    on_memory = os.path.isdir(MEMORY_DISK) and os.access(MEMORY_DISK, os.W_OK)
    folder = tempfile.mkdtemp(prefix="sluice_e2e_", dir=MEMORY_DISK if on_memory else None)
    many = 200000 if on_memory and not bench.args.light else 20000
    try:
        few = run(bench, model, 1000, folder)
        for was, now, what in zip(few, run(bench, model, many, folder), ("answering", "skipping")):
            bound = many * BYTES_A_LINE + BYTES_BESIDE
            e2e.check(now - was < bound, f"{what} {many} lines took {(now - was) / 1e6:.1f} MB "
                                         f"more than 1000 lines; expected below {bound / 1e6:.1f}")
    finally:
        shutil.rmtree(folder)


e2e.main("many lines", body)
