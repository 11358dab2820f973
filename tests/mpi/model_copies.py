"""Copies of a model that are not the same on all ranks, and files that change while a job runs: no result
of a damaged model is ever written, and what a user must do is said."""
import json
import os
import shutil
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import e2e  # noqa: E402

LAYERS = 6


class Copies:
    def __init__(self, bench):
        self.bench = bench
        self.good = bench.model("good.gguf", seed=3, layers=LAYERS, untied=True)
        self.bad = bench.path("bad.gguf")
        self.source = bench.job("in.jsonl", [e2e.completion(f"r{i}", f"a {i}", max_tokens=5)
                                             for i in range(12)])
        self.out = bench.path("out")
        talk = self.run(["show", "model", self.good, "--json"]).stdout
        self.tensors = {t["name"]: t["bytes"] for t in json.loads(talk)["tensors"]}
        with open(self.good, "rb") as file:
            self.bytes = file.read()
        self.offsets = self.find_offsets()

    def find_offsets(self):
        """Tensors lie in the order of their names in the file, the last one at its end."""
        offsets, at = {}, len(self.bytes)
        for name, size in reversed(self.tensors.items()):
            at -= -(-size // 32) * 32
            offsets[name] = at
        return offsets

    def run(self, *ranks, code=0, seconds=60):
        """A rank for each list of words, all of one job; one list: without mpirun."""
        words = [[self.bench.args.sluice, *map(str, rank)] for rank in ranks]
        line = words[0]
        if len(ranks) > 1:
            line = [self.bench.args.mpiexec]
            for rank in words:
                line += [":"] * (rank is not words[0]) + ["-n", "1", *rank]
        ran = subprocess.run(line, env=e2e.environment(), stdin=subprocess.DEVNULL, timeout=seconds,
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        talk = ran.stderr.decode(errors="replace")
        e2e.check(ran.returncode == code, f"{' '.join(line)}: exit code {ran.returncode}, "
                                          f"not {code}\n{talk}")
        ran.talk = talk
        return ran

    def batch(self, *models, code=0, more=()):
        """A rank for each model."""
        self.bench.remove("out", "out.job")
        return self.run(*[["batch", "-m", m, "-i", self.source, "-o", self.out, "--chunk", 8, *more]
                          for m in models], code=code)

    def damage(self, tensor, n_bytes=64):
        """A copy in which bytes of a tensor are zeros, as written by a copy that was cut off."""
        at = self.offsets[tensor] + self.tensors[tensor] - n_bytes
        with open(self.bad, "wb") as file:
            file.write(self.bytes[:at] + bytes(n_bytes) + self.bytes[at + n_bytes:])
        return self.bad


def refused(copies, models, *said):
    ran = copies.batch(*models, code=4)
    for text in said:
        e2e.check(text in ran.talk, f"'{text}' is not said:\n{ran.talk}")
    e2e.check(not os.path.exists(copies.out), f"results were written:\n{ran.talk}")


def test_one_bad_copy(copies):
    """Each kind of tensor, on each rank that loads it, is found and named."""
    good = copies.good
    for tensor, group in [("blk.4.attn_norm.weight", "blk.4"), ("output.weight", "output")]:
        refused(copies, [good, copies.damage(tensor)], "rank 1 on ", copies.bad, f"in {group}:",
                "--sums")
    bad = copies.damage("blk.2.ffn_up.weight")
    refused(copies, [bad, good, good], "rank 1 on ", "in blk.2:")  # rank 0's own: either may be
    copies.batch(good, copies.damage("token_embd.weight"))         # which rank 1 does not load
    run = copies.run(*[["run", "-m", m, "-p", "a", "-n", 3] for m in [good, copies.damage("output.weight")]],
                     code=4)
    e2e.check(run.stdout == b"", f"run printed {run.stdout}")


def test_tied(copies):
    """An embedding that is the head, too, is compared between first and last, whoever reads what."""
    tied = copies.bench.model("tied.gguf", seed=3, layers=LAYERS, tied=True)
    with open(tied, "rb") as file:
        data = file.read()
    cut = copies.bench.write("cut.gguf", data[:-len(data) // 3])
    refused(copies, [tied, cut], "ends beyond the end of the file")
    ran = copies.run(["show", "model", tied, "--json"])
    tensors = {t["name"]: t["bytes"] for t in json.loads(ran.stdout)["tensors"]}
    at = len(data)
    for name, size in reversed(tensors.items()):
        at -= -(-size // 32) * 32
        if name == "token_embd.weight":
            break
    bad = copies.bench.write("bad_tied.gguf", data[:at] + bytes(64) + data[at + 64:])
    copies.bench.remove("out", "out.job")
    ran = copies.run(*[["batch", "-m", m, "-i", copies.source, "-o", copies.out, "--trust-model"]
                       for m in [tied, bad]], code=4)  # no reading is needed to see it
    e2e.check("in token_embd:" in ran.talk, ran.talk)


def test_resume(copies):
    """A copy damaged since the job began is what is wrong, not the job."""
    copies.batch(copies.good, copies.good)
    with open(copies.out, "r+b") as file:  # as if it had been stopped
        file.truncate(file.read().index(b"\n") + 1)
    words = [["batch", "-m", m, "-i", copies.source, "-o", copies.out, "--chunk", 8]
             for m in [copies.good, copies.damage("blk.5.attn_q.weight")]]
    ran = copies.run(*words, code=4)
    e2e.check("rank 1 on " in ran.talk and "in blk.5:" in ran.talk, ran.talk)


def test_other_files(copies):
    other = copies.bench.model("other.gguf", seed=3, layers=LAYERS, untied=True, ffn_type="q8_0")
    refused(copies, [copies.good, other], "rank 1 on ", "another model file than ")
    longer = copies.bench.write("longer.gguf", copies.bytes + b"more")  # of which nothing is used
    copies.batch(copies.good, longer)
    at = copies.bytes.index(b"llama.context_length") + 24
    changed = bytearray(copies.bytes)
    changed[at] ^= 64
    refused(copies, [copies.good, copies.bench.write("header.gguf", bytes(changed))], "headers differ")


def sums_of(copies, model):
    if os.path.exists(model + ".sums"):
        os.unlink(model + ".sums")
    copies.run(["show", "model", model, "--sums"])
    return model + ".sums"


def verdict(copies, *models, more=(), code=0):
    ran = copies.batch(*models, more=["--json", *more], code=code)
    return json.loads(ran.stdout)["model"], ran.talk


def test_sums(copies):
    good, sums = copies.good, sums_of(copies, copies.good)
    printed = copies.run(["show", "model", good, "--sums"])  # compares
    with open(sums, "rb") as file:
        text = file.read()
    e2e.check(printed.stdout == text and "is as" in printed.talk, printed.talk)
    whole = json.loads(copies.run(["show", "model", good, "--sums", "--json"]).stdout)
    e2e.check(len(whole["sums"]) == LAYERS + 3 and whole["model"].encode() in text, whole)

    bad = copies.damage("blk.1.attn_q.weight")
    shutil.copy(sums, bad + ".sums")
    ran = copies.run(["show", "model", bad, "--sums"], code=4)
    e2e.check("blk.1 has sum" in ran.talk, ran.talk)
    refused(copies, [bad], "rank 0 on ", "in blk.1:", "bad.gguf.sums")  # one rank alone
    refused(copies, [bad, good], "rank 0 on ", "in blk.1:")
    e2e.check(verdict(copies, good, good)[0] == "verified", "with sums")
    refused(copies, [good, copies.damage("blk.5.attn_q.weight")], "rank 1 on ", "in blk.5:")

    for damaged in [text[:100], text.replace(b"blk.0 ", b"blk.0 0"), text[:-1], b"x" + text]:
        copies.bench.write("good.gguf.sums", damaged)
        refused(copies, [good], "good.gguf.sums is damaged")
    other = copies.bench.model("third.gguf", seed=3, layers=LAYERS, untied=True, ffn_type="q8_0")
    shutil.copy(sums_of(copies, other), sums)
    refused(copies, [good], "is of another model file")
    os.unlink(sums)
    os.unlink(bad + ".sums")


def test_hole(copies):
    """Rank 0's copy has a hole where rank 1's layers are: it cannot tell, FILE.sums can. A hole in what a
    rank loads itself ends the job, and sums of such a copy are not kept."""
    holed = copies.bench.path("holed.gguf")
    shutil.copy(copies.good, holed)
    at = copies.offsets["blk.5.ffn_up.weight"]
    with open(holed, "r+b") as file:
        punched = subprocess.run(["fallocate", "-p", "-o", str(at), "-l", "8192", holed],
                                 stderr=subprocess.DEVNULL).returncode == 0
        file.seek(0)
    if not punched:
        print("test_hole cannot run: no holes can be punched here")
        return
    model, talk = verdict(copies, holed, copies.good)
    e2e.check(model == "unverified" and "a hole" in talk and "model: unverified" in talk, talk)
    refused(copies, [holed], "rank 0 on ", "holed.gguf were never written", "in blk.5:", "Copy it again")
    refused(copies, [copies.good, holed], "rank 1 on ", "holed.gguf were never written", "in blk.5:")
    refused(copies, [holed, holed], "rank 1 on ", "holed.gguf were never written", "in blk.5:")
    model, talk = verdict(copies, holed, holed, more=["--trust-model"])
    e2e.check(model == "unverified" and "holed.gguf were never written" in talk, talk)
    ran = copies.run(["show", "model", holed, "--sums"], code=4)
    e2e.check("holed.gguf.sums is not written" in ran.talk and "in blk.5." in ran.talk, ran.talk)
    e2e.check(not os.path.exists(holed + ".sums") and b"\nblk.5 " in ran.stdout, "sums are printed only")
    copies.bench.write("holed.gguf.sums", ran.stdout)
    e2e.check(verdict(copies, holed, holed)[0] == "verified", "zeros that are meant")
    shutil.copy(sums_of(copies, copies.good), holed + ".sums")
    os.unlink(copies.good + ".sums")
    e2e.check(verdict(copies, holed, copies.good)[0] == "verified", "sums serve")
    refused(copies, [holed, holed], "rank 1 on ", "in blk.5:", "holed.gguf.sums")
    os.unlink(holed + ".sums")


def test_trust(copies):
    e2e.check(verdict(copies, copies.good)[0] == "verified", "one rank")
    model, talk = verdict(copies, copies.good, copies.bad, more=["--trust-model"])
    e2e.check(model == "unverified" and "model: unverified (--trust-model)" in talk, talk)


def test_changes(copies):
    """The model is written over, replaced, cut or removed while a job runs: results are of what was
    loaded, the job ends with exit code 4 and says it, on whatever rank it was."""
    slow = copies.bench.job("slow.jsonl", [e2e.completion(f"r{i}", "a", max_tokens=60, ignore_eos=True)
                                           for i in range(20 if copies.bench.args.light else 60)])
    gate = copies.bench.path("gate.gguf")
    copies.run(["train", "init", "-m", copies.good, "-o", gate])

    def job(out, model, ranks, how, *more):
        copies.bench.remove(out, out + ".job")
        path = copies.bench.path(out)
        words = ["batch", "-m", model, "-i", slow, "-o", path, "--sequences", 2, *more]
        if how is None:
            copies.run(*[words] * max(ranks, 1))
            return path, ""
        process = copies.bench.start(ranks, *words)
        began = time.monotonic()
        while not (os.path.exists(path) and os.path.getsize(path)):
            e2e.check(time.monotonic() - began < 30 and process.poll() is None,
                      f"no results:\n{copies.bench.talk()}")
            time.sleep(0.01)
        how()
        code = process.wait(timeout=60)
        e2e.check(code == 4, f"{how.__name__}: exit code {code}\n{copies.bench.talk()}")
        return path, copies.bench.talk()

    used = copies.bench.path("used.gguf")

    def fresh():
        if os.path.exists(used):
            os.unlink(used)
        shutil.copy(copies.good, used)

    def write_over():
        with open(used, "r+b") as file:
            file.write(bytes(len(copies.bytes)))

    def replace():
        shutil.copy(copies.good, used + ".new")
        os.rename(used + ".new", used)

    def cut():
        os.truncate(used, 1000)

    def remove():
        os.unlink(used)

    fresh()
    reference, _ = job("reference", used, 0, None)
    for how, ranks, said in [(write_over, 0, "was written to"), (cut, 2, "was cut"),
                             (replace, 3, "was replaced by another file"), (remove, 2, "was removed")]:
        fresh()
        path, talk = job("changed", used, ranks, how)
        e2e.check(f"used.gguf {said} while the job ran" in talk, talk)
        e2e.compare(e2e.records(reference), e2e.records(path), how.__name__)

    def touch_gate():
        os.utime(gate)

    _, talk = job("gated", copies.good, 2, touch_gate, "-g", gate, "--policy", "gate", "--keep", 0.5)
    e2e.check("gate.gguf was written to while the job ran" in talk, talk)


def body(bench):
    copies = Copies(bench)
    test_one_bad_copy(copies)
    test_tied(copies)
    test_resume(copies)
    test_other_files(copies)
    test_sums(copies)
    test_hole(copies)
    test_trust(copies)
    test_changes(copies)


e2e.main("model copies", body)
