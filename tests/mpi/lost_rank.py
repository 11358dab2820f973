"""Contracts 2 and 4: a rank that dies or hangs is named, the job ends within seconds with an error,
OUT holds only whole lines, and the same command again completes it: every id once, the same
bytes."""
import json
import os
import re
import signal
import time

import e2e

RANKS = 3
END_S = 10      # from the loss to the end of the whole job
START_S = 60    # until the first results are there


def ranks_of(launcher):
    """{rank: pid} of the processes mpirun started."""
    found = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/stat") as file:
                parent = int(file.read().rsplit(")", 1)[1].split()[1])
            with open(f"/proc/{name}/environ", "rb") as file:
                rank = re.search(rb"(?:^|\0)OMPI_COMM_WORLD_RANK=(\d+)", file.read())
        except (OSError, ValueError):
            continue  # it ended while we looked
        if parent == launcher and rank:
            found[int(rank.group(1))] = int(name)
    return found


def is_alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


def wait_until(condition, seconds):
    """Seconds it took, or None."""
    began = time.monotonic()
    while time.monotonic() - began < seconds:
        if condition():
            return time.monotonic() - began
        time.sleep(0.02)
    return None


class Job:
    """One batch on three ranks, interrupted and resumed."""

    def __init__(self, bench, model):
        self.bench = bench
        self.n_requests = 30 if bench.args.light else 80
        jobs = [e2e.completion(f"r{i}", e2e.words(i, 100 + 5 * i), max_tokens=60, seed=i,
                               ignore_eos=True) for i in range(self.n_requests)]
        source = bench.job("in.jsonl", jobs)
        self.out = bench.path("out")
        self.words = ["batch", "-m", model, "-i", source, "-o", self.out, "-t", 1,
                      "--sequences", 4]
        self.reference = self.complete("undisturbed", [])

    def n_lines(self):
        try:
            with open(self.out, "rb") as file:
                return file.read().count(b"\n")
        except FileNotFoundError:
            return 0

    def begin(self):
        """Start afresh; back in the middle of the job."""
        self.bench.remove("out", "out.job")
        self.launcher = self.bench.start(RANKS, *self.words)
        self.pids = {}
        began = wait_until(lambda: self.n_lines() >= 3 or self.launcher.poll() is not None,
                           START_S)
        e2e.check(began is not None and self.launcher.poll() is None,
                  f"no results to interrupt:\n{self.bench.talk()}")
        self.pids = ranks_of(self.launcher.pid)
        e2e.check(sorted(self.pids) == list(range(RANKS)), f"ranks found: {self.pids}")

    def kill_all(self):
        """Whatever a failed check left behind."""
        for pid in [self.launcher.pid, *self.pids.values()]:
            if is_alive(pid):
                os.kill(pid, signal.SIGKILL)

    def expect_end(self, what, lost_at):
        """All processes gone in time. The exit code, never 0."""
        e2e.check(wait_until(lambda: self.launcher.poll() is not None, END_S) is not None,
                  f"{what}: mpirun still runs after {END_S} s\n{self.bench.talk()}")
        left = lambda: [rank for rank, pid in self.pids.items() if is_alive(pid)]
        gone = wait_until(lambda: not left(), max(END_S - (time.monotonic() - lost_at), 0.1))
        e2e.check(gone is not None, f"{what}: ranks {left()} still run\n{self.bench.talk()}")
        e2e.check(self.launcher.returncode != 0, f"{what}: exit code 0\n{self.bench.talk()}")
        print(f"{what}: all gone {time.monotonic() - lost_at:.1f} s later, "
              f"exit code {self.launcher.returncode}, {self.n_lines()} results", flush=True)

    def expect_words(self, what, survivors, pattern):
        """Each survivor says in exactly one line what it was waiting for."""
        talk = self.bench.talk()
        for rank in survivors:
            said = re.findall(rf"^.*\brank {rank}\]?: (?:error: )?{pattern}.*$", talk, re.M)
            e2e.check(len(said) == 1, f"{what}: rank {rank} said {len(said)} times what it was "
                                      f"waiting for\n{talk}")

    def complete(self, what, already):
        """The same line again: the records, after checking what it found done."""
        run = self.bench.run(RANKS, *self.words, "--json")
        e2e.check(run.returncode == 0, f"{what}: exit code {run.returncode}\n"
                                       f"{run.stderr.decode(errors='replace')}")
        report = json.loads(run.stdout)
        e2e.check(report["requests"] == self.n_requests - len(already),
                  f"{what}: {len(already)} were done, yet {report['requests']} were done again")
        return e2e.records(self.out)

    def resume(self, what):
        done = e2e.records(self.out)
        e2e.check(3 <= len(done) < self.n_requests, f"{what}: {len(done)} results: not the middle")
        e2e.compare({name: self.reference[name] for name in done}, done, what)
        e2e.compare(self.reference, self.complete(what, done), f"{what}, resumed")

    def lose(self, what, number, victim):
        """`victim`: a rank, or None for mpirun itself."""
        self.begin()
        lost_at = time.monotonic()
        os.kill(self.launcher.pid if victim is None else self.pids[victim], number)
        try:
            self.expect_end(what, lost_at)
        finally:
            self.kill_all()
        return time.monotonic() - lost_at


WAIT = r"was (?:waiting|computing)"


def killed_ranks(job, light):
    for victim in [1] if light else [0, 1, 2]:
        what = f"kill -9 of rank {victim}"
        job.lose(what, signal.SIGKILL, victim)
        job.expect_words(what, set(range(RANKS)) - {victim}, "SIGTERM: " + WAIT)
        job.resume(what)


def stopped_rank(job):
    what = "SIGSTOP of rank 1"
    job.lose(what, signal.SIGSTOP, 1)
    named = re.search(r"rank 1 gave no sign of life for (\d+\.\d) s; " + WAIT, job.bench.talk())
    e2e.check(named, f"{what}: nobody names it:\n{job.bench.talk()}")
    job.resume(what)


def ended_launcher(job):
    what = "SIGTERM to mpirun"
    job.lose(what, signal.SIGTERM, None)
    job.expect_words(what, range(RANKS), "SIGTERM: " + WAIT)
    job.resume(what)
    what = "kill -9 of mpirun"
    job.lose(what, signal.SIGKILL, None)
    job.resume(what)


def torn_line(job):
    """A crash in the middle of a write leaves a part of a line."""
    what = "torn last line"
    with open(job.out, "rb") as file:
        lines = file.read().splitlines(keepends=True)
    with open(job.out, "wb") as file:
        file.write(b"".join(lines[:20]) + lines[20][:len(lines[20]) // 2])
    run = job.bench.run(RANKS, *job.words)
    e2e.check(run.returncode == 0 and b"not whole" in run.stderr,
              f"{what}: exit code {run.returncode}, said\n{run.stderr.decode()}")
    e2e.compare(job.reference, e2e.records(job.out), what)


def body(bench):
    light = bench.args.light
    width = 192 if light else 512
    model = bench.model("model.gguf", seed=31, layers=6, width=width, ffn=2 * width,
                        context=1024)
    began = time.monotonic()
    job = Job(bench, model)
    print(f"undisturbed: {time.monotonic() - began:.1f} s", flush=True)
    killed_ranks(job, light)
    stopped_rank(job)
    ended_launcher(job)
    torn_line(job)


if __name__ == "__main__":
    e2e.main("lost rank", body)
