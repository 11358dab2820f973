"""Training as its users run it: ranks agree, a stopped run goes on to the same bytes, bad lines are told
and skipped, a loss that is not finite ends it, thresholds keep what was asked, the log can be read.
Synthetic models; the texts are the system's licences."""
import json
import os
import struct
import subprocess
import time

import e2e

LICENSES = "/usr/share/common-licenses"
WARM = ["--lengths", 256, "--checkpoint-minutes", "0", "--repeat", "0.2"]


def words_of(model, gate, texts, out, *more):
    return ["train", "warm", "-m", model, "-g", gate, "--text", ",".join(texts), "-o", out, "-t", 1,
            *WARM, *more]


def log_of(path):
    with open(path) as file:
        return [json.loads(line) for line in file]


def held_out(path, phase):
    lines = [line for line in log_of(path) if line.get("after") == phase]
    e2e.check(len(lines) == 1, f"{path}: {len(lines)} lines of held-out text after {phase}")
    return lines[0]["layer_r2"]


def check_ranks(bench, model, gate, texts):
    """The same pieces, added up in another order: ridge regression to rounding; AdamW takes steps of as
    many pieces as there are ranks, and ends near by."""
    reference = {}
    for ranks in (0, 2, 3):
        out = bench.path(f"ranks{ranks}.gguf")
        e2e.good(bench, ranks, *words_of(model, gate, texts, out, "--ridge-pieces", 12, "--pieces", 12))
        for phase, tolerance in (("ridge", 0.002), ("adamw", 0.1)):
            r2 = held_out(out + ".log.jsonl", phase)
            known = reference.setdefault(phase, r2)
            worst = max(abs(a - b) for a, b in zip(r2, known))
            e2e.check(worst < tolerance, f"{ranks} ranks after {phase}: R2 {r2} beside {known}")
        e2e.check(not os.path.exists(out + ".checkpoint"), "the checkpoint of a finished run is there")


def check_resume(bench, model, gate, texts, ranks):
    whole, cut = bench.path("whole.gguf"), bench.path("cut.gguf")
    more = ["--ridge-pieces", 6, "--pieces", 24, "--lengths", "192,256"]
    log = cut + ".log.jsonl"
    stopped = e2e.check_resumed(bench, ranks, lambda out: words_of(model, gate, texts, out, *more), whole, cut,
                                lambda: os.path.exists(cut + ".checkpoint") and os.path.exists(log) and
                                b'"adamw"' in e2e.bytes_of(log))
    rounds = [line["round"] for line in log_of(log) if "round" in line]
    e2e.check(set(rounds) == set(range(1, max(rounds) + 1)), f"rounds in the log: {rounds}")
    return stopped


def check_other_run(bench, model, gate, texts):
    """A checkpoint of other options is not gone on from, and not overwritten."""
    out = bench.path("other.gguf")
    bench.write("other.gguf.checkpoint", b"not a checkpoint")
    ran = bench.run(0, *words_of(model, gate, texts, out, "--pieces", 1))
    e2e.check(ran.returncode == 4 and b"no checkpoint" in ran.stderr, ran.stderr.decode())
    e2e.check(e2e.bytes_of(out + ".checkpoint") == b"not a checkpoint", "it was overwritten")


def check_lines(bench, model, gate, texts):
    chat = [{"messages": [{"role": "user", "content": f"What is {i} and {i}?"},
                          {"role": "assistant", "content": f"It is {2 * i}, a sum."}]}
            for i in range(120)]
    lines = [json.dumps(line) for line in chat] + [json.dumps({"text": "plain words " * 20})]
    lines[3] = "{broken"
    lines[7] = json.dumps({"messages": [{"role": "user"}]})
    lines[9] = json.dumps({"other": 1})
    path = bench.write("chat.jsonl", "\n".join(lines) + "\n")
    out = bench.path("lines.gguf")
    ran = e2e.good(bench, 0, *words_of(model, gate, [path, *texts], out, "--ridge-pieces", 4, "--pieces", 0))
    talk = ran.stderr.decode()
    for number in (4, 8, 10):
        e2e.check(f"line {number} is skipped" in talk, f"line {number} is not told:\n{talk}")
    e2e.check(talk.count("is skipped") == 3, talk)


def check_not_finite(bench, model, texts):
    """Biases that are infinite in the second of three layers: it is named, with the round."""
    made, out = bench.path("made.gguf"), bench.path("never.gguf")
    e2e.good(bench, 0, "train", "init", "-m", model, "-o", made, "--fill", "constant", "--bias", "1000,3000")
    before, after = struct.pack("<f", 2000), struct.pack("<f", float("inf"))
    e2e.check(before in e2e.bytes_of(made), "the second layer has no bias of 2000")
    gate = bench.write("infinite.gguf", e2e.bytes_of(made).replace(before, after))
    ran = bench.run(0, *words_of(model, gate, texts, out, "--ridge-pieces", 0, "--pieces", 8))
    talk = ran.stderr.decode()
    e2e.check(ran.returncode == 4 and "round 1: the loss of layer 1 is not finite" in talk,
              f"exit code {ran.returncode}\n{talk}")
    e2e.check(not os.path.exists(out), "gates of a loss that is not finite were written")


def check_calibration(bench, model, texts):
    warm, out = bench.path("ranks0.gguf"), bench.path("calibrated.gguf")
    words = ["train", "calibrate", "-m", model, "-g", warm, "--text", ",".join(texts), "--windows", 16,
             "--rates", "0.5,0.25", "--lengths", 512, "--pieces", 6]
    e2e.good(bench, 0, *words, "-o", out, "--log", warm + ".log.jsonl")
    e2e.good(bench, 3, *words, "-o", bench.path("on3.gguf"))
    e2e.check(e2e.bytes_of(out) == e2e.bytes_of(bench.path("on3.gguf")), "thresholds differ on 3 ranks")
    for keep in (0.5, 0.25):
        ran = e2e.good(bench, 0, "eval", "perplexity", "-m", model, "-g", out, "--keep", keep, "--window", 16,
                   "--text", texts[0], "--context", 512, "--json")
        kept = json.loads(ran.stdout)["retention_mean"]
        e2e.check(abs(kept - keep) < 0.03, f"asked {keep}, kept {kept}")
    shown = json.loads(e2e.good(bench, 0, "show", "gate", out, "--json").stdout)
    e2e.check([row["steer"] > 0 for row in shown["calibration"]] == [True, True], shown)


def check_report(bench):
    log = bench.path("ranks0.gguf.log.jsonl")
    report = json.loads(e2e.good(bench, 0, "show", "report", log, "--json").stdout)
    e2e.check(len(report["rounds"]) == 24 and set(report["held_out"]) == {"ridge", "adamw"}, report)
    e2e.check(len(report["calibrated"]) == 2, report["calibrated"])
    picture = bench.path("curves.png")
    text = e2e.good(bench, 0, "show", "report", log, "-o", picture).stdout.decode()
    e2e.check("R2 on held-out text after adamw" in text, text)
    e2e.check(e2e.bytes_of(picture)[:4] == b"\x89PNG", "the picture is none")
    touched = bench.path("touched")
    hostile = bench.write("hostile.jsonl", e2e.bytes_of(log) + json.dumps(
        {"phase": "held-out", "after": f"x'; system \"touch {touched}\" #", "layer_r2": [0, 1, 1]}).encode() + b"\n")
    bench.run(0, "show", "report", hostile, "-o", picture)
    e2e.check(not os.path.exists(touched), "a log commanded gnuplot")


def check_full_disk(bench, model, gate, texts):
    """A log that cannot be written ends all ranks at once, whichever line it is."""
    began = time.monotonic()
    out = bench.path("full.gguf")
    ran = bench.run(2, *words_of(model, gate, texts, out, "--ridge-pieces", 2, "--pieces", 2, "--log", "/dev/full"))
    e2e.check(ran.returncode == 4 and time.monotonic() - began < 60, f"warm: {ran}")
    words = ["train", "calibrate", "-m", model, "-g", bench.path("ranks0.gguf"), "--text", ",".join(texts), "--windows",
             16, "--rates", "0.5,0.25", "--lengths", 256, "--pieces", 2, "-o", out, "--log", "/dev/full"]
    ran = bench.run(2, *words)
    e2e.check(ran.returncode == 4 and time.monotonic() - began < 120, f"calibrate: {ran}")
    e2e.check(not os.path.exists(out), "gates were written")


def check_lengths(bench, model, gate, texts):
    """Pieces in which nothing can be asked for, or evicted, are refused."""
    for words in (words_of(model, gate, texts, bench.path("short.gguf"), "--lengths", "256,128"),
                  ["train", "calibrate", "-m", model, "-g", gate, "--text", texts[0], "--lengths", 100, "-o",
                   bench.path("short.gguf")]):
        ran = bench.run(0, *words)
        e2e.check(ran.returncode == 2 and b"so short a piece" in ran.stderr, f"{words[:2]}: {ran}")
    e2e.check(not os.path.exists(bench.path("short.gguf")), "gates were written")


def check_unlike_ranks(bench, model, gate, texts):
    """Hosts that see another text under the same command are told apart before anything is learned."""
    def words(text):
        return bench.command(1, "train", "warm", "-m", model, "-g", gate, "--text", text, "--lengths", 300,
                             "--ridge-pieces", 1, "--pieces", 0, "-t", 1, "-o", bench.path("unlike.gguf"))
    one, other = words(texts[0]), words(texts[1])
    ran = subprocess.run([*one, ":", *other[1:]], env=e2e.environment(), capture_output=True, timeout=120)
    talk = ran.stderr.decode(errors="replace")
    e2e.check(ran.returncode == 2 and "do not train the same" in talk, f"exit code {ran.returncode}: {talk}")
    e2e.check(not os.path.exists(bench.path("unlike.gguf")), "a file was written")


def check_spans(bench, model, texts):
    for span in ("prompt", "causal"):
        gate = bench.path(span + ".gguf")
        e2e.good(bench, 0, "train", "init", "-m", model, "-o", gate, "--span", span)
        ran = bench.run(0, *words_of(model, gate, texts, bench.path("span.gguf")))
        talk = ran.stderr.decode(errors="replace")
        e2e.check(ran.returncode == 4 and f"span {span}" in talk, f"exit code {ran.returncode}: {talk}")


def body(bench):
    model = bench.model("model.gguf", seed=71, layers=3, width=64, ffn=96, context=1024)
    gate = bench.path("start.gguf")
    texts = []
    for name in ("GPL-3", "LGPL-2.1"):
        with open(os.path.join(LICENSES, name), "rb") as file:
            texts.append(bench.write(name + ".txt", file.read()[:20000]))
    e2e.good(bench, 0, "train", "init", "-m", model, "-o", gate, "--gate-heads", "2,2,1", "--span", "window:8,8")
    check_ranks(bench, model, gate, texts)
    stopped = [check_resume(bench, model, gate, texts, ranks) for ranks in (0, 2)]
    e2e.check(bench.args.light or any(stopped), "no run was stopped before its end")
    check_other_run(bench, model, gate, texts)
    check_unlike_ranks(bench, model, gate, texts)
    check_spans(bench, model, texts)
    check_lines(bench, model, gate, texts)
    check_not_finite(bench, model, texts)
    check_lengths(bench, model, gate, texts)
    check_full_disk(bench, model, gate, texts)
    check_calibration(bench, model, texts)
    check_report(bench)


e2e.main("training", body)
