#!/usr/bin/env python3
"""No command writes over a file that it reads, by whichever option, other name or part of a model;
and nothing is refused that only looks like it."""
import os
import shutil
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "mpi"))
import e2e  # noqa: E402


class Files:
    """A split model, one in one file, a gate, texts; what their bytes were."""

    def __init__(self, bench):
        self.bench = bench
        shape = {"seed": 5, "layers": 2, "width": 96, "ffn": 160, "context": 512}
        self.model = bench.model("model.gguf", **shape)
        bench.model("split.gguf", split=2, **shape)
        self.part, self.other = (bench.path(f"split-0000{i}-of-00002.gguf") for i in (1, 2))
        self.gate = bench.path("gate.gguf")
        self.text = bench.write("text.txt", e2e.words(3, 2000))
        self.requests = bench.job("in.jsonl", [e2e.completion("a", "a b", max_tokens=2)])
        self.run("train", "init", "-m", self.model, "-o", self.gate)
        self.read = [self.model, self.part, self.other, self.gate, self.text, self.requests]
        self.bytes = self.all_bytes()

    def all_bytes(self):
        found = []
        for path in self.read:
            with open(path, "rb") as file:
                found.append(file.read())
        return found

    def run(self, *words, code=0):
        ran = self.bench.run(0, *words, cwd=self.bench.folder)
        talk = ran.stderr.decode(errors="replace")
        e2e.check(ran.returncode == code, f"{words}: exit code {ran.returncode}, not {code}\n{talk}")
        return talk

    def refuse(self, said, *words):
        talk = self.run(*words, code=2)
        e2e.check(said in talk, f"{words}: '{said}' is not said:\n{talk}")
        e2e.check(self.all_bytes() == self.bytes, f"{words}: was refused, yet wrote over a file")


def test_parts(files):
    """The second part is found only where the model is opened."""
    said, model = f"-m {files.other} is the file of ", ["-m", files.part]
    learn = [*model, "-g", files.gate, "--text", files.text]
    files.refuse(said + "-o", "train", "init", *model, "-o", files.other)
    files.refuse(said + "-o", "train", "calibrate", *learn, "-o", files.other)
    files.refuse(said + "--log", "train", "calibrate", *learn, "-o", "new.gguf", "--log", files.other)
    files.refuse(said + "-o", "train", "warm", *learn, "-o", files.other)
    files.refuse(said + "--checkpoint", "train", "warm", *learn, "-o", "new.gguf", "--checkpoint",
                 files.other)
    files.refuse(said + "--keep-out", "eval", "perplexity", *model, "--text", files.text, "--context", 64,
                 "--keep-out", files.other)
    files.refuse(said + "-o", "batch", *model, "-i", files.requests, "-o", files.other, "--restart")
    files.run("train", "init", *model, "-o", "new.gguf")


def test_options(files):
    link = files.bench.path("link.gguf")
    os.symlink(files.model, link)
    learn = ["-m", files.model, "-g", files.gate]
    files.refuse(f"-m {files.model} is the file of -o {link}", "train", "init", "-m", files.model, "-o", link)
    files.refuse(f"--text {files.text} is the file of --log", "train", "warm", *learn, "--text",
                 f"{files.requests},{files.text}", "-o", "new.gguf", "--log", files.text)
    files.refuse(f"-g {files.gate} is the file of --checkpoint", "train", "warm", *learn, "--text", files.text,
                 "-o", files.gate, "--checkpoint", files.gate)
    files.refuse(f"--text {files.text} is the file of --keep-out", "eval", "perplexity", "-m", files.model,
                 "--text", files.text, "--keep-out", files.text)
    for option, path in [("-m", files.model), ("-i", files.requests), ("-g", files.gate)]:
        words = ["batch", "-m", files.model, "-g", files.gate, "-i", files.requests]
        files.refuse(f"{option} {path} is the file of -o", *words, "-o", path)
        shutil.copy(path, files.bench.path("out.job"))
        words[words.index(option) + 1] = "out.job"
        files.refuse("out.job is the file out.job, which -o out writes, too", *words, "-o", "out",
                     "--restart")
        os.unlink(files.bench.path("out.job"))


def test_second(files):
    """The adapter of train sft lies beside its gates."""
    learn = ["train", "sft", "-g", files.gate, "--records", files.requests]
    for option, path in [("-m", files.model), ("--records", files.requests), ("-g", files.gate)]:
        os.symlink(path, files.bench.path("out.lora.gguf"))
        words = ["-m", files.model, *learn[2:]]
        files.refuse(f"{option} {path} is the file out.lora.gguf, which -o out.gguf writes, too", *learn[:2], *words,
                     "-o", "out.gguf")
        os.unlink(files.bench.path("out.lora.gguf"))
    os.symlink(files.other, files.bench.path("out.lora.gguf"))
    files.refuse(f"-m {files.other} is the file out.lora.gguf", *learn, "-m", files.part, "-o", "out")
    os.unlink(files.bench.path("out.lora.gguf"))


def test_likenesses(files):
    """A comma in a name is no list where there is no list; names of pictures are longer than -o."""
    files.bench.write("a,kept.npy,b", e2e.words(4, 300))
    kept = files.bench.write("kept.npy", "old")
    files.run("eval", "perplexity", "-m", files.model, "--text", "a,kept.npy,b", "--context", 64, "--keep-out",
              kept)
    files.run("train", "calibrate", "-m", files.model, "-g", files.gate, "--text", files.text, "--lengths", 256,
              "--pieces", 1, "-o", files.gate)  # in its place
    if shutil.which("gnuplot"):
        prompt = files.bench.write("prompt", "a b c d")
        files.run("show", "cache", "-m", files.model, "-f", prompt, "--policy", "streaming", "-o", prompt)


def body(bench):
    files = Files(bench)
    for test in [test_parts, test_options, test_second, test_likenesses]:
        test(files)
        print(f"{test.__name__[5:]}: passed", flush=True)


e2e.main("written", body)
