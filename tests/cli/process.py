"""What users do to a process: descriptors closed at start, a limit on file sizes, a reader that goes
away, signals, launchers. Nothing ends without a word, no word lands in a file, and no launcher's alarm
follows a job that is finished."""
import json
import os
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "mpi"))
import e2e  # noqa: E402


class Shell:
    def __init__(self, bench):
        self.bench = bench
        self.model = bench.model("model.gguf", seed=5, layers=2)
        self.source = bench.job("in.jsonl", [e2e.completion(f"r{i}", "hello", max_tokens=4)
                                             for i in range(4)])
        self.out = bench.path("out")

    def run(self, code, how, *words, said=None):
        """`how`: a line of shell around "$@"; ends with `code` and says `said` on stderr."""
        ran = subprocess.run(["bash", "-c", how, "sh", self.bench.args.sluice, *map(str, words)],
                             env=e2e.environment(), stdin=subprocess.DEVNULL, timeout=60,
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        talk = ran.stderr.decode(errors="replace")
        e2e.check(ran.returncode == code, f"{how}: {words}: exit code {ran.returncode}, not {code}\n"
                                          f"{talk}")
        e2e.check(said is None or said in talk, f"{how}: {words}: '{said}' is not said:\n{talk}")
        return ran.stdout

    def batch(self, code, how, *words, **more):
        self.bench.remove("out", "out.job")
        return self.run(code, how, "batch", "-m", self.model, "-i", self.source, "-o", self.out,
                        *words, **more)


def test_closed_descriptors(shell):
    for how in ["<&-", ">&-", "2>&-", "<&- 2>&-", ">&- 2>&-", "<&- >&- 2>&-"]:
        shell.batch(0, f'"$@" {how}')
        e2e.check(len(e2e.records(shell.out)) == 4, f"{how}: OUT is not whole")
    shell.batch(4, '"$@" <&- >&-', "--json", said="cannot write the results to stdout")
    for words in [["run", "-m", shell.model, "-p", "a", "-n", 3], ["--help"], ["batch", "--help"],
                  ["show", "model", shell.model], ["--version"]]:
        shell.run(4, '"$@" >&-', *words, said="cannot write the results to stdout: Bad file")
        shell.run(4, '"$@" >/dev/full', *words, said="cannot write the results to stdout: No space")
    shell.run(4, '"$@" <&-', "tokenize", "-m", shell.model, said="cannot read stdin")


def test_reader_gone(shell):
    out = shell.run(141, '"$@" | head -c 1; exit ${PIPESTATUS[0]}', "run", "-m", shell.model, "-p", "a",
                    "-n", 200)
    e2e.check(len(out) == 1, f"run | head: {out!r}")
    shell.batch(0, '"$@" 2>&1 | true; exit ${PIPESTATUS[0]}')  # its talk has no reader; its work has
    e2e.check(len(e2e.records(shell.out)) == 4, "batch 2>&1 | true: OUT is not whole")


def test_file_limit(shell):
    gate = shell.bench.path("gate.gguf")
    limited = 'ulimit -f 1; "$@"'
    shell.run(4, limited, "train", "init", "-m", shell.model, "-o", gate,
              said=f"cannot write {gate}: File too large")
    e2e.check(not os.path.exists(gate), "half a gate file was left")
    text = shell.bench.write("text", e2e.words(1, 30000))
    shell.run(0, '"$@"', "train", "init", "-m", shell.model, "-o", gate)
    out = shell.bench.path("warm.gguf")
    shell.run(4, limited, "train", "warm", "-m", shell.model, "-g", gate, "--text", text, "-o", out, "-t", 1,
              "--lengths", 256, "--pieces", 0, "--ridge-pieces", 3, "--checkpoint-minutes", 0,
              said=f"cannot write {out}.checkpoint")
    shell.run(4, limited, "train", "warm", "-m", shell.model, "-g", gate, "--text", text, "-o", out, "-t", 1,
              "--lengths", 256, "--pieces", 0, "--ridge-pieces", 20, said=f"cannot write the log {out}.log")
    kept = shell.bench.path("kept.npy")
    shell.run(4, limited, "eval", "perplexity", "-m", shell.model, "--text", text, "--context", 256,
              "--keep-out", kept, said=f"cannot write {kept}: File too large")


def test_signals(shell):
    """Each ends a job with a line, and the same line goes on."""
    slow = shell.bench.job("slow.jsonl", [e2e.completion(f"r{i}", "a", max_tokens=100, ignore_eos=True)
                                          for i in range(2000)])
    words = ["batch", "-m", shell.model, "-i", slow, "-o", shell.out, "--sequences", 2]
    for number in [signal.SIGHUP, signal.SIGQUIT, signal.SIGTERM]:
        shell.bench.remove("out", "out.job")
        job = shell.bench.start(0, *words)
        began = time.monotonic()
        while not (os.path.exists(shell.out) and os.path.getsize(shell.out)):
            e2e.check(time.monotonic() - began < 30 and job.poll() is None, "no results")
            time.sleep(0.01)
        job.send_signal(number)
        code = job.wait(timeout=5)
        e2e.check(code == 128 + number, f"{number.name}: exit code {code}")
        e2e.check(f"{number.name}: was " in shell.bench.talk(), f"{number.name}: nothing is said")
        e2e.check(len(e2e.records(shell.out)) > 0, f"{number.name}: no whole record")


def test_some_failed(shell):
    """A finished job with error records: the code tells, and mpirun has nothing to add."""
    bench = shell.bench
    source = bench.job("some.jsonl", [e2e.completion("good", "hello", max_tokens=4),
                                      e2e.completion("bad", "hello", stream=True)])
    for ranks in (0, 1, 2):
        bench.remove("out", "out.job")
        ran = bench.run(ranks, "batch", "-m", shell.model, "-i", source, "-o", shell.out, "--json")
        talk = ran.stderr.decode(errors="replace")
        e2e.check(ran.returncode == 3, f"ranks {ranks}: exit code {ran.returncode}, not 3\n{talk}")
        e2e.check("abort" not in talk and "terminated" not in talk and "MPI_ABORT" not in talk,
                  f"ranks {ranks}: an alarm after a finished job:\n{talk}")
        e2e.check(json.loads(ran.stdout)["failed"] == 1, f"ranks {ranks}: {ran.stdout!r}")
        e2e.check(len(e2e.records(shell.out)) == 2, f"ranks {ranks}: OUT is not whole")


def test_one_code(shell):
    """What goes wrong on rank 0 alone is the code of all."""
    ran = shell.bench.run(2, "show", "model", shell.bench.path("nothing"))
    e2e.check(ran.returncode == 4, f"show model nothing: exit code {ran.returncode}")


STEP = {"SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "4"}
HYDRA = {"PMI_SIZE": "3"}


def test_launchers(shell):
    """Several processes, each a world of one: refused before anything is written. Variables that a
    launcher left to one process alone, as in a batch script, are not."""
    bench = shell.bench
    words = ["batch", "-m", shell.model, "-i", shell.source, "-o", shell.out]
    for name, env in (("srun", dict(STEP, SLURM_PROCID="0")), ("srun", dict(STEP, SLURM_PROCID="2")),
                      ("mpiexec", dict(HYDRA, PMI_RANK="0"))):
        bench.remove("out", "out.job")
        ran = bench.run(0, *words, **env)
        talk = ran.stderr.decode(errors="replace")
        e2e.check(ran.returncode == 2, f"{env}: exit code {ran.returncode}\n{talk}")
        e2e.check(not os.path.exists(shell.out), f"{env}: OUT was made")
        first = "0" in (env.get("SLURM_PROCID"), env.get("PMI_RANK"))
        e2e.check((f"{name}" in talk and "Cure: " in talk) == first, f"{env}: {talk}")
    for env in (dict(SLURM_NTASKS="4", SLURM_PROCID="0", SLURM_JOB_NUM_NODES="2"),
                dict(HYDRA, PMI_SIZE="1", PMI_RANK="0")):
        ran = bench.run(0, "tokenize", "-m", shell.model, stdin=b"a", **env)
        e2e.check(ran.returncode == 0, f"{env}: exit code {ran.returncode}: {ran.stderr.decode()}")
    ran = bench.run(2, "tokenize", "-m", shell.model, stdin=b"a", **STEP, SLURM_PROCID="0")
    e2e.check(ran.returncode == 0, f"mpirun in a step: exit code {ran.returncode}")


def body(bench):
    shell = Shell(bench)
    test_some_failed(shell)
    test_one_code(shell)
    test_launchers(shell)
    test_closed_descriptors(shell)
    test_reader_gone(shell)
    test_file_limit(shell)
    test_signals(shell)


e2e.main("process", body)
