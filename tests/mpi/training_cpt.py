"""Gates tuned through the model as their users run it: every loss, ranks that agree, a stopped run that goes
on to the same bytes, another run's checkpoint refused. A synthetic model; the texts are the system's
licences."""
import json
import os
import struct

import e2e

LICENSES = "/usr/share/common-licenses"
CPT = ["--lengths", "160,192", "--window", 16, "--checkpoint-minutes", "0", "--repeat", "0.2", "--rates",
       "0.5,0.25"]


def words_of(model, gate, texts, out, *more):
    return ["train", "cpt", "-m", model, "-g", gate, "--text", ",".join(texts), "-o", out, "-t", 1, *CPT, *more]


def check_losses(bench, model, gate, texts):
    """Each makes gates of its own that can be calibrated; all tell what they cost on held-out text."""
    made = set()
    for name, more in [("lm", ["--loss", "lm"]), ("kl", ["--loss", "kl"]), ("both", ["--loss", "both"]),
                       ("soft", ["--soft", "1"]),
                       ("held", ["--eviction-loss", "1", "--rates", "0.25"])]:
        out = bench.path(f"{name}.gguf")
        ran = e2e.good(bench, 0, *words_of(model, gate, texts, out, "--pieces", 4, *more))
        talk = ran.stderr.decode()
        e2e.check(talk.count("held-out text, ") == (1 if name == "held" else 2) and "perplexity" in talk,
                  f"{name}: {talk}")
        e2e.check("nan" not in talk, talk)
        made.add(e2e.bytes_of(out))
    e2e.check(len(made) == 5, "different losses made the same gates")
    e2e.good(bench, 0, "train", "calibrate", "-m", model, "-g", bench.path("lm.gguf"), "--text", ",".join(texts),
         "--windows", 16, "--rates", "0.5", "--lengths", 256, "--pieces", 2, "-o", bench.path("calibrated.gguf"))


def check_report(bench):
    log = bench.path("lm.gguf.log.jsonl")
    report = json.loads(e2e.good(bench, 0, "show", "report", log, "--json").stdout)
    e2e.check(len(report["rounds"]) == 4 and [row["keep"] for row in report["costs"]] == [0.5, 0.25], report)
    ran = e2e.good(bench, 0, "show", "report", log)
    e2e.check(b"last loss" in ran.stdout and b"% kept: perplexity" in ran.stdout and b"nan" not in ran.stdout, f"{ran}")
    e2e.check(b"skipped" not in ran.stderr, f"{ran}")


def check_paper(bench, model, texts):
    """Gates that read a prompt as one piece, tuned by the paper's objective alone, keep what they say at
    their own threshold; what training tells of held-out text is what eval measures of it."""
    piece = 256
    start, out = bench.path("prompt.gguf"), bench.path("paper.gguf")
    ids = bench.run(0, "tokenize", "-m", model, stdin=e2e.bytes_of(texts[0])).stdout.split()[:2 * piece]
    text, held_out = bench.path("two_pieces.txt"), bench.path("held_out.txt")
    for path, tokens in ((text, ids), (held_out, ids[piece:])):
        said = bench.run(0, "tokenize", "-m", model, "--decode", stdin=b" ".join(tokens)).stdout
        bench.write(path, said)
    e2e.good(bench, 0, "train", "init", "-m", model, "-o", start, "--span", "prompt", "--gate-heads", "2",
             "--gate-width", "16")
    ran = e2e.good(bench, 0, "train", "cpt", "-m", model, "-g", start, "--text", text, "-o", out, "-t", 1,
                   "--lengths", piece, "--repeat", 0, "--pieces", 6, "--rates", "0.5", "--rates-each", 1,
                   "--eviction-loss", 3, "--rate", 0.05)
    e2e.check(b"trained gates, which keep" in ran.stderr and b"calibrate" not in ran.stderr, f"{ran}")
    told = json.loads(e2e.good(bench, 0, "show", "report", out + ".log.jsonl", "--json").stdout)["costs"][0]
    measured = [json.loads(e2e.good(bench, 0, "eval", "perplexity", "-m", model, *words, "--text", held_out,
                                    "--context", piece, "--json").stdout)
                for words in (["--policy", "full"], ["-g", out])]
    e2e.check(all(row["tokens"] == piece // 2 for row in measured), measured)
    rise = measured[1]["perplexity"] / measured[0]["perplexity"] - 1
    kept = 2 * measured[1]["retention_mean"] - 1  # the other half of the text is kept
    e2e.check(0.05 < kept < 0.95 and abs(kept - told["kept"]) < 0.02, f"{kept} measured, told {told}")
    e2e.check(abs(rise - told["rise"]) < 0.1 * abs(rise) + 1e-3, f"{rise} measured, told {told}")


def check_not_finite(bench, model, texts):
    """A bias that is infinite: neither a step nor a file."""
    made, out = bench.path("made.gguf"), bench.path("never.gguf")
    e2e.good(bench, 0, "train", "init", "-m", model, "-o", made, "--fill", "constant", "--bias", "1000,3000")
    before, after = struct.pack("<f", 2000), struct.pack("<f", float("nan"))
    e2e.check(before in e2e.bytes_of(made), "the second layer has no bias of 2000")
    gate = bench.write("nan.gguf", e2e.bytes_of(made).replace(before, after))
    for ranks in (0, 2):
        ran = bench.run(ranks, *words_of(model, gate, texts, out, "--pieces", 4))
        talk = ran.stderr.decode(errors="replace")
        e2e.check(ran.returncode == 4 and "is not finite" in talk, f"exit code {ran.returncode}\n{talk}")
        e2e.check(not os.path.exists(out) and not os.path.exists(out + ".checkpoint"), "something was written")


def check_ranks(bench, model, gate, texts):
    """As many pieces a step as there are ranks; the same command gives the same bytes."""
    for ranks in (2, 3):
        outs = [bench.path(f"ranks{ranks}.{i}.gguf") for i in range(2)]
        for out in outs:
            e2e.good(bench, ranks, *words_of(model, gate, texts, out, "--pieces", 6))
            e2e.check(not os.path.exists(out + ".checkpoint"), "the checkpoint of a finished run is there")
        e2e.check(e2e.bytes_of(outs[0]) == e2e.bytes_of(outs[1]), f"{ranks} ranks: two runs differ")


def check_resume(bench, model, gate, texts, ranks):
    whole, cut = bench.path("whole.gguf"), bench.path("cut.gguf")
    more = ["--pieces", 24]
    stopped = e2e.check_resumed(bench, ranks, lambda out: words_of(model, gate, texts, out, *more), whole, cut,
                                lambda: os.path.exists(cut + ".checkpoint"))
    os.unlink(cut)
    return stopped


def check_refused(bench, model, gate, texts):
    out = bench.path("refused.gguf")
    for more, said in [(["--loss", "l2"], b"is not lm, kl or both"),
                       (["--rates-each", 3], b"--rates-each 3"),
                       (["--lengths", "192,64", "--window", 100], b"so short a piece"),
                       (["--type", "q4_0"], b"is not q8_0 or f16"), (["--soft", "1e-9"], b"--soft 1e-09"),
                       (["--eviction-loss", 1], b"--eviction-loss holds one rate")]:
        ran = bench.run(0, *words_of(model, gate, texts, out, *more))
        e2e.check(ran.returncode == 2 and said in ran.stderr, f"{more}: {ran}")
    bench.write("refused.gguf.checkpoint", b"not a checkpoint")
    ran = bench.run(0, *words_of(model, gate, texts, out))
    e2e.check(ran.returncode == 4 and b"no checkpoint" in ran.stderr, f"{ran}")
    e2e.check(e2e.bytes_of(out + ".checkpoint") == b"not a checkpoint", "it was overwritten")
    e2e.check(not os.path.exists(out), "gates were written")


def body(bench):
    model = bench.model("model.gguf", seed=71, layers=3, width=64, ffn=96, context=1024)
    gate = bench.path("start.gguf")
    e2e.good(bench, 0, "train", "init", "-m", model, "-o", gate, "--span", "window:8,24", "--gate-heads", "2",
         "--gate-width", "16")
    texts = [os.path.join(LICENSES, name) for name in ("GPL-3", "Apache-2.0")]
    check_losses(bench, model, gate, texts)
    check_report(bench)
    check_paper(bench, model, texts)
    check_not_finite(bench, model, texts)
    check_ranks(bench, model, gate, texts)
    stopped = [check_resume(bench, model, gate, texts, ranks) for ranks in (0, 2, 2)]
    e2e.check(any(stopped), "no run was stopped before its end")
    check_refused(bench, model, gate, texts)


e2e.main("gates tuned through the model", body)
