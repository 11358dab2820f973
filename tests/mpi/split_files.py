"""A model in several files (NAME-00001-of-00003.gguf) gives the records of the same model in one. Each
rank reads bytes only of the parts that have its layers; what is wrong with a part is said, with its
name, and no result is written."""
import json
import os
import shutil
import struct
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import e2e  # noqa: E402

PARTS, LAYERS = 3, 6


def part(path, number, count=PARTS):
    """The name of a part of the model that make_model was asked to save as `path`."""
    return f"{path[:-len('.gguf')]}-{number:05}-of-{count:05}.gguf"


class Split:
    """The same model whole and split. Several copies of the parts may lie in folders of their own, as on
    several hosts."""

    def __init__(self, bench):
        self.bench = bench
        shape = {"seed": 7, "layers": LAYERS, "untied": True}
        self.whole = bench.model("model.gguf", **shape)
        self.good = bench.model("good/model.gguf", split=PARTS, **shape)
        self.first = part(self.good, 1)
        self.source = bench.job("in.jsonl", [e2e.completion(f"r{i}", f"the rain {i}", max_tokens=8)
                                             for i in range(12)])
        self.out = bench.path("out")

    def copy(self, name, left_out=()):
        """A folder with copies of the parts; the path that `part` takes."""
        folder = self.bench.path(name)
        shutil.rmtree(folder, ignore_errors=True)
        os.mkdir(folder)
        for number in range(1, PARTS + 1):
            if number not in left_out:
                shutil.copy(part(self.good, number), folder)
        return os.path.join(folder, "model.gguf")

    def run(self, *ranks, code=0):
        """A rank for each list of words, all of one job; one list: without mpirun."""
        line = [self.bench.args.sluice, *map(str, ranks[0])]
        if len(ranks) > 1:
            line = [self.bench.args.mpiexec]
            for rank in ranks:
                line += [":"] * (rank is not ranks[0])
                line += ["-n", "1", self.bench.args.sluice, *map(str, rank)]
        ran = subprocess.run(line, env=e2e.environment(), stdin=subprocess.DEVNULL, timeout=60,
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        ran.talk = ran.stderr.decode(errors="replace")
        e2e.check(ran.returncode == code,
                  f"{' '.join(line)}: exit code {ran.returncode}, not {code}\n{ran.talk}")
        return ran

    def batch(self, *models, code=0, more=()):
        """(records, report, talk) of a rank for each model."""
        self.bench.remove("out", "out.job")
        ran = self.run(*[["batch", "-m", m, "-i", self.source, "-o", self.out, "--json", "-t", 1, *more]
                         for m in models], code=code)
        if code:
            e2e.check(not os.path.exists(self.out), f"results were written:\n{ran.talk}")
            return {}, {}, ran.talk
        return e2e.records(self.out), json.loads(ran.stdout), ran.talk

    def refused(self, models, *said, code=4, more=()):
        talk = self.batch(*models, code=code, more=more)[2]
        for text in said:
            e2e.check(text in talk, f"'{text}' is not said:\n{talk}")


def test_same_records(split):
    """On one rank and on three, with gates of either file, and by links, as a cache of downloads has."""
    gates = {}
    for name, model in [("whole", split.whole), ("split", split.first)]:
        gates[name] = split.bench.path(name + ".gate")
        split.run(["train", "init", "-m", model, "-o", gates[name], "--seed", 1])
    with open(gates["whole"], "rb") as one, open(gates["split"], "rb") as other:
        e2e.check(one.read() == other.read(), "gates know a model by its tensors")
    for more in [[], ["-g", gates["whole"], "--policy", "gate", "--keep", "0.5", "--window", 16]]:
        reference, _, _ = split.batch(split.whole, more=more)
        for ranks in (1, 3):
            found, report, talk = split.batch(*[split.first] * ranks, more=more)
            e2e.compare(reference, found, f"{ranks} ranks {more}")
            e2e.check(report["model"] == "verified", talk)
    links = split.bench.path("links")
    os.mkdir(links)
    for number in range(1, PARTS + 1):
        os.rename(part(split.copy("blobs"), number), split.bench.path(f"blob{number}"))
        os.symlink(f"../blob{number}", part(os.path.join(links, "model.gguf"), number))
    found, _, _ = split.batch(part(os.path.join(links, "model.gguf"), 1))
    e2e.compare(split.batch(split.whole)[0], found, "links")


def tensors_of(split, path):
    """{name: bytes} of one part, in the order of the file."""
    shown = json.loads(split.run(["show", "model", split.first, "--json"]).stdout)
    e2e.check(len(shown["parts"]) == PARTS, shown)
    numbers = [p["path"] for p in shown["parts"]]
    begin = sum(p["tensors"] for p in shown["parts"][:numbers.index(path)])
    n = shown["parts"][numbers.index(path)]["tensors"]
    return {t["name"]: t["bytes"] for t in shown["tensors"][begin:begin + n]}


def padded(n_bytes):
    return -(-n_bytes // 32) * 32


def without_data(split, path, number):
    """The part's header stays, and all behind it was never written."""
    name = part(path, number)
    size = os.path.getsize(name)
    data = sum(padded(n) for n in tensors_of(split, part(split.good, number)).values())
    os.truncate(name, size - data)
    os.truncate(name, size)


def test_only_own_parts(split):
    """The first and the last rank can do without the bytes of each other's parts."""
    reference, _, _ = split.batch(split.whole)
    copies = {}
    for rank, others in [("first", [3]), ("last", [1])]:
        copies[rank] = split.copy(rank)
        for number in others:
            without_data(split, copies[rank], number)
    models = [part(copies["first"], 1), split.first, part(copies["last"], 1)]
    found, _, talk = split.batch(*models, more=["--trust-model"])
    e2e.compare(reference, found, "parts without bytes")
    e2e.check("never written" not in talk, talk)
    split.run(["show", "model", split.first, "--sums"])
    shutil.copy(split.first + ".sums", part(copies["first"], 1) + ".sums")
    os.unlink(split.first + ".sums")
    found, report, talk = split.batch(*models)
    e2e.check(report["model"] == "verified", talk)
    split.refused(models[:1], "rank 0 on ", "blk.5", "(part")
    with open(part(copies["last"], 1), "rb") as file:
        holes = os.lseek(file.fileno(), 0, os.SEEK_HOLE) < os.path.getsize(file.name)
    if holes:  # which not every file system tells
        split.refused(models[2:], "never written (holes)", "in token_embd, blk.0", "(part")


def test_damaged(split):
    """A sum that differs names the parts that have the layer; a part that is cut is named itself."""
    bad = split.copy("bad")
    with open(part(bad, 2), "r+b") as file:
        file.seek(-64, os.SEEK_END)
        file.write(b"\x55" * 32)
    last = list(tensors_of(split, part(split.good, 2)))[-1].rsplit(".", 2)[0]
    split.refused([split.first, part(bad, 1)], "has other bytes", f"in {last} (part", "2")
    split.run(["show", "model", split.first, "--sums"])
    os.rename(split.first + ".sums", part(bad, 1) + ".sums")
    ran = split.run(["show", "model", part(bad, 1), "--sums"], code=4)
    e2e.check(f"damaged or another, in {last} (part" in ran.talk, ran.talk)
    split.refused([part(bad, 1)], f"in {last} (part")
    os.truncate(part(bad, 3), os.path.getsize(part(bad, 3)) - 4096)
    split.refused([split.first, part(bad, 1)], "bad/model-00003-of-00003.gguf: tensor ", "ends beyond")


def set_key(path, key, value):
    """An integer of the file's header, of the kind it has."""
    widths = {2: "<H", 5: "<i"}
    with open(path, "r+b") as file:
        data = file.read()
        at = data.index(struct.pack("<Q", len(key)) + key.encode()) + 8 + len(key)
        kind, = struct.unpack_from("<I", data, at)
        file.seek(at + 4)
        file.write(struct.pack(widths[kind], value))


def test_wrong_parts(split):
    copy = split.copy("missing", left_out=[2])
    split.refused([part(copy, 1)], "missing/model-00002-of-00003.gguf is missing", "Copy all of them")
    split.refused([split.first, part(copy, 1), split.first], "missing/model-00002-of-00003.gguf is missing")
    split.refused([part(split.good, 3)], "is part 3 of 3", "good/model-00001-of-00003.gguf, instead")

    shutil.copy(part(split.good, 3), part(copy, 2))  # a part twice
    split.refused([part(copy, 1)], "model-00002-of-00003.gguf is part 3 of the model, not part 2")

    other = split.bench.model("other/model.gguf", split=4, seed=8, layers=LAYERS, untied=True)
    shutil.copy(part(other, 2, 4), part(copy, 2))
    split.refused([part(copy, 1)], "model-00002-of-00003.gguf is one of 4 parts", "of another model")
    other = split.bench.model("other/model.gguf", split=PARTS, seed=8, layers=LAYERS + 1, untied=True)
    shutil.copy(part(other, 2), part(copy, 2))
    split.refused([part(copy, 1)], "model-00002-of-00003.gguf is of a model of 66 tensors")
    set_key(part(copy, 2), "split.tensors.count", 57)
    split.refused([part(copy, 1)], "of another model", "Copy all")

    same = split.bench.model("other/model.gguf", split=PARTS, seed=8, layers=LAYERS, untied=True)
    shutil.copy(part(same, 2), part(copy, 2))  # alike in everything but the bytes
    split.refused([split.first, part(copy, 1), split.first], "rank 1 on ", "has other bytes", "2 of 3)")
    same = split.bench.model("other/model.gguf", split=PARTS, seed=7, layers=LAYERS, untied=True,
                             ffn_type="q8_0")
    shutil.copy(part(same, 2), part(copy, 2))
    split.refused([split.first, part(copy, 1)], "rank 1 on ", "another model file than ")


def test_out_is_a_part(split):
    for more in [[], ["--restart"]]:
        copy = split.copy("used")
        ran = split.run(["batch", "-m", part(copy, 1), "-i", split.source, "-o", part(copy, 2), *more], code=2)
        e2e.check("model-00002-of-00003.gguf is the file of -o" in ran.talk, ran.talk)
        split.batch(part(copy, 1))


def test_changes(split):
    """A part that is written to while a job runs is named."""
    copy = split.copy("changed")
    slow = split.bench.job("slow.jsonl", [e2e.completion(f"r{i}", "a", max_tokens=60, ignore_eos=True)
                                          for i in range(60)])
    split.bench.remove("out", "out.job")
    process = split.bench.start(2, "batch", "-m", part(copy, 1), "-i", slow, "-o", split.out,
                                "--sequences", 2)
    began = time.monotonic()
    while not (os.path.exists(split.out) and os.path.getsize(split.out)):
        e2e.check(time.monotonic() - began < 30 and process.poll() is None,
                  f"no results:\n{split.bench.talk()}")
        time.sleep(0.01)
    os.utime(part(copy, 3))
    code = process.wait(timeout=60)
    e2e.check(code == 4 and "model-00003-of-00003.gguf was written to while" in split.bench.talk(),
              f"exit code {code}\n{split.bench.talk()}")


def body(bench):
    for folder in ("good", "other"):
        os.mkdir(bench.path(folder))
    split = Split(bench)
    test_same_records(split)
    test_only_own_parts(split)
    test_damaged(split)
    test_wrong_parts(split)
    test_out_is_a_part(split)
    test_changes(split)


e2e.main("split files", body)
