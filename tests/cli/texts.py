"""Text of others through every command: prompts, names of files, what a model's file, its vocabulary, hosts,
questions, logs and reports say. No byte of it becomes a command, a format, a terminal's escape or the name of
a file; what is drawn of it is what it was."""
import json
import os
import pty
import re
import shutil
import struct
import sys
import xml.dom.minidom

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "mpi"))
import e2e  # noqa: E402

# What commands a terminal, C1 both as UTF-8 and as a byte, and what turns the direction of writing.
ESCAPES = b"\x1b]0;owned\x07\x1b[31m\xc2\x9b31m\x9b31m\xe2\x80\xae\x7f\r\x08"
COMMAND = b'`>owned1`$(>owned2)";system(">owned3")#\'|>owned4 %s%n%100000d @x {/Symbol a}&<b>\\ EOD'
UNSAFE = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


class Place:
    """A folder in which every command runs, so that a command in a text would leave its file there."""

    def __init__(self, bench):
        self.bench = bench
        self.folder = bench.path("here")
        os.mkdir(self.folder)
        self.plain = bench.model("plain.gguf", seed=9, layers=2, width=64, ffn=96, context=1024)
        with open(self.plain, "rb") as file:
            model = file.read()
        # Of the same length, so that nothing else moves; and a token that is text, not control.
        key = b"tokenizer.ggml.token_type"
        kind_at = model.index(key) + len(key) + 4 + 4 + 8 + 4
        e2e.check(model[kind_at:kind_at + 4] == b"\3\0\0\0", "<|im_start|> is elsewhere")
        model = model[:kind_at] + b"\4" + model[kind_at + 1:]
        self.vocabulary = bench.write("vocabulary.gguf", model.replace(b"<|im_start|>", b"`>owned5  ` "))
        name = b"\x1b[2J\x9b31m`"
        e2e.check(b"synthetic" in model, "the model has another name")
        self.named = bench.write("named.gguf", model.replace(b"synthetic", name))

    def run(self, code, *words, stdin=b"", ranks=0, json_out=False):
        ran = self.bench.run(ranks, *words, stdin=stdin, cwd=self.folder, seconds=120)
        told = ran.stderr if json_out else ran.stdout + ran.stderr
        what = f"{words}: {told!r}"
        e2e.check(ran.returncode == code, f"exit code {ran.returncode}, not {code}: {what}")
        e2e.check(not UNSAFE.search(told.decode(errors="surrogateescape")), f"unsafe text: {what}")
        self.check_no_command(what)
        return ran

    def check_no_command(self, what):
        found = [n for n in os.listdir(os.fsencode(self.folder)) if n.startswith(b"owned")]
        e2e.check(not found, f"a text became a command, {found}: {what}")

    def file(self, name, data):
        path = os.path.join(os.fsencode(self.folder), name)
        with open(path, "wb") as file:
            file.write(data)
        return os.fsdecode(name)


def labels_of(path):
    document = xml.dom.minidom.parse(path)
    return ["".join(part.data for part in node.childNodes if part.nodeType == part.TEXT_NODE)
            for node in document.getElementsByTagName("text")]


def test_pictures(place):
    prompt = COMMAND + b"\nEOD\n" + ESCAPES
    source = place.file(b"prompt.txt", prompt)
    words = ["show", "cache", "--policy", "streaming", "--window", 4, "--format", "svg"]
    place.run(0, *words, "-m", place.plain, "-f", source, "-o", "plain")
    labels = labels_of(os.path.join(place.folder, "plain.svg"))
    drawn = "".join(labels).replace(" ", "")
    for piece in ['`>owned1`$(>owned2)";system(">owned3")#\'|>owned4%s%n%100000d@x{/Symbola}&<b>\\EOD\u21b5EOD']:
        e2e.check(piece in drawn, f"'{piece}' is not drawn: {drawn}")
    place.run(0, *words, "-m", place.vocabulary, "-p", "`>owned5  ` a `>owned5  ` ", "-o", "vocabulary")
    labels = labels_of(os.path.join(place.folder, "vocabulary.svg"))
    e2e.check(labels.count("`>owned5  ` ") == 2, f"a piece of the vocabulary: {labels}")
    for name in [b"a`>owned6`", b"|>owned7; #", b"'\n!>owned8\n'", b'"; system ">owned9" #', b"~", ESCAPES, b"%s%n",
                 b"\xff\xfe"]:
        for kind in ("svg", "png"):
            place.run(0, *words[:-1], kind, "-m", place.plain, "-p", "a b c d e f g h", "-o", os.fsdecode(name),
                      "--layers", "0")
            for end in (b".", b".maps."):
                path = os.path.join(os.fsencode(place.folder), name + end + kind.encode())
                e2e.check(os.path.getsize(path) > 1000, f"no picture {path}")
    place.run(4, *words, "-m", place.plain, "-p", "a b c d e f g h", "-o", "nowhere/`>owned1`")


def test_curves(place):
    lines = [{"phase": "ridge", "round": 1, "loss": 2.5, "r2": 0.5, "tokens": 5, "seconds": 1},
             {"phase": "held-out", "after": "ridge", "layer_r2": [-3e11, -3e300, 0.25] + [-3e11] * 20},
             {"phase": "held-out", "after": os.fsdecode(COMMAND), "layer_r2": [0, 1]},
             {"phase": "calibrate", "keep": "`>owned1`", "window": "\x1b", "layer_retention": [0.5, "`>owned1`"]}]
    log = place.file(b"log`>owned1`\x1b[31m.jsonl", "".join(json.dumps(l) + "\n" for l in lines).encode()
                     + b"\x1b[31m\n")
    ran = place.run(0, "show", "report", log)
    e2e.check(b"line 3 is skipped" in ran.stderr and b"\\x1b[31m.jsonl" in ran.stderr, ran)
    if shutil.which("gnuplot"):
        place.run(0, "show", "report", log, "-o", "|>owned2 #.svg")
        e2e.check(labels_of(os.path.join(place.folder, "|>owned2 #.svg")), "no curves")
    place.run(0, "show", "report", log, "--json", json_out=True)


def string(data):
    return struct.pack("<Q", len(data)) + data


def test_show(place):
    hostile = ESCAPES + COMMAND
    other = b"GGUF" + struct.pack("<IQQ", 3, 1, 3) \
        + string(b"general.architecture") + struct.pack("<I", 8) + string(hostile) \
        + string(hostile) + struct.pack("<I", 8) + string(hostile * 3) \
        + string(b"\xc3\xa9" * 60) + struct.pack("<I", 8) + string(b"a" + b"\xe6\xb0\xb4" * 60) \
        + string(hostile * 100) + struct.pack("<IQIQ", 1, 4, 0, 0)
    other += b"\0" * (-len(other) % 32 + 64)
    name = place.file(b"other\x1b[31m`>owned1`.gguf", other)
    ran = place.run(0, "show", "model", name)
    e2e.check(b"\\x1b]0;owned\\x07" in ran.stdout and "\u6c34...".encode() not in ran.stdout
              and b"other\\x1b[31m`" in ran.stdout, f"show model: {ran.stdout!r}")
    place.run(0, "show", "model", place.named)
    gate = "gate\x1b[31m.gguf"
    ran = place.run(0, "train", "init", "-m", place.named, "-o", gate)
    e2e.check(b"layers of '\\x1b[2J\\x9b31m`'" in ran.stderr, f"train init: {ran.stderr!r}")
    ran = place.run(0, "show", "gate", gate)
    e2e.check(b"'\\x1b[2J\\x9b31m`'" in ran.stdout, f"show gate: {ran.stdout!r}")
    for words in [["show", "gate", name], ["run", "-m", name, "-p", "a"], ["tokenize", "-m", name],
                  ["train", "init", "-m", name, "-o", "x.gguf"], ["plan", "-m", name]]:
        place.run(2 if words[0] == "plan" else 4, *words)


def test_names(place):
    """Options, names of files, hosts: what errors and tables quote."""
    hostile = os.fsdecode(ESCAPES + COMMAND)
    job = place.file(b"job", b'{"custom_id": "a", "url": "/v1/completions", "body": {"prompt": "a"}}\n')
    for words in [[hostile], ["run", "--" + hostile], ["run", hostile], ["run", "-\x1b"], ["batch", "-t", hostile],
                  ["show", hostile, hostile], ["run", "-m", place.plain, "-p", "a", "--kv", hostile],
                  ["batch", "--codec", hostile, "-m", place.plain, "-i", job, "-o", "out"],
                  ["eval", "tasks", "-m", place.plain, "--form", hostile, "--tasks", "x"],
                  ["train", "init", "-m", place.plain, "-o", "g", "--span", hostile],
                  ["run", "-m", place.plain, "-p", "a", "--policy", hostile]]:
        place.run(2, *words)
    for words in [["run", "-p", "a", "-m"], ["run", "-m", place.plain, "-f"], ["show", "model"], ["show", "gate"],
                  ["show", "report"], ["plan", "-m", place.plain, "--hosts"],
                  ["eval", "perplexity", "-m", place.plain, "--text"], ["eval", "tasks", "-m", place.plain, "--tasks"]]:
        place.run(4, *words, hostile.replace("/", ""))
    hosts = place.file(b"hosts\x1b", b"node\x1b[31m\xc2\x9b slots=1\nother`>owned1`%s%n\n")
    ran = place.run(0, "plan", "-m", place.plain, "--hosts", hosts, "--context", 100)
    e2e.check(b"node\\x1b[31m" in ran.stdout and b"other`>owned1`%s" in ran.stdout, f"plan: {ran.stdout!r}")
    place.run(4, "plan", "-m", place.plain, "--hosts", place.file(b"wrong", b"node " + ESCAPES + b"\n"))
    copy = place.file(b"copy\x1b[31m.gguf", open(place.plain, "rb").read())
    place.run(0, "bench", "codec", "-m", copy)


def test_answers(place):
    """Questions, rows of a bench, and jobs."""
    hostile = os.fsdecode(COMMAND) + "\x1b[31m\u009b\u202e"
    record = {"instruction": f"question: {hostile}?\n\nAnswer format: true/false", "output": "so true", "answer": "true"}
    tasks = place.file(b"tasks\x1b[31m.json", json.dumps([record, {}, record]).encode())
    place.run(0, "eval", "tasks", "-m", place.plain, "--tasks", tasks)
    row = {"test": "\x1b[31m" + hostile, "n": 1, "depth": 0, "tok_s": 1.5, "tok_s_all": [1, 2]}
    rows = place.file(b"rows.json", json.dumps({"rows": [row], "machine": hostile}).encode())
    other = place.file(b"other.json", json.dumps({"rows": [row], "machine": "\x1b"}).encode())
    place.run(0, "bench", "--compare", rows, other)
    place.run(4, "bench", "--compare", place.file(b"none\x1b.json", b"{\x1b"), other)
    bodies = [{"custom_id": hostile, "method": hostile, "url": "/v1/completions", "body": {"prompt": hostile}},
              {"custom_id": "b" + hostile, "method": "POST", "url": hostile, "body": {}},
              {"custom_id": "c", "method": "POST", "url": "/v1/completions",
               "body": {"prompt": hostile, "max_tokens": 2, hostile: 1, "model": hostile}},
              {"custom_id": "d", "method": "POST", "url": "/v1/chat/completions",
               "body": {"messages": [{"role": hostile, "content": hostile}], "max_tokens": 1}}]
    source = place.file(b"in\x1b[31m.jsonl", "".join(json.dumps(b) + "\n" for b in bodies).encode() + b"{\x1b\n")
    place.run(3, "batch", "-m", place.plain, "-i", source, "-o", "out\x1b[31m", "-v")


def on_terminal(place, *words, stdin=b""):
    """What the command writes to a terminal."""
    source = place.file(b"typed", stdin)
    master, slave = pty.openpty()
    child = os.posix_spawn(place.bench.args.sluice, place.bench.command(0, *words), e2e.environment(),
                           file_actions=[(os.POSIX_SPAWN_OPEN, 0, os.path.join(place.folder, source), os.O_RDONLY, 0),
                                         (os.POSIX_SPAWN_DUP2, slave, 1)])
    os.close(slave)
    told = b""
    try:
        while piece := os.read(master, 4096):
            told += piece
    except OSError:  # the end of a terminal
        pass
    os.close(master)
    _, status = os.waitpid(child, 0)
    e2e.check(os.waitstatus_to_exitcode(status) == 0, f"{words}: {told!r}")
    return told.replace(b"\r\n", b"\n")


def test_terminal(place):
    """A result is the user's as it is, and to a terminal what can be shown of it."""
    text = b"one\n\ttwo " + ESCAPES + b"\xc3\xa9"
    ids = place.bench.run(0, "tokenize", "-m", place.plain, stdin=text).stdout
    whole = place.bench.run(0, "tokenize", "-m", place.plain, "--decode", stdin=ids).stdout
    e2e.check(whole == text, f"tokenize --decode: {whole!r}")
    shown = on_terminal(place, "tokenize", "-m", place.plain, "--decode", stdin=ids)
    e2e.check(shown.startswith(b"one\n\ttwo \\x1b]0;owned\\x07") and shown.endswith(b"\xc3\xa9")
              and not UNSAFE.search(shown.decode()), f"on a terminal: {shown!r}")
    words = ["run", "-m", place.plain, "-p", "a", "-n", 200, "--temperature", 2, "--quiet"]
    spoken = place.bench.run(0, *words).stdout
    shown = on_terminal(place, *words)
    e2e.check(UNSAFE.search(spoken.decode()), "the model says nothing that matters here: another seed")
    e2e.check(not UNSAFE.search(shown.decode()) and b"\\x" in shown, f"run on a terminal: {shown!r}")
    shown = on_terminal(place, *words, "--json")
    e2e.check(not UNSAFE.search(shown.decode())
              and json.loads(shown)["text"] == json.loads(place.bench.run(0, *words, "--json").stdout)["text"],
              f"run --json on a terminal: {shown!r}")


def body(bench):
    place = Place(bench)
    test_show(place)
    test_names(place)
    test_answers(place)
    test_curves(place)
    test_terminal(place)
    if shutil.which("gnuplot"):
        test_pictures(place)


e2e.main("texts", body)
