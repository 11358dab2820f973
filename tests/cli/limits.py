"""Limits of the system: only what trains carries OpenBLAS; under any ulimit -v, -d or -s a command
starts or says within a second which limit is too low and what is enough; untouched address space is
no memory; a control group's quota of CPU time counts for -t; only threads that compute are pinned."""
import os
import re
import resource
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "mpi"))
import e2e  # noqa: E402

OF = {"v": resource.RLIMIT_AS, "d": resource.RLIMIT_DATA, "s": resource.RLIMIT_STACK}


class Limited:
    """Runs commands under limits, in kilobytes as ulimit has them."""

    def __init__(self, bench):
        self.bench = bench

    def run(self, command, hard=True, **limits):
        def set_limits():
            for name, kilobytes in limits.items():
                most = resource.RLIM_INFINITY if kilobytes is None else kilobytes * 1024
                resource.setrlimit(OF[name], (most, most if hard else resource.RLIM_INFINITY))

        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        ran = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE, timeout=100, env=e2e.environment(),
                             preexec_fn=set_limits)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        self.seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        self.talk = ran.stderr.decode(errors="replace")
        self.code = ran.returncode
        return ran

    def until_enough(self, what, command, name, kilobytes):
        """Do as the messages say; each names the limit, and each asks for more than there is."""
        for _ in range(6):
            self.bench.remove("out", "out.job")
            self.run(command, **{name: kilobytes})
            if self.code == 0:
                return
            told = f"{what}, ulimit -{name} {kilobytes}: {self.code}\n{self.talk}"
            e2e.check(self.code == 5, told)
            e2e.check(self.seconds < 1, f"{told}after {self.seconds:.1f} s")
            asked = [int(n) for n in re.findall(rf"ulimit -{name} (\d+)", self.talk)]
            e2e.check(asked and max(asked) > kilobytes, told)
            kilobytes = max(asked)
        raise e2e.Failure(f"{what}: no value is enough, last {kilobytes}\n{self.talk}")


def check_libraries(bench):
    """Loaded, or opened later: by the name of the file."""
    for words in (["--help"], ["run", "-m", bench.path("model.gguf"), "-p", "x", "-n", "1"]):
        ran = bench.run(0, *words, LD_DEBUG="libs")
        found = re.findall(rb"\S*lib(?:openblas|blas|gomp|gfortran)\S*", ran.stderr)
        e2e.check(ran.returncode == 0 and not found, f"{words[0]} loads {found}")


def check_space(bench, limited, train):
    model = bench.path("model.gguf")
    commands = {
        "tokenize": ["tokenize", "-m", model],
        "run": ["run", "-m", model, "-p", "x", "-n", 2, "-t", 2],
        "batch": ["batch", "-m", model, "-i", bench.path("in"), "-o", bench.path("out"), "-t", 2],
        "show": ["show", "model", model],
        "train warm": train,
    }
    for name in "vd":
        for what, words in commands.items():
            limited.until_enough(what, bench.command(0, *words), name, 16000)
        for kilobytes in (20000, 100000):
            for words in (["--help"], ["--version"], ["batch", "--help"]):
                limited.run(bench.command(0, *words), **{name: kilobytes})
                e2e.check(limited.code == 0, f"{words} under -{name} {kilobytes}: {limited.talk}")
        # of ranks, not of mpirun
        shell = ["sh", "-c", f'ulimit -{name} "$0" && exec "$@"']
        ranks = [bench.args.mpiexec, "-n", "2", *shell]
        for kilobytes in (70000, 600000):
            bench.remove("out", "out.job")
            limited.run([*ranks, str(kilobytes), *bench.command(0, *commands["batch"])])
            good = limited.code == 0 if kilobytes == 600000 else limited.code in (0, 5)
            e2e.check(good and (limited.code == 0 or f"ulimit -{name}" in limited.talk),
                      f"ranks under -{name} {kilobytes}: {limited.code}\n{limited.talk}")


def check_stacks(bench, limited):
    """None of ours, nor of a library's threads, is as large or as small as ulimit -s."""
    run = bench.command(0, "run", "-m", bench.path("model.gguf"), "-p", "x", "-n", 2, "-t", 2)
    for kilobytes in (None, 4000000, 128):
        limited.run(run, hard=False, s=kilobytes, v=600000)
        e2e.check(limited.code == 0, f"ulimit -S -s {kilobytes}: {limited.code}\n{limited.talk}")
    limited.run(run, s=128)
    e2e.check(limited.code == 5 and "ulimit -s" in limited.talk, f"{limited.code} {limited.talk}")


def check_in_use(bench, limited):
    """A gigabyte of address space that nobody touches leaves a job of 200 MB alone."""
    source, library = bench.path("space.c"), bench.path("space.so")
    bench.write("space.c", "#include <sys/mman.h>\n"
                "__attribute__((constructor)) static void take(void)\n"
                "{ mmap(0, 1L << 30, 3, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0); }\n")
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source], check=True)
    ran = bench.run(0, "run", "-m", bench.path("model.gguf"), "-p", "x", "-n", 2, "-t", 2,
                    "--memory", "200M", LD_PRELOAD=library)
    e2e.check(ran.returncode == 0, ran.stderr.decode(errors="replace"))


def check_quota(bench):
    """A group of our own with half a CPU, where the system lets us make one."""
    for top, setting in (("/sys/fs/cgroup/cpu", "cpu.cfs_quota_us"), ("/sys/fs/cgroup", "cpu.max")):
        group = f"{top}/sluice-test-{os.getpid()}"
        try:
            os.mkdir(group)
        except OSError:
            continue
        try:
            with open(f"{group}/{setting}", "w") as file:
                file.write("150000")
        except OSError:
            os.rmdir(group)
            continue
        break
    else:
        print("quotas cannot be set here")
        return
    try:
        for words, told in ([], " 1 threads"), (["-t", "3"], "1.50 CPUs"):
            command = bench.command(0, "run", "-m", bench.path("model.gguf"), "-p", "x", "-n", 1,
                                    "-v", *words)
            ran = subprocess.run(
                ["sh", "-c", f'echo $$ > {group}/cgroup.procs && exec "$@"', "sh", *command],
                stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=e2e.environment())
            talk = ran.stderr.decode(errors="replace")
            e2e.check(ran.returncode == 0 and told in talk, f"-t {words}: no '{told}'\n{talk}")
    finally:
        os.rmdir(group)


def check_places(bench):
    """Threads that compute have a core each, the others all that the process may use."""
    allowed = len(os.sched_getaffinity(0))
    if allowed != os.cpu_count() or allowed < 2:
        return
    bench.job("many", (e2e.completion(f"{i}", "x", max_tokens=400, ignore_eos=True)
                       for i in range(60)))
    bench.remove("out", "out.job")
    job = bench.start(0, "batch", "-m", bench.path("model.gguf"), "-i", bench.path("many"), "-o",
                      bench.path("out"), "-v")
    while not os.path.exists(bench.path("out")) or not os.path.getsize(bench.path("out")):
        e2e.check(job.poll() is None, f"ended: {bench.talk()}")
        time.sleep(0.01)
    masks = []
    for task in os.listdir(f"/proc/{job.pid}/task"):
        masks.append(len(os.sched_getaffinity(int(task))))
    job.kill()
    job.wait()
    if f" {allowed} threads" not in bench.talk():  # a quota, or cores that are hyperthreads
        return
    e2e.check(masks.count(1) == allowed and len(masks) > allowed and
              all(n in (1, allowed) for n in masks), f"threads may run on {masks} of {allowed}")


def body(bench):
    model = bench.model("model.gguf", seed=9, layers=4, width=256, ffn=704, heads=8, kv_heads=2,
                        head_dim=32, context=1024)
    bench.job("in", (e2e.completion(f"{i}", e2e.words(i, 300), max_tokens=5) for i in range(5)))
    bench.write("text", e2e.words(1, 20000))
    gate = bench.path("gate.gguf")
    made = bench.run(0, "train", "init", "-m", model, "-o", gate)
    e2e.check(made.returncode == 0, made.stderr.decode(errors="replace"))
    train = ["train", "warm", "-m", model, "-g", gate, "--text", bench.path("text"), "-o",
             bench.path("warm.gguf"), "--lengths", 256, "--ridge-pieces", 1, "--pieces", 1, "-t", 2]
    limited = Limited(bench)
    check_libraries(bench)
    check_space(bench, limited, train)
    check_stacks(bench, limited)
    check_in_use(bench, limited)
    check_quota(bench)
    check_places(bench)


e2e.main("limits", body)
