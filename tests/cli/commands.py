"""The command line, each command alone and on two ranks: exit codes, help, what is refused and why,
stdout for results (printed once) and stderr for talk."""
import itertools
import json
import shutil
import struct
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "mpi"))
import e2e  # noqa: E402

COMMANDS = ["batch", "run", "plan", "eval perplexity", "eval agreement", "eval tasks", "eval needle",
            "eval ruler", "train init", "train warm", "train cpt", "train calibrate", "show", "show cache", "bench", "bench codec",
            "bench link", "bench figure3", "tokenize"]
LAYERS = 3


class Tool:
    """`sluice` alone (ranks 0) or on ranks."""

    def __init__(self, bench, ranks):
        self.bench, self.ranks = bench, ranks
        self.model = bench.path("model.gguf")

    def run(self, code, *words, **more):
        """Expect this exit code; an error must say something and print nothing."""
        ran = self.bench.run(self.ranks, *words, **more)
        what = f"ranks {self.ranks}: sluice {' '.join(map(str, words))}"
        talk = ran.stderr.decode(errors="replace")
        e2e.check(ran.returncode == code,
                  f"{what}: exit code {ran.returncode}, not {code}\n{talk}")
        if code not in (0, 3):
            e2e.check(not ran.stdout, f"{what}: an error, yet on stdout: {ran.stdout[:200]!r}")
            e2e.check("error: " in talk or "Try `sluice " in talk,
                      f"{what}: no error is said:\n{talk}")
        return ran.stdout, talk, what

    def refuse(self, code, said, *words, **more):
        _, talk, what = self.run(code, *words, **more)
        e2e.check(said in talk, f"{what}: '{said}' is not said:\n{talk}")

    def json(self, *words, **more):
        out, _, what = self.run(0, *words, "--json", **more)
        try:
            return json.loads(out)
        except ValueError as error:
            raise e2e.Failure(f"{what}: stdout is not one JSON value: {error}\n{out!r}") from error


def check_keys(value, keys, what):
    e2e.check(set(keys) <= set(value), f"{what}: lacks {set(keys) - set(value)}")


def check_report(report, ranks):
    check_keys(report, ["requests", "failed", "prompt_tokens", "generated_tokens", "seconds",
                        "tok_s", "ranks"], "report")
    e2e.check(len(report["ranks"]) == max(ranks, 1), f"report of {len(report['ranks'])} ranks")
    for rank in report["ranks"]:
        check_keys(rank, ["compute_s", "wait_s", "wire_s", "codec_s", "bytes_sent",
                          "planned_bytes", "peak_bytes"], "a rank's report")


def test_help(tool):
    for command in COMMANDS:
        out, _, what = tool.run(0, *command.split(), "--usage")
        e2e.check(out.decode().lower().count(f"usage: sluice {command} ") == 1, f"{what}: {out!r}")
    for words in [["--help"], *([*c.split(), "--help"] for c in COMMANDS)]:
        out, talk, what = tool.run(0, *words)
        lines = out.decode().splitlines()
        e2e.check(not talk, f"{what}: on stderr: {talk}")
        e2e.check(8 <= len(lines) <= 40, f"{what}: {len(lines)} lines")
        e2e.check(max(map(len, lines)) <= 100, f"{what}: {max(map(len, lines))} columns")
        heads = [l for l in lines if l.lower().startswith("usage: sluice")]
        e2e.check(len(heads) == 1, f"{what}: usage is there {len(heads)} times")
    out, _, what = tool.run(0, "--version")
    for word in [b"sluice 0.", b"compiler ", b"Open MPI v", b"zstd "]:
        e2e.check(out.count(word) == 1, f"{what}: '{word}' is not there once: {out!r}")


def test_usage(tool):
    tool.refuse(2, "'nonsense'", "nonsense")
    tool.refuse(2, "'--nonsense'", "--nonsense")
    _, talk, what = tool.run(2, "run", "-m", tool.model, "--chunk", "0")
    e2e.check(talk.count("--chunk") == 1, f"{what}: said by more than one rank:\n{talk}")
    _, talk, what = tool.run(2, "run", "--nonsense")
    e2e.check(talk.count("--nonsense") == 1, f"{what}: said by more than one rank:\n{talk}")
    for command in COMMANDS:
        tool.refuse(2, "--nonsense", *command.split(), "--nonsense")
    tool.refuse(2, "--chunk", "batch", "-m", tool.model, "--chunk", "0")
    tool.refuse(2, "--chunk", "batch", "-m", tool.model, "--chunk", "7x")
    tool.refuse(2, "--memory", "run", "-m", tool.model, "-p", "x", "--memory", "8Q")
    tool.refuse(2, "SLUICE_CHUNK", "run", "-m", tool.model, "-p", "x", SLUICE_CHUNK="none")
    tool.refuse(2, "f32-zstd", "run", "-m", tool.model, "-p", "x", "--codec", "mp3")
    tool.refuse(2, "f16, q8_0", "run", "-m", tool.model, "-p", "x", "--kv", "q4_0")
    tool.refuse(2, "multiple of 32", "run", "-m", tool.model, "-p", "x", "--kv", "q8_0")
    tool.refuse(2, "--policy", "run", "-m", tool.model, "-p", "x", "--policy", "none")
    tool.refuse(2, "streaming, random", "run", "-m", tool.model, "-p", "x", "--policy", "none")
    tool.refuse(2, "-g FILE", "run", "-m", tool.model, "-p", "x", "--policy", "gate")
    tool.refuse(2, "--keep", "run", "-m", tool.model, "-p", "x", "--policy", "random", "--keep", 1.5)
    tool.refuse(2, "--hosts", "plan", "-m", tool.model)
    tool.refuse(2, "-o NAME", "show", "cache", "-m", tool.model, "-p", "x")
    tool.refuse(2, "window:BACK", "train", "init", "-m", tool.model, "-o", "x", "--span", "window:9")
    tool.refuse(2, "-o FILE", "train", "init", "-m", tool.model)
    tool.refuse(2, "-m", "run", "-p", "x")
    tool.refuse(2, "-p TEXT", "run", "-m", tool.model)
    tool.refuse(2, "-i", "batch", "-m", tool.model)
    tool.refuse(2, "eval perplexity", "eval", "-m", tool.model)
    tool.refuse(2, "train warm", "train")
    tool.refuse(2, "--tasks", "eval", "tasks", "-m", tool.model)
    tool.refuse(2, "--text", "eval", "needle", "-m", tool.model)
    tool.refuse(2, "--text", "eval", "ruler", "-m", tool.model, "--tasks", "copy")
    tool.refuse(2, "-g FILE", "eval", "ruler", "-m", tool.model, "--policies", "random,gate")
    tool.refuse(2, "multikey", "eval", "ruler", "-m", tool.model, "--tasks", "single,poem")
    tool.refuse(2, "--policies: 'lru'", "eval", "ruler", "-m", tool.model, "--policies", "random,lru")
    tool.refuse(2, "--tasks", "eval", "ruler", "-m", tool.model, "--tasks", ",")
    tool.refuse(2, "--text", "eval", "agreement", "-m", tool.model)
    tool.refuse(2, "--text", "eval", "perplexity", "-m", tool.model)
    tool.refuse(2, "show model", "show", tool.model)


def test_bad_files(tool):
    bench = tool.bench
    missing = bench.path("missing.gguf")
    with open(tool.model, "rb") as file:
        whole = file.read()
    cut = bench.write("cut.gguf", whole[:len(whole) // 2])
    alien = bench.write("alien.gguf", whole.replace(b"llama", b"lemur"))
    text = bench.write("text.gguf", "no model\n")
    for path, said in [(missing, "missing.gguf"), (cut, "beyond the end"), (alien, "'lemur'"),
                       (text, "GGUF")]:
        tool.refuse(4, said, "run", "-m", path, "-p", "x")
    for path, said in [(missing, "missing.gguf"), (cut, "beyond the end"), (text, "GGUF")]:
        tool.refuse(4, said, "show", "model", path)
    tool.refuse(4, "missing.gguf", "tokenize", "-m", missing)
    tool.refuse(4, "missing.txt", "run", "-m", tool.model, "-f", bench.path("missing.txt"))
    tool.refuse(4, "missing.txt", "eval", "perplexity", "-m", tool.model, "--text",
                bench.path("missing.txt"))
    tool.refuse(5, "--memory", "run", "-m", tool.model, "-p", "x", "--memory", "1M")


def test_show(tool):
    out, _, what = tool.run(0, "show", "model", tool.model)
    for word in ["GGUF v3", "general.architecture", "token_embd.weight", f"{LAYERS} layers"]:
        e2e.check(out.decode().count(word) == 1, f"{what}: '{word}' is not there once\n{out!r}")
    value = tool.json("show", "model", tool.model)
    check_keys(value, ["path", "bytes", "version", "architecture", "runnable", "tensors", "shape"], what)
    e2e.check(value["architecture"] == "llama" and value["shape"]["layer_kinds"] == [
        {"layers": list(range(LAYERS)), "rope": {"dim": 16, "base": 10000, "scaling": "none", "factor": 1}}],
              f"{what}: {value['shape']}")
    e2e.check(value["runnable"] and value["bytes"] == os.path.getsize(tool.model), what)
    e2e.check(value["shape"]["layers"] == LAYERS and value["shape"]["width"] == 96, what)
    e2e.check(any(t["name"] == "blk.0.attn_q.weight" and t["type"] == "q4_1"
                  and t["shape"] == [96, 96] for t in value["tensors"]), what)
    alien = tool.json("show", "model", tool.bench.path("alien.gguf"))
    e2e.check(not alien["runnable"], "a model of another architecture is said to be runnable")
    mixed = tool.json("show", "model", tool.bench.model("mixed.gguf", architecture="smollm3", layers=5))
    kinds = mixed["shape"]["layer_kinds"]
    e2e.check(kinds[0]["layers"] == [0, 1, 2, 4] and kinds[1] == {"layers": [3]}, f"{what}: {kinds}")
    sliding = tool.bench.model("sliding.gguf", architecture="gemma3", layers=7, window=32)
    kinds = tool.json("show", "model", sliding)["shape"]["layer_kinds"]
    e2e.check([(k.get("window"), k["layers"]) for k in kinds] == [(None, [5]), (32, [0, 1, 2, 3, 4, 6])],
              f"{what}: {kinds}")
    out, _, what = tool.run(0, "show", "model", sliding)
    e2e.check(b"6 of the layers: sliding attention to the latest 32 tokens, rope: base 10000, not scaled" in out, f"{what}: {out}")


def test_show_gate(tool):
    gate = tool.bench.path("gate.gguf")
    tool.run(0, "train", "init", "-m", tool.model, "-o", gate, "--span", "window:40,5", "--bias", "1,-1")
    out, _, what = tool.run(0, "show", "gate", gate)
    for word in ["gates for 'synthetic'", f"{LAYERS} layers, 2 KV heads, width 96", "window 40,5",
                 "expected to keep 100.0%", "not calibrated", f"  0-{LAYERS - 1} "]:
        e2e.check(out.decode().count(word) == 1, f"{what}: '{word}' is not there once\n{out!r}")
    value = tool.json("show", "gate", gate)
    check_keys(value, ["path", "bytes", "model", "sinks", "window", "threshold", "p", "keep", "layers",
                       "calibration"], what)
    e2e.check(value["bytes"] == os.path.getsize(gate) and value["p"] == 0.5, f"{what}: {value}")
    heads, inner = 3 * 16, 2
    e2e.check(value["layers"] == LAYERS * [
        {"span": "window", "back": 40, "ahead": 5, "heads": 3, "width": 16, "kv": "shared",
         "hidden": 0, "type": "q8_0",
         "bytes": (heads + 16 + 16 + inner) * 96 // 32 * 34 + inner * heads * 2 + inner * 4}],
              f"{what}: {value['layers']}")
    calibrated = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "fuzz", "corpus", "gate",
                              "seed-linear")
    out, _, what = tool.run(0, "show", "gate", calibrated)
    e2e.check(b" 50.0%      128    -1.0000  0.0% 50.0%\n" in out, f"{what}: {out!r}")
    rows = tool.json("show", "gate", calibrated)["calibration"]
    e2e.check(rows == [{"keep": 0.5, "window": 128, "threshold": -1, "steer": 0,
                        "retention": [[0.5, 0.25], [0, 0], [0, 0]]},
                       {"keep": 0.25, "window": 16, "threshold": 0, "steer": 0, "retention": [[0, 0]] * 3}],
              f"{what}: {rows}")
    tool.refuse(4, "is no gate file", "show", "gate", tool.model)
    tool.refuse(2, "show gate", "show", "gates", gate)
    init = ["train", "init", "-m", tool.model, "-o", gate]
    for span in ["window:4294967297,3", "window:-1,3", "window:1", "window:1,2,3", "everything"]:
        tool.refuse(2, f"--span: '{span}'", *init, "--span", span)
    for bias in ["1,", "1,2,3", "nan", "x"]:
        tool.refuse(2, f"--bias: '{bias}'", *init, "--bias", bias)


def test_tokenize(tool):
    for raw in ["Hello, world!\n".encode(), bytes(range(256)), b"\xff\xfe\x00 \xc3\xc3\x28",
                "naïve ✓ <|im_start|>x<|im_end|>\r\n\t".encode(), b""]:
        ids, talk, what = tool.run(0, "tokenize", "-m", tool.model, stdin=raw)
        e2e.check(all(w.isdigit() for w in ids.split()), f"{what}: {ids!r}")
        e2e.check(not talk, f"{what}: says {talk}")
        back, _, what = tool.run(0, "tokenize", "-m", tool.model, "--decode", stdin=ids)
        e2e.check(back == raw, f"{what}: {raw!r} came back as {back!r}")
    special = b"a<|im_end|>"
    parsed, _, what = tool.run(0, "tokenize", "-m", tool.model, stdin=special)
    spelled, _, _ = tool.run(0, "tokenize", "-m", tool.model, "--no-special", stdin=special)
    e2e.check(parsed.split()[-1] == b"2" and b"2" not in spelled.split(),
              f"{what}: {parsed!r}, with --no-special {spelled!r}")
    value = tool.json("tokenize", "-m", tool.model, stdin=special)
    e2e.check(b" ".join(b"%d" % i for i in value["tokens"]) == parsed.strip(), f"{what}: {value}")
    e2e.check(tool.json("tokenize", "-m", tool.model, "--decode", stdin=parsed)
              == {"text": "a<|im_end|>"}, f"{what}: --decode --json")
    asks = tool.bench.path("asks_bos.gguf")
    with open(tool.model, "rb") as file:
        model = file.read()
    key = b"tokenizer.ggml.add_bos_token" + struct.pack("<I", 7)
    with open(asks, "wb") as file: # the model's file, but that it asks for BOS
        file.write(model.replace(key + b"\0", key + b"\1"))
    whole, _, what = tool.run(0, "tokenize", "-m", asks, stdin=special)
    alone, _, _ = tool.run(0, "tokenize", "-m", asks, "--no-special", stdin=special)
    e2e.check(whole.split() == [b"1", *parsed.split()] and alone == spelled,
              f"{what}: {whole!r}, with --no-special {alone!r}")
    tool.refuse(2, "'abc'", "tokenize", "-m", tool.model, "--decode", stdin=b"1 abc")
    tool.refuse(2, "'512'", "tokenize", "-m", tool.model, "--decode", stdin=b"512")


def test_run(tool):
    words = ["run", "-m", tool.model, "-n", 12, "-p", "Once upon a time"]
    text, talk, what = tool.run(0, *words, "-q")
    e2e.check(not talk, f"{what}: -q, yet it says {talk}")
    value = tool.json(*words)
    check_keys(value, ["text", "tokens", "finish_reason", "prompt_tokens", "report"], what)
    check_report(value["report"], tool.ranks)
    e2e.check(text.decode() == value["text"] + "\n", f"{what}: {text!r}, in JSON {value['text']!r}")
    e2e.check(len(value["tokens"]) == 12 and value["finish_reason"] == "length", f"{what}: {value}")
    asked = tool.bench.write("prompt.txt", "Once upon a time")
    e2e.check(tool.run(0, "run", "-m", tool.model, "-n", 12, "-f", asked)[0] == text,
              "run -f differs from run -p")
    e2e.check(tool.run(0, "run", "-m", tool.model, "-n", 12, "-f", "-",
                       stdin=b"Once upon a time")[0] == text, "run -f - differs from run -p")
    talked = tool.json(*words, "--chat")
    e2e.check(talked["prompt_tokens"] > value["prompt_tokens"],
              "--chat adds nothing to the prompt")
    template = tool.bench.write("own.jinja", b"{{ messages[0]['content'] }}{% if x %}{{ x | foo }}{% endif %}")
    bare = tool.json(*words, "--chat", "--chat-template", template)
    e2e.check(bare["prompt_tokens"] in (value["prompt_tokens"], value["prompt_tokens"] - 1),
              "--chat-template is not the template")
    wrong = tool.bench.write("wrong.jinja", b"\n{% include 'x' %}")
    tool.refuse(2, "chat template, line 2: the statement 'include'", *words, "--chat", "--chat-template", wrong)
    drawn = [tool.run(0, *words, "--temperature", 1, "--top-p", 0.9, "--seed", s)[0]
             for s in (1, 1, 2)]
    e2e.check(drawn[0] == drawn[1] != drawn[2], f"seeds 1, 1, 2 draw {drawn}")
    tool.refuse(4, "tokens", "run", "-m", tool.model, "-p", "x" * 4000)


def test_eval(tool):
    text = tool.bench.write("text.txt", e2e.words(5, 3000))
    words = ["eval", "perplexity", "-m", tool.model, "--text", text, "--context", 256]
    value = tool.json(*words)
    check_keys(value, ["tokens", "nll", "perplexity", "pieces", "context", "report"], "eval")
    check_report(value["report"], tool.ranks)
    e2e.check(value["context"] == 256 and value["pieces"] >= 4
              and value["tokens"] == value["pieces"] * 128, f"eval: {value}")
    out, _, what = tool.run(0, *words, "-q")
    e2e.check(f"perplexity {value['perplexity']:.4f} " in out.decode() and out.count(b"\n") == 1,
              f"{what}: {out!r}, in JSON {value['perplexity']}")
    tool.refuse(2, "fewer than one piece", "eval", "perplexity", "-m", tool.model, "--text",
                tool.bench.write("short.txt", "short"))
    return value["nll"]


def test_bench(tool):
    words = ["bench", "-m", tool.model, "-p", "7,300", "-n", "5", "-d", "0,40", "-r", 3]
    value = tool.json(*words)
    check_keys(value, ["rows", "machine", "commit"], "bench")
    cases = [(r["test"], r["n"], r["depth"]) for r in value["rows"]]
    e2e.check(cases == [("prompt", 7, 0), ("prompt", 300, 0), ("prompt", 7, 40), ("prompt", 300, 40),
                        ("decode", 5, 0), ("decode", 5, 40)], f"bench: rows {cases}")
    for row in value["rows"]:
        check_keys(row, ["machine", "commit", "kernels", "ranks", "threads", "binding", "model",
                         "chunk", "codec", "kv", "policy", "sinks", "window"], "a row of bench")
        speeds = sorted(row["tok_s_all"])
        e2e.check(len(speeds) == 3 and speeds[0] > 0 and row["tok_s"] == speeds[1]
                  and row["ranks"] == max(tool.ranks, 1) and not row["beyond_context"]
                  and row["peak_bytes"] > 0, f"bench: {row}")
    kv = {case: row["kv_bytes"] for case, row in zip(cases, value["rows"])}
    page = 64 * 16 * 2 * 2  # tokens, head dimension, K and V, f16
    heads = LAYERS * 2
    e2e.check(kv["prompt", 7, 0] == heads * 2 * page, f"bench: {kv}")  # a ring of 128
    e2e.check(kv["prompt", 300, 40] == heads * (2 + 4) * page, f"bench: {kv}")  # and 212 tokens
    long = tool.json("bench", "-m", tool.model, "-p", 0, "-n", 2, "-d", 1100, "-r", 1)
    e2e.check([r["beyond_context"] for r in long["rows"]] == [True], f"bench: {long}")
    table, _, what = tool.run(0, *words, "-q")
    e2e.check(table.count(b"\nprompt ") == 4 and table.count(b"\ndecode ") == 2, f"{what}: {table!r}")
    before = tool.bench.write("before.json", json.dumps(value))
    for row in value["rows"]:
        row["threads"] += 1
        row["tok_s"] *= 2
        row["tok_s_all"] = [1000 * s for s in row["tok_s_all"]]
    value["rows"].pop()
    after = tool.bench.write("after.json", json.dumps(value))
    compared, talk, what = tool.run(0, "bench", "--compare", before, after, "--json")
    rows = json.loads(compared)["rows"]
    e2e.check([r["ratio"] for r in rows] == [2] * 5 and all(r["differs"] for r in rows),
              f"{what}: {rows}")
    e2e.check("threads differs" in talk and "5 of 6 and 5 rows" in talk, f"{what}: {talk}")
    same = json.loads(tool.run(0, "bench", "--compare", before, before, "--json")[0])["rows"]
    e2e.check([r["ratio"] for r in same] == [1] * 6 and not any(r["differs"] for r in same),
              f"{what}: {same}")
    several = tool.json("bench", "-m", tool.model, "-p", 0, "-n", 9, "-d", 70, "-r", 2,
                        "--sequences", 3, "--chunk", 32)["rows"]
    e2e.check(len(several) == 1 and several[0]["sequences"] == 3, f"three together: {several}")
    e2e.check(several[0]["tok_s"] > 0 and several[0]["kv_bytes"] > 0, f"{several}")

    for policy in ["snapkv", "h2o"]:  # alone, and as long as the context: survivors are copies
        pruned = tool.json("bench", "-m", tool.model, "-p", 1000, "-n", 0, "-r", 1, "--policy", policy,
                           "--keep", 0.9)
        e2e.check(pruned["rows"][0]["kv_bytes"] > 0, f"{policy}: {pruned}")

    profiled = tool.json("bench", "-m", tool.model, "-p", 60, "-n", 9, "-r", 2, "--profile")["rows"]
    for row in profiled:
        steps = {step["step"]: step for step in row["profile"]}
        e2e.check(abs(sum(step["share"] for step in steps.values()) - 1) < 1e-6, f"{steps}")
        e2e.check(all(steps[name]["gb_s"] > 0 and steps[name]["gop_s"] > 0 and
                       0 < steps[name]["of_read_roof"] and 0 < steps[name]["of_ops_roof"]
                       for name in ["qkv", "attend", "out", "ffn in", "ffn out", "head"]
                       if tool.ranks < 2 and (name != "head" or row["test"] == "decode")),
                   f"{row['test']}: {steps}")
    out, _, what = tool.run(0, "bench", "-m", tool.model, "-p", 0, "-n", 5, "-r", 1, "--profile")
    e2e.check(b"GB/s read" in out and b"ffn out" in out, f"{what}: {out}")

    tool.refuse(2, "both 0", "bench", "-m", tool.model, "-p", 0, "-n", 0)
    tool.refuse(2, "'x'", "bench", "-m", tool.model, "-p", "7,x")
    tool.refuse(2, "two files", "bench", "--compare", before)
    tool.refuse(4, "missing.json", "bench", "--compare", before, tool.bench.path("missing.json"))
    tool.refuse(4, "no results", "bench", "--compare", before, tool.bench.write("other.json", "{}"))


def test_bench_codec(tool):
    value = tool.json("bench", "codec", "-m", tool.model, "--chunk", 64)
    check_keys(value, ["rows", "choices", "model", "machine", "kernels", "commit"], "bench codec")
    codecs = {row["codec"] for row in value["rows"]}
    e2e.check(codecs == {"f32", "f32-zstd", "bf16", "bf16-zstd", "int8", "int8-zstd"}, f"{codecs}")
    for row in value["rows"]:
        lossless = row["codec"].startswith("f32")
        e2e.check((row["max_error"] == 0) == lossless and row["rms_error"] <= row["max_error"] < 0.5
                  and row["bytes"] <= row["rows"] * 96 * 4 and row["encode_gb_s"] > 0, f"{row}")
    out, _, what = tool.run(0, "bench", "codec", "-m", tool.model, "--chunk", 64)
    e2e.check(out.count(b"int8-zstd") >= 3 and b"Gbit/s" in out, f"{what}: {out!r}")
    tool.refuse(2, "bench codec", "bench", "codecs", "-m", tool.model)
    tool.refuse(2, "--memory", "bench", "codec", "-m", tool.model, "--memory", "1G")
    tool.refuse(4, "missing.gguf", "bench", "codec", "-m", tool.bench.path("missing.gguf"))


# ---- gates, policies and where layers go ----

def test_gates(tool):
    gate, other = tool.bench.path("gate.gguf"), tool.bench.path("other.gguf")
    options = ["--seed", 3, "--span", "window:6,3", "--bias", "1,-1"]
    tool.run(0, "train", "init", "-m", tool.model, "-o", gate, *options)
    with open(gate, "rb") as file:
        first = file.read()
    tool.run(0, "train", "init", "-m", tool.model, "-o", gate, *options)
    with open(gate, "rb") as file:
        e2e.check(file.read() == first, "train init: a seed gave two files")
    foreign = tool.bench.model("foreign.gguf", seed=78, layers=LAYERS, width=96, ffn=160, context=1024)
    tool.run(0, "train", "init", "-m", foreign, "-o", other)
    tool.refuse(2, "is a gate for", "run", "-m", tool.model, "-g", other, "-p", "x")
    tool.refuse(4, "is no gate file", "run", "-m", tool.model, "-g", tool.model, "-p", "x")

    text, keep = tool.bench.write("text.txt", e2e.words(5, 900)), tool.bench.path("keep.npy")
    value = tool.json("eval", "perplexity", "-m", tool.model, "-g", gate, "--text", text, "--context",
                      256, "--sinks", 2, "--window", 16, "--keep-out", keep)
    check_keys(value, ["perplexity", "retention", "retention_mean", "mask_from", "policy"], "eval")
    e2e.check(value["policy"] == "gate" and value["mask_from"] == 0, f"eval: {value}")
    e2e.check([len(l) for l in value["retention"]] == [2] * LAYERS, f"eval: {value['retention']}")
    e2e.check(sum(value["retention"][0]) > sum(value["retention"][-1]),
              f"eval: early layers should keep more: {value['retention']}")
    with open(keep, "rb") as file:
        flags = file.read()
    n = value["pieces"] * 256
    e2e.check(f"'|u1', 'fortran_order': False, 'shape': ({LAYERS},2,{n},)".encode() in flags
              and len(flags) == 192 + LAYERS * 2 * n, f"keep.npy: {flags[:192]!r}")
    each = [flags[192 + i * n:192 + (i + 1) * n] for i in range(LAYERS * 2)]
    eligible = [p for p in range(n) if 2 <= p % 256 < 256 - 16]
    for i, head in enumerate(each):
        kept = sum(head[p] for p in eligible) / len(eligible)
        told = value["retention"][i // 2][i % 2]
        e2e.check(abs(kept - told) < 1e-9, f"eval: head {i} kept {kept}, told {told}")
    for policy, start in [("snapkv", 128), ("streaming", 0)]:
        value = tool.json("eval", "perplexity", "-m", tool.model, "--policy", policy, "--text", text,
                          "--context", 256, "--window", 16)
        e2e.check(value["mask_from"] == start, f"eval {policy}: {value['mask_from']}")


def test_show_cache(tool):
    out = tool.bench.path("picture")
    tool.run(0, "show", "cache", "-m", tool.model, "-p", e2e.words(3, 30), "--policy", "snapkv",
             "--window", 4, "--keep", 0.3, "-o", out, "--layers", "0,2", "--format", "svg")
    for name, start in [("picture.svg", b"<?xml"), ("picture.maps.svg", b"<?xml"),
                        ("picture.npy", b"\x93NUMPY"), ("picture.attention.npy", b"\x93NUMPY")]:
        with open(tool.bench.path(name), "rb") as file:
            e2e.check(file.read().startswith(start), f"show cache: {name}")
    tool.refuse(2, "--layers", "show", "cache", "-m", tool.model, "-p", "x", "-o", out, "--layers",
                LAYERS)


def smallest_largest(layers, first_extra, last_extra, ranks):
    """Of all splits, the least bytes on the largest rank."""
    n, best = len(layers), None
    for cuts in itertools.combinations(range(1, n), ranks - 1):
        ends = [0, *cuts, n]
        sums = [sum(layers[a:b]) for a, b in zip(ends, ends[1:])]
        sums[0] += first_extra
        sums[-1] += last_extra
        best = max(sums) if best is None else min(best, max(sums))
    return best


def test_plan(tool):
    n_layers = 9
    model = tool.bench.model("deep.gguf", seed=79, layers=n_layers, width=96, ffn=160, context=1024)
    hosts = tool.bench.write("hosts", "a # memory=1G\nb slots=2 # memory=2G\n")
    deep = [[1.0 if i < 4 else 0.1] * 2 for i in range(n_layers)]  # deep layers keep a tenth
    kept = tool.bench.write("kept.json", json.dumps({"retention": deep}))
    words = ["plan", "-m", model, "--hosts", hosts, "--context", 1000, "--sequences", 2,
             "--policy", "random"]
    value = tool.json(*words, "--retention", kept)
    # a limit that leaves two MB for layers
    limit = max(r["beside_bytes"] for r in value["planned"]["ranks"]) + (2 << 20)
    tool.bench.write("hosts", f"a # memory={limit}\nb slots=2 # memory={2 * limit}\n")
    value = tool.json(*words, "--retention", kept)
    layers = [l["weights_bytes"] + l["cache_bytes"] for l in value["layers"]]
    e2e.check([l["keep"] for l in value["layers"]] == [l[0] for l in deep], f"plan: {value}")
    ranks = value["planned"]["ranks"]
    e2e.check([r["host"] for r in ranks] == ["a", "b", "b"], f"plan: {ranks}")
    weights = sum(l["weights_bytes"] for l in value["layers"])
    extra = [r["weights_bytes"] - sum(value["layers"][i]["weights_bytes"] for i in
             range(r["first_layer"], r["first_layer"] + r["layers"])) for r in ranks]
    largest = max(r["weights_bytes"] + r["cache_bytes"] for r in ranks)
    e2e.check(largest == smallest_largest(layers, extra[0], extra[-1], 3) and weights > 0,
              f"plan: the largest rank has {largest}: {value}")
    e2e.check(value["planned"]["longest_context"] > value["even"]["longest_context"] > 0,
              f"plan: {value}")
    out, _, what = tool.run(0, *words)
    e2e.check(out.count(b"\n") == 12
              and b"no other split within the limits has a smaller largest" in out,
              f"{what}: {out.decode()}")
    bad = tool.bench.write("bad-hosts", "a\nb slots=none\n")
    tool.refuse(4, "line 2", "plan", "-m", tool.model, "--hosts", bad)
    wrong = tool.bench.write("wrong.json", '{"retention": [[1, 2]]}')
    tool.refuse(4, "of 1 layers", *words, "--retention", wrong)
    wrong = tool.bench.write("wrong.json", json.dumps({"retention": [[1, 2]] * n_layers}))
    tool.refuse(4, "layer 0, KV head 1", *words, "--retention", wrong)


def test_bench_figure3(tool):
    name = tool.bench.path("figure3")
    words = ["bench", "figure3", "-m", tool.model, "-o", name, "-p", "64,300,1100", "-r", 1]
    if tool.ranks:
        return tool.refuse(2, "not under mpirun", *words, "--policy", "streaming")
    tool.refuse(2, "-g GATE or --policy NAME", *words)
    tool.refuse(4, "could not be measured", *words, "-g", tool.model)
    drawn = shutil.which("gnuplot") is not None
    ran = tool.bench.run(0, *words, "--policy", "streaming", "--window", 16, "--json")
    e2e.check(ran.returncode == (0 if drawn else 4), f"bench figure3: {ran.stderr.decode()}")
    points = json.loads(ran.stdout)["points"]
    with open(name + ".csv") as file:
        rows = [line.strip().split(",") for line in file]
    e2e.check(rows[0][:8] == ["tokens", "cache", "seconds", "tok_s", "peak_mb", "cache_mb",
                              "beyond_context", "policy"] and len(rows) == 7, f"bench figure3: {rows}")
    for row, point, case in zip(rows[1:], points, [(n, c) for n in (64, 300, 1100)
                                                   for c in ("full", "pruned")]):
        e2e.check((int(row[0]), row[1]) == case == (point["tokens"], point["cache"])
                  and row[6] == str(int(case[0] > 1024)) and point["peak_bytes"] > 0
                  and abs(float(row[2]) * float(row[3]) / case[0] - 1) < 0.01,
                  f"bench figure3: {row}, {point}")
    e2e.check(points[4]["kv_bytes"] > 3 * points[5]["kv_bytes"], f"bench figure3: {points}")
    if drawn:
        with open(name + ".png", "rb") as file:
            e2e.check(file.read(4) == b"\x89PNG", "bench figure3: no picture")


def test_bench_link(tool):
    if tool.ranks < 2:
        return tool.refuse(2, "mpirun", "bench", "link")
    value = tool.json("bench", "link", "-m", tool.model)
    e2e.check([(l["from"], l["to"]) for l in value["links"]] == [(0, 1), (1, 0)]
              and value["width"] == 96, f"bench link: {value}")
    for link in value["links"]:
        times = [m["us"] for m in link["messages"]]
        e2e.check(link["mb_s"] > 0 and link["hop_us"] > 0 and times[-1] >= times[0] > 0
                  and link["prompt"]["lossless"].startswith("f32"), f"bench link: {link}")


def body(bench):
    bench.model("model.gguf", seed=77, layers=LAYERS, width=96, ffn=160, context=1024)
    nlls = []
    for ranks in (0, 2):
        tool = Tool(bench, ranks)
        tests = [test_help, test_usage, test_bad_files, test_show, test_show_gate, test_tokenize,
                 test_run, test_bench, test_bench_figure3, test_bench_codec, test_bench_link, test_gates, test_plan]
        if shutil.which("gnuplot"):
            tests.append(test_show_cache)
        if bench.args.light and ranks:
            tests = [test_help, test_bad_files, test_show, test_run]
        for test in tests:
            test(tool)
        nlls.append(test_eval(tool))
        print(f"ranks {ranks}: {', '.join(t.__name__[5:] for t in tests)}, eval", flush=True)
    e2e.check(nlls[0] == nlls[1], f"eval: nll {nlls[0]} alone, {nlls[1]} on two ranks")
    Tool(bench, LAYERS + 1).refuse(2, f"at most {LAYERS}", "run", "-m", bench.path("model.gguf"),
                                   "-p", "x")


e2e.main("commands", body)
