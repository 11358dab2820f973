"""Contract 4 beside the pipeline: while a model is opened, gates are trained, or one rank works and the
others look on, a rank that dies or hangs ends the command within seconds, and a line names it."""
import os
import re
import signal
import subprocess
import time

import e2e
import lost_rank

RANKS = 3
END_S = 20  # 5 of silence, 2 until mpirun has killed all; the machine may be busy


def lose(bench, what, words, number, victim, ready, stdin=subprocess.DEVNULL):
    """Start, send the signal to rank `victim` when `ready`, expect the end. What was said."""
    launcher = bench.start(RANKS, *words, stdin=stdin)
    pids = {}

    def started():
        pids.update(lost_rank.ranks_of(launcher.pid))
        return launcher.poll() is not None or (len(pids) == RANKS and ready())

    try:
        e2e.check(lost_rank.wait_until(started, 30) is not None and launcher.poll() is None,
                  f"{what}: it did not come so far\n{bench.talk()}")
        time.sleep(8 if bench.args.light else 1.5)  # MPI is up, and everybody at work
        e2e.check(launcher.poll() is None, f"{what}: it ended by itself\n{bench.talk()}")
        lost_at = time.monotonic()
        os.kill(pids[victim], number)
        e2e.check(lost_rank.wait_until(lambda: launcher.poll() is not None, END_S) is not None,
                  f"{what}: mpirun still runs after {END_S} s\n{bench.talk()}")
        left = lambda: [rank for rank, pid in pids.items() if lost_rank.is_alive(pid)]
        e2e.check(lost_rank.wait_until(lambda: not left(), END_S) is not None,
                  f"{what}: ranks {left()} still run\n{bench.talk()}")
        print(f"{what}: all gone {time.monotonic() - lost_at:.1f} s later, exit code "
              f"{launcher.returncode}", flush=True)
    finally:
        for pid in [launcher.pid, *pids.values()]:
            if lost_rank.is_alive(pid):
                os.kill(pid, signal.SIGKILL)
    e2e.check(launcher.returncode != 0, f"{what}: exit code 0")
    return launcher.returncode, bench.talk()


def expect(what, ended, code, pattern):
    e2e.check(ended[0] == code, f"{what}: exit code {ended[0]}, not {code}\n{ended[1]}")
    e2e.check(re.search(pattern, ended[1]), f"{what}: nobody says {pattern}\n{ended[1]}")


def beside_one(bench, model):
    """tokenize reads a stdin that stays open: one rank works and two look on."""
    words = ["tokenize", "-m", model]
    for number, victim, code, said in [
            (signal.SIGSTOP, 1, 75, r"rank 1 gave no sign of life for \d\.\d s; was "),
            (signal.SIGSTOP, 0, 75, r"rank 0 gave no sign of life for \d\.\d s; was waiting for all"),
            (signal.SIGKILL, 0, 137, r"rank 1: error: SIGTERM: was waiting for all ranks")]:
        what = f"tokenize, {number.name} of rank {victim}"
        ours, theirs = os.pipe()
        expect(what, lose(bench, what, words, number, victim, lambda: True, stdin=ours), code, said)
        os.close(ours)
        os.close(theirs)


def opening(bench, model):
    """A prompt from a pipe that nobody writes: rank 0 opens, the others wait for it."""
    prompt = bench.path("prompt")
    os.mkfifo(prompt)
    what = "run, opening, SIGSTOP of rank 2"
    ended = lose(bench, what, ["run", "-m", model, "-f", prompt, "--peer-timeout", 2], signal.SIGSTOP,
                 2, lambda: True)
    expect(what, ended, 75, r"rank 2 gave no sign of life for 2\.\d s; was ")


def training(bench, model):
    text, gate = bench.write("text", e2e.words(3, 40000)), bench.path("start.gguf")
    made = bench.run(0, "train", "init", "-m", model, "-o", gate)
    e2e.check(made.returncode == 0, made.stderr.decode())
    out = bench.path("warm.gguf")
    words = ["train", "warm", "-m", model, "-g", gate, "--text", text, "-o", out, "-t", 1, "--lengths",
             256, "--pieces", 100000, "--ridge-pieces", 3]
    log = out + ".log.jsonl"
    ready = lambda: os.path.exists(log) and os.path.getsize(log) > 0
    for number, code, said in [
            (signal.SIGSTOP, 75, r"rank 1 gave no sign of life for \d\.\d s; was "),
            (signal.SIGKILL, 137, r"rank [02]: error: SIGTERM: was ")]:
        what = f"train warm, {number.name} of rank 1"
        bench.remove("warm.gguf.log.jsonl")
        expect(what, lose(bench, what, words, number, 1, ready), code, said)


def body(bench):
    model = bench.model("model.gguf", seed=31, layers=3, context=1024)
    beside_one(bench, model)
    opening(bench, model)
    training(bench, model)


e2e.main("lost beside the pipeline", body)
