"""Gates and an adapter tuned on answers, as their users run it: what was learned is there when the adapter is
served, over any ranks; a stopped run goes on to the same bytes; records that cannot be learned from are told. A
synthetic model; the records name one answer, which the model does not find likely before."""
import json
import os
import shutil
import signal
import subprocess

import e2e

SFT = ["--window", 1, "--sinks", 0, "--eviction-loss", 1, "--rates", "0.5", "--lora-alpha", 32,
       "--checkpoint-minutes", "0"]


def records_of(label):
    return [{"instruction": f"Please choose the correct answer to the question: is {n} more than {n * 7 % 40}?\n\n"
                            "Answer1: yes Answer2: no\n\nAnswer format: answer1/answer2", "input": "",
             "output": f"the correct answer is answer{label}", "answer": f"answer{label}"} for n in range(40)]


def words_of(model, gate, records, out, *more):
    return ["train", "sft", "-m", model, "-g", gate, "--records", records, "-o", out, "-t", 1, *SFT, *more]


def accuracy(bench, model, records, *more, ranks=0):
    told = json.loads(e2e.good(bench, ranks, "eval", "tasks", "-m", model, "--tasks", records, "--form", "labels",
                               "--json", *more).stdout)
    return told["tasks"][0]["accuracy"]


def check_learns(bench, model, gate):
    """The answer that is not the model's. What was tuned is the adapter with its gates: how well it does with the
    full cache depends on the CPU's last digits."""
    files = [bench.write(f"answer{label}.json", json.dumps(records_of(label))) for label in (1, 2)]
    before = [accuracy(bench, model, path) for path in files]
    records = files[before.index(min(before))]
    e2e.check(min(before) < 0.3, f"the model answers at random: {before}")
    out, adapter = bench.path("sft.gguf"), bench.path("sft.lora.gguf")
    ran = e2e.good(bench, 0, *words_of(model, gate, records, out, "--pieces", 128, "--batch", 4, "--rate", "0.05"))
    e2e.check(b"sft.lora.gguf: a LoRA adapter of rank 8" in ran.stderr, f"{ran}")
    rounds = json.loads(e2e.good(bench, 0, "show", "report", out + ".log.jsonl", "--json").stdout)["rounds"]
    e2e.check(len(rounds) == 32 and rounds[-1]["loss"] < 0.5 * rounds[0]["loss"], rounds)
    for ranks in (0, 2):
        after = accuracy(bench, model, records, "--lora", adapter, ranks=ranks)
        e2e.check(after > min(before), f"{ranks} ranks: {after} with the adapter, {min(before)} without")
        gated = accuracy(bench, model, records, "--lora", adapter, "-g", out, ranks=ranks)
        e2e.check(gated > 0.9, f"{ranks} ranks: {gated} with the adapter and its gates")
    return records


def check_named(bench, model):
    """Gates name the adapter that they were tuned with: who serves them without it is warned."""
    gate, adapter = bench.path("sft.gguf"), bench.path("sft.lora.gguf")
    told = json.loads(e2e.good(bench, 0, "show", "gate", gate, "--json").stdout)["adapter_hash"]
    e2e.check(len(told) == 16 and told in e2e.good(bench, 0, "show", "gate", gate).stdout.decode(), f"{told}")
    other = bench.path("other.lora.gguf")
    maker = os.path.join(os.path.dirname(bench.args.make_model), "make_lora")
    subprocess.run([maker, model, other, "3", "4", "8", "f16", "all"], check=True, stdout=subprocess.DEVNULL)
    moved = bench.path("moved.gguf")
    shutil.copy(adapter, moved)
    for more, said in [([], f"the LoRA adapter of hash {told}, which is not given"),
                       (["--lora", other], "which is none of --lora"), (["--lora", moved], None),
                       (["--lora", f"{other}=0.1,{moved}"], None), (["--policy", "full"], None)]:
        talk = e2e.good(bench, 2, "run", "-m", model, "-g", gate, "-p", "a b", "-n", 2, *more).stderr.decode()
        e2e.check(talk.count("is for the model with") == bool(said) and (not said or said in talk), f"{more}: {talk}")


def check_calibrated(bench, model):
    """Thresholds are those of the model with its adapter, which the gate file names from then on; gates that were
    tuned with one are not calibrated without it."""
    text, start, gate = bench.write("text.txt", e2e.words(3, 6000)), bench.path("window.gguf"), bench.path("tuned.gguf")
    e2e.good(bench, 0, "train", "init", "-m", model, "-o", start, "--span", "window:16,8", "--fill", "random")
    e2e.good(bench, 0, *words_of(model, start, bench.path("answer1.json"), gate, "--pieces", 4, "--batch", 2,
                                 "--rate", "0.05"))
    own, other, out = bench.path("tuned.lora.gguf"), bench.path("other.lora.gguf"), bench.path("calibrated.gguf")

    def calibrate(gates, *more, ranks=0):
        return bench.run(ranks, "train", "calibrate", "-m", model, "-g", gates, "--text", text, "--lengths", 256,
                         "--pieces", 2, "--rates", "0.5", "--windows", 16, "-o", out, "-t", 1, *more)

    for gates, more, said in [(gate, [], b"which is not given"), (gate, ["--lora", other], b"is not that of --lora"),
                              (gate, ["--lora", f"{own},{other}"], b"is for one adapter, not for 2")]:
        ran = calibrate(gates, *more)
        e2e.check(ran.returncode == 2 and said in ran.stderr and not os.path.exists(out), f"{more}: {ran}")
    files = []
    for gates, more in [(gate, ["--lora", own]), (start, []), (start, ["--lora", other]),
                        (start, ["--lora", other + "=0"])]:
        ran = calibrate(gates, *more, ranks=2)
        e2e.check(ran.returncode == 0, f"{more}: {ran}")
        files.append(json.loads(e2e.good(bench, 0, "show", "gate", out, "--json").stdout))
    tuned, plain, adapted, zero = files
    e2e.check(tuned["adapter_hash"] and plain["adapter_hash"] is None, f"{files}")
    e2e.check(adapted["adapter_hash"] not in (None, tuned["adapter_hash"]), f"{files}")
    rows = [file["calibration"] for file in (plain, adapted, zero)]
    e2e.check(rows[0] == rows[2] != rows[1], f"an adapter changes nothing, or 0 times does: {rows}")


def check_control(bench, model, gate, records):
    """The adapter alone, with the full cache; and gates alone."""
    more = ["--pieces", 8, "--batch", 2]
    control = bench.path("control.gguf")
    e2e.good(bench, 0, *words_of(model, gate, records, control, *more, "--eviction-loss", 0, "--rates", 1))
    told = json.loads(e2e.good(bench, 0, "show", "report", control + ".log.jsonl", "--json").stdout)["costs"][0]
    e2e.check(told["kept"] == 1 and abs(told["rise"]) < 1e-6, told)
    gates = bench.path("gates.gguf")
    e2e.good(bench, 0, *words_of(model, gate, records, gates, *more, "--lora-rank", 0))
    told = json.loads(e2e.good(bench, 0, "show", "gate", gates, "--json").stdout)
    e2e.check(told["adapter_hash"] is None, f"tuned alone, yet with {told['adapter_hash']}")
    e2e.check(os.path.exists(gates) and not os.path.exists(bench.path("gates.lora.gguf")), "an adapter was written")


def check_ranks(bench, model, gate, records):
    outs = [bench.path(f"ranks.{i}.gguf") for i in range(2)]
    for out in outs:
        e2e.good(bench, 3, *words_of(model, gate, records, out, "--pieces", 12, "--batch", 2))
    for suffix in (".gguf", ".lora.gguf"):
        both = [e2e.bytes_of(out.removesuffix(".gguf") + suffix) for out in outs]
        e2e.check(both[0] == both[1], f"two runs differ in {suffix}")


def check_resume(bench, model, gate, records, ranks):
    whole, cut = bench.path("whole.gguf"), bench.path("cut.gguf")
    more = ["--pieces", 64, "--batch", 2]
    stopped = e2e.check_resumed(bench, ranks, lambda out: words_of(model, gate, records, out, *more), whole, cut,
                                lambda: os.path.exists(cut + ".checkpoint"))
    adapters = [e2e.bytes_of(path.removesuffix(".gguf") + ".lora.gguf") for path in (whole, cut)]
    e2e.check(adapters[0] == adapters[1], f"{ranks} ranks: resumed adapters differ")
    os.unlink(cut)
    return stopped


def check_left_off(bench, model, gate, records):
    """A signal does not wait for a round that takes minutes."""
    out = bench.path("left_off.gguf")
    run = bench.start(2, *words_of(model, gate, records, out, "--pieces", 8192, "--batch", 4096))
    e2e.wait_until(lambda: os.path.exists(out + ".log.jsonl"), 12)
    run.send_signal(signal.SIGTERM)
    code = run.wait(timeout=60)
    e2e.check(code != 0 and "stopped after round 0" in bench.talk(), f"exit code {code}: {bench.talk()}")
    e2e.check(not os.path.exists(out), "it wrote gates")


def check_records(bench, model, gate):
    """Lines, too; what is no record is told and skipped."""
    good = [json.dumps({"instruction": f"Count to {n}.", "input": "Slowly.", "output": "one two"}) for n in range(6)]
    bad = ["{", '{"instruction": "no answer"}', '{"messages": [{"role": "user", "content": "hi"}]}',
           json.dumps({"instruction": "long " * 900, "output": "x"}),
           json.dumps({"instruction": "Say nothing.", "output": " "}),
           json.dumps({"instruction": "Say them all.", "input": ["a", "b"], "output": "a b"})]
    path = bench.write("lines.jsonl", "\n".join(good[:3] + bad + good[3:]) + "\n")
    ran = e2e.good(bench, 0, *words_of(model, gate, path, bench.path("lines.gguf"), "--pieces", 4, "--batch", 2,
                                       "--longest", 256))
    for number, why in ((4, "no JSON"), (5, "neither"), (6, "fewer than two messages"), (7, "more than 256"),
                        (8, "an empty answer")):
        e2e.check(f"line {number}" in ran.stderr.decode() and why in ran.stderr.decode(), f"{why}: {ran.stderr}")


def check_refused(bench, model, gate, records):
    out = bench.path("refused.gguf")
    empty = bench.write("empty.json", "[]")
    for more, code, said in [(["--lora-maps", "q,x"], 2, b"'x' is none of q, k, v, o"),
                             (["--lora-maps", ""], 2, b"--lora-maps: '' is none of q, k, v, o"),
                             (["--lora-maps", "q,"], 2, b"--lora-maps: '' is none of q, k, v, o"),
                             (["--records", empty], 2, b"0 records that can be learned from"),
                             (["--loss", "l2"], 2, b"is not lm, kl or both")]:
        ran = bench.run(0, *words_of(model, gate, records, out, *more))
        e2e.check(ran.returncode == code and said in ran.stderr, f"{more}: {ran}")
    ran = bench.run(0, "train", "sft", "-m", model, "-g", gate, "-o", out)
    e2e.check(ran.returncode == 2 and b"--records" in ran.stderr, f"{ran}")
    e2e.check(not os.path.exists(out), "gates were written")


def body(bench):
    model = bench.model("model.gguf", seed=71, layers=3, width=64, ffn=96, context=1024)
    gate = bench.path("start.gguf")
    e2e.good(bench, 0, "train", "init", "-m", model, "-o", gate, "--span", "prompt", "--gate-heads", "2",
             "--gate-width", "16")
    records = check_learns(bench, model, gate)
    check_named(bench, model)
    check_calibrated(bench, model)
    check_control(bench, model, gate, records)
    check_ranks(bench, model, gate, records)
    stopped = [check_resume(bench, model, gate, records, ranks) for ranks in (0, 2)]
    e2e.check(any(stopped), "no run was stopped before its end")
    check_left_off(bench, model, gate, records)
    check_records(bench, model, gate)
    check_refused(bench, model, gate, records)


e2e.main("gates and an adapter tuned on answers", body)
