"""What the end-to-end scripts share: starting `sluice` on ranks, making models and jobs, comparing
OUT files. No test is in here."""
import argparse
import itertools
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time


def parse_args(description):
    """The command line of every script here; the files of a failed run stay for a look."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--sluice", required=True)
    parser.add_argument("--make-model", required=True)
    parser.add_argument("--mpiexec", default="mpirun")
    parser.add_argument("--light", action="store_true", help="fewer combinations: sanitizers")
    return parser.parse_args()


def environment(**more):
    """One machine: more ranks than cores, no pinning, idle ranks yield (tests/env.sh)."""
    env = dict(os.environ, OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1",
               OMPI_MCA_rmaps_base_oversubscribe="1", OMPI_MCA_hwloc_base_binding_policy="none",
               OMPI_MCA_mpi_yield_when_idle="1")
    for name in [n for n in env if n.startswith("SLUICE_") and not n.startswith("SLUICE_TEST")]:
        del env[name]  # settings of whoever runs the tests
    env.update(more)
    return env


class Failure(Exception):
    """A check that did not hold; its text is all a reader gets."""


def check(condition, text):
    if not condition:
        raise Failure(text)


class Bench:
    """A binary, a folder that goes away when all is well, and the checks that were run."""

    def __init__(self, args):
        self.args = args
        self.folder = tempfile.mkdtemp(prefix="sluice_e2e_")

    def path(self, name):
        return os.path.join(self.folder, name)

    def write(self, name, text):
        with open(self.path(name), "wb") as file:
            file.write(text if isinstance(text, bytes) else text.encode())
        return self.path(name)

    def model(self, name, **shape):
        """A synthetic model (make_model's options; underscores become dashes)."""
        options = [f"--{key.replace('_', '-')}" + ("" if value is True else f"={value}")
                   for key, value in shape.items()]
        subprocess.run([self.args.make_model, *options, self.path(name)], check=True)
        return self.path(name)

    def job(self, name, requests):
        lines = [r if isinstance(r, str) else json.dumps(r) for r in requests]
        return self.write(name, "".join(line + "\n" for line in lines))

    def command(self, ranks, *words):
        """ranks 0: without mpirun."""
        launcher = [self.args.mpiexec, "-n", str(ranks)] if ranks else []
        return [*launcher, self.args.sluice, *map(str, words)]

    def run(self, ranks, *words, stdin=b"", seconds=300, cwd=None, **env):
        return subprocess.run(self.command(ranks, *words), input=stdin, env=environment(**env),
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=seconds,
                              cwd=cwd)

    def start(self, ranks, *words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, **env):
        """In the background; talk goes to the file `stderr` (see talk())."""
        with open(self.path("stderr"), "wb") as talk:
            return subprocess.Popen(self.command(ranks, *words), env=environment(**env),
                                    stdin=stdin, stdout=stdout, stderr=talk)

    def talk(self):
        with open(self.path("stderr"), "rb") as file:
            return file.read().decode(errors="replace")

    def remove(self, *names):
        for name in names:
            if os.path.exists(self.path(name)):
                os.unlink(self.path(name))


def good(bench, ranks, *words):
    """A command that must end with 0."""
    ran = bench.run(ranks, *words)
    check(ran.returncode == 0, f"{words[:2]} on {ranks} ranks: exit code {ran.returncode}\n"
                               f"{ran.stderr.decode(errors='replace')}")
    return ran


def wait_until(is_ready, seconds):
    """At most so long."""
    end = time.monotonic() + seconds
    while not is_ready() and time.monotonic() < end:
        time.sleep(0.02)


def check_resumed(bench, ranks, words_of, whole, cut, is_underway):
    """A training run of words_of(out) that is stopped once is_underway() goes on to what another gives that is
    not. Returns whether it was stopped before its end."""
    good(bench, ranks, *words_of(whole))
    run = bench.start(ranks, *words_of(cut))
    wait_until(lambda: is_underway() or run.poll() is not None, 120)
    run.send_signal(signal.SIGTERM)
    code = run.wait(timeout=60)
    stopped = not os.path.exists(cut)
    check(not stopped or code != 0, "a stopped run ended with 0")
    ran = good(bench, ranks, *words_of(cut))
    check(not stopped or b"going on after round" in ran.stderr, "the second run began anew")
    check(bytes_of(whole) == bytes_of(cut), f"{ranks} ranks: resumed gates differ")
    return stopped


def bytes_of(path):
    with open(path, "rb") as file:
        return file.read()


def main(description, body):
    """Run body(bench); the exit status is the verdict."""
    args = parse_args(description)
    bench = Bench(args)
    began = time.monotonic()
    try:
        skipped = body(bench)
    except Failure as failure:
        print(f"FAILED: {failure}\nfiles: {bench.folder}", file=sys.stderr)
        sys.exit(1)
    except subprocess.TimeoutExpired as late:
        print(f"FAILED: no end after {late.timeout} s: {' '.join(late.cmd)}\n"
              f"{(late.stderr or b'').decode(errors='replace')}files: {bench.folder}",
              file=sys.stderr)
        sys.exit(1)
    shutil.rmtree(bench.folder)
    print(f"{description}: {'skipped' if skipped else 'passed'} in "
          f"{time.monotonic() - began:.1f} s")
    sys.exit(77 if skipped else 0)


# ---- combinations ----

def covering(**factors):
    """Rows {name: value} in which every two values of two factors meet, in far fewer rows than the
    product: each row is the one of the product with most pairs that no row before it has."""
    names = list(factors)
    couples = list(itertools.combinations(range(len(names)), 2))

    def pairs(row):
        return {(i, j, row[i], row[j]) for i, j in couples}

    product = [(row, pairs(row)) for row in itertools.product(*factors.values())]
    missing = set().union(*(met for _, met in product))
    rows = []
    while missing:
        row, met = max(product, key=lambda entry: len(entry[1] & missing))
        rows.append(row)
        missing -= met
    check_covering(rows, list(factors.values()))
    return [dict(zip(names, row)) for row in rows]


def check_covering(rows, values):
    """Counted anew, without what made the rows."""
    for i, j in itertools.combinations(range(len(values)), 2):
        met = {(row[i], row[j]) for row in rows}
        assert met == set(itertools.product(values[i], values[j])), f"pairs of factors {i} and {j}: {met}"


# ---- records ----

CREATED = re.compile(rb'"created":\d+')


def records(path):
    """{custom_id: line}, the time of writing aside. Every line whole, every id once."""
    with open(path, "rb") as file:
        data = file.read()
    check(not data or data.endswith(b"\n"), f"{path}: its last line is not whole")
    found = {}
    for number, line in enumerate(data.splitlines(), 1):
        try:
            name = json.loads(line)["custom_id"]
        except (ValueError, KeyError) as error:
            raise Failure(f"{path}: line {number} is no record: {error}") from error
        check(name not in found, f"{path}: '{name}' is there twice")
        found[name] = CREATED.sub(b'"created":0', line)
    return found


def compare(reference, found, what):
    missing = sorted(set(reference) - set(found))
    check(not missing, f"{what}: no record of {missing}")
    extra = sorted(set(found) - set(reference))
    check(not extra, f"{what}: records nobody asked for: {extra}")
    for name, line in reference.items():
        check(found[name] == line,
              f"{what}: '{name}' differs\n  reference: {line.decode()}\n"
              f"  this run:  {found[name].decode()}")


# ---- requests ----

def completion(name, prompt, **fields):
    return {"custom_id": name, "method": "POST", "url": "/v1/completions",
            "body": {"prompt": prompt, **fields}}


def chat(name, content, **fields):
    return {"custom_id": name, "method": "POST", "url": "/v1/chat/completions",
            "body": {"messages": [{"role": "user", "content": content}], **fields}}


def words(seed, n_bytes):
    """Seeded text of about a token for each one or two bytes in the synthetic vocabulary."""
    draw = random.Random(seed)
    letters = "aaaeeeiioouubcdfghklmnprsttvwyz      .,\n?é✓"
    return "".join(draw.choice(letters) for _ in range(n_bytes))
