"""`sluice batch` and its files: what OUT may be, what is done again and what never, exit codes 0, 3
and the refusals."""
import json
import os
import shutil
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "mpi"))
import e2e  # noqa: E402


class Jobs:
    """Batches alone (ranks 0) or on ranks, all into one OUT."""

    def __init__(self, bench, ranks):
        self.bench, self.ranks = bench, ranks
        self.model = bench.path("model.gguf")
        self.out = bench.path("out")

    def fresh(self):
        self.bench.remove("out", "out.job")

    def batch(self, codes, source, *options, model=None):
        """Expect one of these exit codes; (talk, report or None)."""
        ran = self.bench.run(self.ranks, "batch", "-m", model or self.model, "-i", source, "-o",
                             self.out, "--json", *options)
        talk = ran.stderr.decode(errors="replace")
        self.what = f"ranks {self.ranks}: batch -i {os.path.basename(source)} {options}"
        e2e.check(ran.returncode in codes,
                  f"{self.what}: exit code {ran.returncode}, not of {codes}\n{talk}")
        e2e.check(ran.returncode in (0, 3) or not ran.stdout, f"{self.what}: {ran.stdout!r}")
        return talk, json.loads(ran.stdout) if ran.stdout else None

    def refuse(self, code, said, source, *options, **more):
        """It says why, and nothing of OUT changes."""
        before = self.bytes()
        talk, _ = self.batch([code], source, *options, **more)
        e2e.check(said in talk, f"{self.what}: '{said}' is not said:\n{talk}")
        e2e.check(self.bytes() == before, f"{self.what}: was refused, yet changed OUT")

    def resume(self, source, *options):
        """Nothing is left to do, and OUT stays as it is."""
        before = self.bytes()
        talk, report = self.batch([0], source, *options)
        e2e.check(report["requests"] == 0 and self.bytes() == before, f"{self.what}: {report}")
        return talk

    def bytes(self):
        try:
            with open(self.out, "rb") as file:
                return file.read()
        except FileNotFoundError:
            return b""


def good(n):
    return [e2e.completion(f"good-{i}", e2e.words(i, 40 + i), max_tokens=6, seed=i)
            for i in range(n)]


def bad():
    return [e2e.completion("bad-n", "x", n=0),
            e2e.completion("bad-prompt", {"no": "text"}),
            e2e.completion("bad-length", e2e.words(1, 9000), max_tokens=5),
            e2e.chat("bad-stream", "x", stream=True),
            "not even JSON"]


def is_failed(line):
    return json.loads(line)["error"] is not None


def test_all_good(jobs):
    jobs.fresh()
    source = jobs.bench.job("good.jsonl", good(4))
    talk, report = jobs.batch([0], source)
    e2e.check(report["requests"] == 4 and report["failed"] == 0, f"{jobs.what}: {report}")
    e2e.check(talk.count("4 requests (0 failed)") == 1, f"{jobs.what}: said\n{talk}")
    first = jobs.bytes()
    _, report = jobs.batch([0], source)
    e2e.check(report["requests"] == 0 and jobs.bytes() == first,
              f"{jobs.what}: was complete, yet {report}")
    jobs.refuse(4, "missing.jsonl", jobs.bench.path("missing.jsonl"))


def test_some_bad(jobs):
    jobs.fresh()
    source = jobs.bench.job("mixed.jsonl", good(3) + bad())
    _, report = jobs.batch([3], source)
    e2e.check(report["requests"] == 8 and report["failed"] == 5, f"{jobs.what}: {report}")
    found = e2e.records(jobs.out)
    e2e.check(sorted(found) == ["bad-length", "bad-n", "bad-prompt", "bad-stream", "good-0",
                                "good-1", "good-2", "line-8 (no custom_id)"], f"{jobs.what}: {sorted(found)}")
    for name, line in found.items():
        status = json.loads(line)["response"]["status_code"]
        e2e.check(is_failed(line) != name.startswith("good") and
                  status == (400 if is_failed(line) else 200), f"{jobs.what}: {line.decode()}")
    first = jobs.bytes()
    jobs.batch([3], source)  # its errors are still there
    e2e.check(jobs.bytes() == first, f"{jobs.what}: was complete, yet OUT changed")


def test_retry_errors(jobs):
    """OUT as test_some_bad left it. IN is mended in two lines; the ids stay."""
    before = e2e.records(jobs.out)
    mended = good(3) + [e2e.completion("bad-n", "x", n=1, max_tokens=3),
                        e2e.completion("bad-prompt", "text", max_tokens=3), *bad()[2:]]
    source = jobs.bench.job("mixed.jsonl", mended)
    _, report = jobs.batch([3], source, "--retry-errors")
    e2e.check(report["requests"] == 5 and report["failed"] == 3, f"{jobs.what}: {report}")
    after = e2e.records(jobs.out)  # refuses an id that is there twice
    e2e.check(set(after) == set(before), f"{jobs.what}: ids {sorted(after)}")
    failed = sorted(name for name, line in after.items() if is_failed(line))
    e2e.check(failed == ["bad-length", "bad-stream", "line-8 (no custom_id)"], f"{jobs.what}: failed {failed}")
    e2e.compare({n: l for n, l in before.items() if n.startswith("good")},
                {n: l for n, l in after.items() if n.startswith("good")}, jobs.what)
    jobs.batch([3], source, "--retry-errors")
    e2e.compare(after, e2e.records(jobs.out), f"{jobs.what}, twice")


def test_another_job(jobs):
    """OUT of one job is not written by another."""
    jobs.fresh()
    source = jobs.bench.job("good.jsonl", good(2))
    jobs.batch([0], source)
    jobs.refuse(2, "--window 128, this is --window 64", source, "--window", 64)
    jobs.refuse(2, "--sinks 4, this is --sinks 8", source, "--sinks", 8)
    jobs.refuse(2, "/q8_0 (kernel set, type of cache)", source, "--kv", "q8_0")
    jobs.refuse(2, "--context 1024, this is --context 512", source, "--context", 512)
    jobs.refuse(2, "model", source, model=jobs.bench.path("other.gguf"))
    jobs.batch([0], source, "--chunk", 100, "-t", 1, "--codec", "f32-zstd", "--sequences", 3)

    shutil.move(jobs.out + ".job", jobs.out + ".away")
    jobs.refuse(4, "is missing", source)
    shutil.copy(source, jobs.out + ".job")
    jobs.refuse(4, "out.job", source)
    shutil.move(jobs.out + ".away", jobs.out + ".job")
    jobs.batch([0], source)

    jobs.fresh()
    jobs.bench.write("out", "somebody's notes\nof years\n")
    jobs.refuse(4, "out.job is missing", source)  # not ours, so not even read
    jobs.fresh()
    jobs.batch([0], source)
    with open(jobs.out, "a") as file:
        file.write("somebody's note\n")
    jobs.refuse(4, "is no result record", source)


def test_duplicate_ids(jobs):
    jobs.fresh()
    source = jobs.bench.job("twice.jsonl", good(5) + [e2e.completion("good-2", "again")])
    jobs.refuse(4, "line 6 has the custom_id 'good-2'", source)


def test_what_would_mix(jobs):
    """An option that only the first run had differs too, and so does what a word came to."""
    jobs.fresh()
    source = jobs.bench.job("good.jsonl", good(2))
    if jobs.ranks > 1:
        jobs.batch([0], source, "--codec", "int8")
        jobs.refuse(2, "--codec int8, this is --codec (none)", source)
        jobs.fresh()
    jobs.batch([0], source, "--kv", "auto")
    jobs.resume(source, "--kv", "f16")
    jobs.refuse(2, "kernel set, type of cache", source, "--kv", "bf16")
    refused = jobs.bench.run(jobs.ranks, "batch", "-m", jobs.model, "-i", source, "-o", jobs.out,
                             SLUICE_KERNELS="ref")
    e2e.check(refused.returncode == 2 and b"ref.2/f16" in refused.stderr, refused.stderr.decode())


def test_other_template(jobs):
    """Results of one chat template are not mixed with those of another: its text counts, not its name."""
    jobs.fresh()
    source = jobs.bench.job("good.jsonl", good(2))
    first = jobs.bench.write("first.jinja", "{{ messages[0]['content'] }}")
    same = jobs.bench.write("same.jinja", "{{ messages[0]['content'] }}")
    other = jobs.bench.write("other.jinja", "> {{ messages[0]['content'] }}")
    jobs.batch([0], source, "--chat-template", first)
    jobs.resume(source, "--chat-template", same)
    jobs.refuse(2, "--chat-template", source, "--chat-template", other)
    jobs.refuse(2, "--chat-template", source)


def test_other_date(jobs):
    """What a template is told of the date is part of the job; one that asks for it and is not told is
    an error of each request, which names the option."""
    jobs.fresh()
    source = jobs.bench.job("chat.jsonl", [e2e.chat(f"chat-{i}", e2e.words(i, 9), max_tokens=3) for i in range(2)])
    dated = jobs.bench.write("dated.jinja", "{{ strftime_now('%d %B %Y') }} {{ messages[0]['content'] }}")
    talk, _ = jobs.batch([3], source, "--chat-template", dated)
    e2e.check("tells the model the date: without" in talk, f"nothing was said at the beginning: {talk}")
    e2e.check(jobs.bytes().count(b"--template-date") >= 2, "the option is not named")
    jobs.fresh()
    talk, _ = jobs.batch([0], source, "--chat-template", dated, "--template-date", "2025-03-04")
    e2e.check("tells the model the date" not in talk, talk)
    jobs.resume(source, "--chat-template", dated, "--template-date", "2025-03-04")
    jobs.refuse(2, "template-date", source, "--chat-template", dated, "--template-date", "2025-03-05")
    jobs.refuse(2, "template-date", source, "--chat-template", dated)
    jobs.refuse(2, "is no date", source, "--chat-template", dated, "--template-date", "2025-02-30")


def test_edited_requests(jobs):
    jobs.fresh()
    lines = good(3)
    jobs.batch([0], jobs.bench.job("edited.jsonl", lines))
    before = e2e.records(jobs.out)
    lines[1]["body"]["prompt"] = "another prompt"
    source = jobs.bench.job("edited.jsonl", lines)
    jobs.refuse(2, "1 requests of", source)
    jobs.refuse(2, "the first being 'good-1'", source, "--retry-errors")
    jobs.refuse(2, "either, not both", source, "--redo-changed", "--keep-changed")
    jobs.resume(source, "--keep-changed")
    _, report = jobs.batch([0], source, "--redo-changed")
    after = e2e.records(jobs.out)
    e2e.check(report["requests"] == 1 and set(after) == set(before), f"{jobs.what}: {report}")
    e2e.check(sorted(n for n in after if after[n] != before[n]) == ["good-1"], jobs.what)
    jobs.resume(source)

    talk, report = jobs.batch([0], source, "--restart")
    e2e.check(report["requests"] == 3 and "out.1" in talk, f"{jobs.what}: {report}\n{talk}")
    e2e.compare(after, e2e.records(jobs.out + ".1"), f"{jobs.what}: what was kept")
    jobs.bench.remove("out.1", "out.1.job")


def test_no_files(jobs):
    """What is no file is refused at once, and nothing is made beside it."""
    jobs.fresh()
    source = jobs.bench.job("good.jsonl", good(1))
    for options, code, said in [
            (("-i", source, "-o", "-"), 2, "-o -: results are kept in a file"),
            (("-i", source, "-o", "/dev/full"), 4, "is a device"),
            (("-i", source, "-o", "/dev/stdout"), 4, "results are kept in a file"),
            (("-i", "-", "-o", jobs.out), 2, "requests are read twice"),
            (("-i", "/dev/stdin", "-o", jobs.out), 4, "requests are read twice")]:
        ran = jobs.bench.run(jobs.ranks, "batch", "-m", jobs.model, *options)
        talk = ran.stderr.decode(errors="replace")
        e2e.check(ran.returncode == code and said in talk, f"{options}: {ran.returncode}\n{talk}")
    e2e.check(not os.path.exists("-") and not os.path.exists("/dev/full.job"), "made a file")


def slow_job(jobs, name):
    """Start one that takes seconds; (process, source) once it has a result."""
    jobs.fresh()
    source = jobs.bench.job(name, [
        e2e.completion(f"r{i}", e2e.words(i, 300), max_tokens=300, seed=i, ignore_eos=True)
        for i in range(200)])
    process = jobs.bench.start(0, "batch", "-m", jobs.model, "-i", source, "-o", jobs.out, "-t", 1)
    while jobs.bytes().count(b"\n") < 1 and process.poll() is None:
        time.sleep(0.01)
    return process, source


def test_out_is_stdout(jobs):
    """The report would be among the results."""
    jobs.fresh()
    source = jobs.bench.job("good.jsonl", good(1))
    for stream in ("stdout", "stderr"):
        with open(jobs.out, "ab") as file:
            other = {"stdout": "stderr", "stderr": "stdout"}[stream]
            ran = subprocess.run([jobs.bench.args.sluice, "batch", "-m", jobs.model, "-i", source, "-o",
                                  jobs.out, "--json"], stdin=subprocess.DEVNULL, timeout=60,
                                 **{stream: file, other: subprocess.PIPE})
        e2e.check(ran.returncode == 2, f"-o is {stream}: exit code {ran.returncode}")
        e2e.check(b'"custom_id"' not in jobs.bytes(), f"-o is {stream}: {jobs.bytes()}")


def test_files_that_change(jobs):
    """Whatever happens to OUT and IN while a job runs is said, with an exit status."""
    def cut(path):
        os.truncate(path, 10)

    def write(path):
        time.sleep(0.02)  # a step of the file system's clock
        with open(path, "r+b") as file:
            file.write(b"x")

    for name, change, said in [("out", os.remove, "was removed while the job ran"),
                               ("out", cut, "was cut while the job ran"),
                               ("out", write, "was written to while the job ran"),
                               ("out.job", os.remove, "was removed while the job ran"),
                               ("in", cut, "is not what it was at the start")]:
        process, source = slow_job(jobs, "changing.jsonl")
        change(source if name == "in" else jobs.bench.path(name))
        code = process.wait(60)
        talk = jobs.bench.talk()
        e2e.check(code == 4 and said in talk, f"{name} changed: exit code {code}\n{talk}")
        if name == "in":  # the journal knows what was answered: nothing is lost
            e2e.check(len(e2e.records(jobs.out)) >= 1, "results are gone")


def test_file_size_limit(jobs):
    """A disk that is full, or a limit, costs no result that was there, and leaves no half one."""
    jobs.fresh()
    source = jobs.bench.job("limited.jsonl", good(60))
    limited = subprocess.run(
        ["bash", "-c", 'ulimit -f 8; exec "$@"', "bash", jobs.bench.args.sluice, "batch", "-m", jobs.model,
         "-i", source, "-o", jobs.out], stdin=subprocess.DEVNULL, capture_output=True, timeout=120)
    talk = limited.stderr.decode()
    e2e.check(limited.returncode == 4 and "allows no larger file" in talk,
              f"ulimit -f: {limited.returncode}\n{talk}")
    e2e.check(jobs.bytes().endswith(b"\n"), "half a record is left")
    done = len(e2e.records(jobs.out))
    _, report = jobs.batch([0], source)
    e2e.check(report["requests"] == 60 - done and len(e2e.records(jobs.out)) == 60, str(report))


def test_unknown_fields(jobs):
    """Said once a job, however many lines have them."""
    jobs.fresh()
    lines = [e2e.completion(f"r{i}", "x", max_tokens=2, wisdom=i, reasoning=None)
             for i in range(6)]
    lines.append(e2e.chat("chat", "x", max_tokens=2, wisdom=True))
    talk, report = jobs.batch([0], jobs.bench.job("fields.jsonl", lines))
    e2e.check(report["failed"] == 0, f"{jobs.what}: {report}")
    said = [line for line in talk.splitlines() if "'wisdom'" in line]
    e2e.check(len(said) == 2 and sum("chat completions" in line for line in said) == 1,
              f"{jobs.what}: once for each kind of request, but said\n{talk}")


def test_second_process(jobs):
    """While one writes OUT another is refused, and the first is not disturbed."""
    jobs.fresh()
    source = jobs.bench.job("long.jsonl", [
        e2e.completion(f"r{i}", e2e.words(i, 300), max_tokens=300, seed=i, ignore_eos=True)
        for i in range(60)])
    # mpirun may not pass a stop on: the process that is stopped must be the one with the lock
    first = jobs.bench.start(0, "batch", "-m", jobs.model, "-i", source, "-o", jobs.out, "-t", 1)
    try:
        while jobs.bytes().count(b"\n") < 1 and first.poll() is None:
            time.sleep(0.01)
        first.send_signal(signal.SIGSTOP)
        # a write may still be under way
        os.waitid(os.P_PID, first.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
        e2e.check(first.poll() is None, f"ended before it could be stopped\n{jobs.bench.talk()}")
        jobs.refuse(4, "is being written by another process", source)
        first.send_signal(signal.SIGCONT)
        e2e.check(first.wait(300) == 0, f"the first process: {jobs.bench.talk()}")
    finally:
        if first.poll() is None:
            first.kill()
            first.wait()
    e2e.check(len(e2e.records(jobs.out)) == 60, "the first process lost results")


def body(bench):
    bench.model("model.gguf", seed=5, layers=3, width=96, ffn=160, head_dim=32,
                context=1024)
    bench.model("other.gguf", seed=6, layers=3, width=96, ffn=160, head_dim=32,
                context=1024)
    tests = [test_all_good, test_some_bad, test_retry_errors, test_another_job,
             test_duplicate_ids, test_unknown_fields, test_second_process]
    tests += [test_what_would_mix, test_other_template, test_other_date, test_edited_requests, test_no_files]
    alone = [test_out_is_stdout, test_files_that_change, test_file_size_limit]
    for ranks in (0, 2):
        jobs = Jobs(bench, ranks)
        for test in tests + (alone if ranks == 0 else []):
            test(jobs)
        print(f"ranks {ranks}: {', '.join(t.__name__[5:] for t in tests)}", flush=True)


e2e.main("jobs", body)
