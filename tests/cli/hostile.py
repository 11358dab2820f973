"""Hostile files through the whole program: each is refused, or becomes an error record, in seconds and
in bounded memory, and says why. What single parsers do with them is in tests/unit and tests/fuzz."""
import json
import os
import struct
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "mpi"))
import e2e  # noqa: E402

LINE_BYTES_MAX = 64 << 20
SECONDS = 60  # each of these takes two, more under sanitizers
WIDE_BYTES = 200 << 20
JOB_BYTES = 0  # above the plan: what lines take is in it
GGUF_BYTES = 300 << 20


# ---- models ----

def text(value):
    return struct.pack("<Q", len(value)) + value.encode()


def header(n_tensors, n_keys):
    return b"GGUF" + struct.pack("<IQQ", 3, n_tensors, n_keys)


def array(key, kind, n):
    return text(key) + struct.pack("<IIQ", 9, kind, n)


def tensor(name, *dims):
    return text(name) + struct.pack(f"<I{len(dims)}QIQ", len(dims), *dims, 0, 0)


TEXT, U8 = 8, 0
MODELS = [  # name, what it says, bytes of zeros behind it (a sparse file), what is said of it
    ("keys", header(0, 10 ** 12), 1000, "more keys"),
    ("tensors", header(10 ** 12, 0), 1000, "more tensors"),
    ("tensor", header(1, 0) + tensor("blk.0.attn_q.weight", 50000, 50000), 1000, "beyond the end"),
    ("overflow", header(1, 0) + tensor("t", 2 ** 32, 2 ** 32), 1000, "overflow"),
    ("array", header(0, 1) + array("a", U8, 10 << 30), 1000, "longer than the file"),
    ("strings", header(0, 1) + array("a", TEXT, 10 ** 12), 1000, "more strings"),
    ("there", header(0, 1) + array("a", TEXT, 10 ** 9), 10 << 30, "more strings"),
    ("large", header(0, 1) + array("a", U8, 10 << 30), 11 << 30, "256 MB"),
]


def peak_bytes(bench, *words):
    """(exit code, talk, its largest memory) of the program alone."""
    talk = bench.path("talk")
    with open(talk, "wb") as file:
        child = os.posix_spawn(bench.args.sluice, bench.command(0, *words), e2e.environment(),
                               file_actions=[(os.POSIX_SPAWN_DUP2, file.fileno(), 1),
                                             (os.POSIX_SPAWN_DUP2, file.fileno(), 2)])
    _, status, usage = os.wait4(child, 0)
    with open(talk, errors="replace") as file:
        return os.waitstatus_to_exitcode(status), file.read(), usage.ru_maxrss * 1024


def test_models(bench):
    source = bench.job("one.jsonl", [e2e.completion("a", "x", max_tokens=1)])
    for name, said, zeros, expected in MODELS:
        path = bench.write(f"{name}.gguf", said)
        os.truncate(path, len(said) + zeros)
        began = time.monotonic()
        code, talk, peak = peak_bytes(bench, "batch", "-m", path, "-i", source, "-o",
                                      bench.path("out"))
        seconds = time.monotonic() - began
        what = f"{name}: exit code {code} after {seconds:.1f} s, {peak / 1e6:.0f} MB:\n{talk}"
        e2e.check(code == 4 and expected in talk, what)
        e2e.check(seconds < SECONDS, what)
        e2e.check(bench.args.light or peak < GGUF_BYTES, what)
        os.unlink(path)


# ---- jobs ----

def raw(name, body):
    return (b'{"custom_id": "%s", "method": "POST", "url": "/v1/completions", "body": %s}'
            % (name.encode(), body))


def fill(item, n_bytes):
    return item * (n_bytes // len(item))


def lines():
    """(id in OUT, whether it is served, the line): most are an error record of their own."""
    good = json.dumps(e2e.completion("good", "the rain", max_tokens=3)).encode()
    most = LINE_BYTES_MAX - 200
    return [
        ("good", True, good),
        ("line-2 (no custom_id)", False, b"[" * 10000),
        ("deep", False, b'{"custom_id": "deep", "body": ' + b'{"a":' * 10000),
        ("long", False, raw("long", b'{"prompt": "' + b"x" * LINE_BYTES_MAX + b'"}')),
        ("text", False, raw("text", b'{"prompt": "' + fill(b"the rain ", most) + b'"}')),
        ("values", False, raw("values", b'{"prompt": [' + fill(b"{},", most) + b"0]}")),
        ("line-7 (no custom_id)", False, b"\0" * 1000),
        ("a\ufffd", False, b'{"custom_id": "a\xff"}'),
        ("line-9 (no custom_id)", False, raw("a\\u0000b", b'{"prompt": "x"}')),
        ("nul", True, raw("nul", b'{"prompt": "a\\u0000b", "max_tokens": 2}')),
        ("x" * 513, False, raw("x" * 513, b'{"prompt": "x"}')),
        ("return", True, raw("return", b'{"prompt": "x", "max_tokens": 2}') + b"\r"),
        ("last", True, raw("last", b'{"prompt": "x", "max_tokens": 2}')),
    ]


def test_lines(bench, model):
    cases = lines()
    source = bench.write("in.jsonl", b"\n".join(line for _, _, line in cases))  # the last torn
    for ranks in (0, 2):
        bench.remove("out", "out.job")
        began = time.monotonic()
        ran = bench.run(ranks, "batch", "-m", model, "-i", source, "-o", bench.path("out"),
                        "--json", seconds=300)
        seconds = time.monotonic() - began
        talk = ran.stderr.decode(errors="replace")
        e2e.check(ran.returncode == 3, f"ranks {ranks}: exit code {ran.returncode}\n{talk}")
        found = e2e.records(bench.path("out"))
        e2e.check(sorted(found) == sorted(name for name, _, _ in cases),
                  f"ranks {ranks}: records of {sorted(found)}")
        for name, served, _ in cases:
            record = json.loads(found[name])
            e2e.check((record["error"] is None) == served, f"ranks {ranks}: {found[name]}")
        first = json.loads(ran.stdout)["ranks"][0]
        above = first["peak_bytes"] - first["planned_bytes"]
        e2e.check(bench.args.light or above < JOB_BYTES and seconds < SECONDS,
                  f"ranks {ranks}: {seconds:.1f} s, {above / 1e6:.0f} MB above the plan")
        print(f"ranks {ranks}: {seconds:.1f} s", flush=True)


def test_wide_requests(bench):
    """Room for all tokens that requests may ask for is taken only for those that are next: behind a
    slow one wait 60 of 16 choices, 170 MB each, of which a few are touched."""
    model = bench.model("wide.gguf", seed=5, layers=1, width=32, ffn=32, heads=2, kv_heads=1,
                        context=60000)
    bench.remove("out", "out.job")
    wide = dict(max_tokens=59000, n=16, logprobs=20, logit_bias={"2": 100})  # ends at once
    source = bench.job("wide.jsonl", [
        e2e.completion("slow", "x", max_tokens=2000 if bench.args.light else 20000,
                       ignore_eos=True),
        *[e2e.completion(f"wide-{i}", "x", **wide) for i in range(60)]])
    ran = bench.run(0, "batch", "-m", model, "-i", source, "-o", bench.path("out"), "--json",
                    "-t", 1)
    e2e.check(ran.returncode == 0, f"wide: exit code {ran.returncode}\n{ran.stderr}")
    rank = json.loads(ran.stdout)["ranks"][0]
    # a few are inside at a time (256 MB of room, of which less is touched), not all 60
    print(f"wide: peak {rank['peak_bytes'] >> 20} MB", flush=True)
    e2e.check(bench.args.light or rank["peak_bytes"] < WIDE_BYTES, f"wide: {rank}")


def test_no_job(bench, model):
    """Nothing to do, and what is no file."""
    for name, source, code, said in [
            ("empty", bench.write("empty", ""), 0, "0 requests"),
            ("blank", bench.write("blank", "\n \r\n\n"), 0, "0 requests"),
            ("folder", bench.folder, 4, "is no file")]:
        bench.remove("out", "out.job")
        ran = bench.run(0, "batch", "-m", model, "-i", source, "-o", bench.path("out"))
        talk = ran.stderr.decode(errors="replace")
        e2e.check(ran.returncode == code and said in talk,
                  f"{name}: exit code {ran.returncode}\n{talk}")


def test_encodings(bench, model):
    """A byte order mark is skipped; what is no UTF-8 is refused whole and once, before OUT is made."""
    text = json.dumps(e2e.completion("a", "the rain", max_tokens=2)) + "\n"
    for name in ("utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"):
        bench.remove("out", "out.job")
        source = bench.write("encoded.jsonl", text.encode(name))
        ran = bench.run(0, "batch", "-m", model, "-i", source, "-o", bench.path("out"))
        talk = ran.stderr.decode(errors="replace")
        if name == "utf-8-sig":
            e2e.check(ran.returncode == 0 and list(e2e.records(bench.path("out"))) == ["a"],
                      f"{name}: exit code {ran.returncode}\n{talk}")
        else:
            e2e.check(ran.returncode == 4 and talk.count("give UTF-8: iconv") == 1 and
                      not os.path.exists(bench.path("out")),
                      f"{name}: exit code {ran.returncode}\n{talk}")


def body(bench):
    model = bench.model("model.gguf", seed=5, layers=2, width=96, ffn=160, context=256)
    test_models(bench)
    test_lines(bench, model)
    test_wide_requests(bench)
    test_no_job(bench, model)
    test_encodings(bench, model)


e2e.main("hostile", body)
