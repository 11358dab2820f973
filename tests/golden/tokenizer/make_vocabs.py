#!/usr/bin/env python3
"""Remake the goldens on other people's vocabularies and templates (README.md says what each one holds).

  make_vocabs.py --text FOLDER --gemma MODEL.gguf

Builds llama.cpp (../build_llama_cpp.sh), and llama_encode.cpp against it. Needs the PyPI packages `gguf`,
`jinja2`, `sentencepiece` and `tokenizers`. Writes beside itself. Ids are llama.cpp's; where a library can
read the vocabulary too, it must agree on them.
"""
import argparse
import json
import pathlib
import struct
import subprocess
import tempfile

import jinja2.sandbox
import sentencepiece
from gguf import GGUFReader
from tokenizers import Regex, Tokenizer, models, pre_tokenizers

import templates
from make import HARD, hash_ids

HERE = pathlib.Path(__file__).parent
TEXT_BYTES, GENERATED_BYTES = 1 << 18, 1 << 20

MORE = [
    "'\u017f x'\u017f", "it'S 'LL 'Re we'VE", "a </s> b", "\u2581a \u2581", "<0x0A><0x41>", "1234567 12",
    "x  \n\n  y", "\r\n \r\n\t", "\U00020bb7\u91ce\u5bb6", "\u0e2a\u0e27\u0e31\u0e2a\u0e14\u0e35", "  def f(x):\n\treturn {x: [1, 22, 333]}\n\n\n",
    "#include <stdio.h>\r\nint main(void) { return 0; }\r\n", "\u00e9\u00e8\u00ea \u00df\u017f\u0130\u0131", "\u0301\u0301a",
    "!\n\n?\r\r.", " \u00a0 \u3000x", "<s>x</s><unk>", "<|eot_id|>\n\n<|user|> \n hi <|end|>", "\ufffd\ufeff",
]
# What Gemma has tokens of its own for, and what looks like them; bytes of which the first ones are no UTF-8.
GEMMA = [
    *("\n" * n for n in (1, 2, 3, 30, 31, 32, 33, 63)), *(" " * n for n in (2, 30, 31, 32, 33, 64)),
    *("\t" * n for n in (1, 2, 31, 32, 40)), "a\n b", " \n  \n\t\tx", "a  b   c", "\n\r\n\n", "x \u2581 y\u2581\u2581z",
    "<table><tr><td>a</td>\n</tr></table>", "<h1>x</h1> <b>y</b></s><s><u", "<bos>a<eos>", "<bos", "[multimodal]",
    "<start_of_turn>user\nHi<end_of_turn>\n<start_of_turn>model\n", "<start_of_image>", "<unused0><unused98>",
    "<unk><pad><mask>", "<0x0A>\u0000\u0001\u001f\u007f\u0080\u009f", "\u0e2a\u0e27\u0e31\u0e2a\u0e14\u0e35 \U0001f469\u200d\U0001f680",
]
BYTES = [b"\xff", b"a\x80\xbfb", b"\xe2\x96", b"\xe2\x96\xff", b"\xf0\x9f\x98x", b"\xc3\n", b"\xed\xa0\x80", b"\xf8\x88\x80\x80\x80",
         b"caf\xe9\xe9", b"\xc0\xaf"]
# Rules of splitting that no vocabulary of the package has, each put into the one of Llama 3.
RULES = ["a.x-4.0", "deepseek-coder", "deepseek-llm", "deepseek-r1-qwen", "f2llmv2", "falcon3", "gpt-2", "gpt-4o",
         "kormo", "llama3", "megrez", "mellum", "midm-2.0", "minerva-7b", "minicpm5", "pixtral", "refact",
         "seed-coder", "smaug-bpe", "smollm", "tekken", "trillion", "viking"]
# Code points of the generated megabyte, from these ranges.
RANGES = [[9, 13], [32, 126], [32, 126], [160, 591], [880, 1535], [2304, 2431], [8192, 8303], [12352, 12543],
          [19968, 40959], [44032, 55203], [127744, 128591]]
CHATS = [
    [("user", "Hi")],
    [("system", "Be brief."), ("user", "Hi")],
    [("user", "Hi"), ("assistant", "Hello!"), ("user", "2 + 2 = 4?")],
    [("system", "Be brief."), ("user", "Hi"), ("assistant", "Hello!"), ("user", "Why?")],
    [("user", "\n\n\u3000 leading space and line ends \u00a0\x1f\n")],
    [("user", "")],
    [("system", "</s>"), ("user", "<|im_end|></s>[INST]<|eot_id|><s><|end|>\n<|user|>{bos}'\\")],
    [("system", " padded \n"), ("user", " x "), ("assistant", "\n y \n"), ("user", "z\t")],
    [("system", ""), ("user", "\u4f60\u597d caf\u00e9 \U0001f600")],
    [("system", "Only spaces follow."), ("user", "   ")],
    [("user", "q"), ("assistant", "a")],
    [("system", "s"), ("user", "q"), ("assistant", "a")],
    [("user", "q"), ("assistant", "<think>\nhm\n\n</think>\n\nanswer"), ("user", "r")],
    [("user", "q"), ("assistant", "x<think>\n\nhm\n</think>\n\nb</think>\nanswer")],
    [("user", "q"), ("assistant", "\n\na"), ("assistant", "<think>t</think>b"), ("assistant", "c")],
    [("user", "q"), ("system", "late"), ("user", "r")],
    [("assistant", "first"), ("user", "q")],
    [("system", "alone")],
    [("user", "<tool_response>x</tool_response>"), ("assistant", "a")],
    [("user", "one"), ("user", "two")],
]
SPLIT = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}%s| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"


def build_llama_encode(out):
    build = pathlib.Path(subprocess.check_output([HERE.parent / "build_llama_cpp.sh", "native", "llama"],
                                                 text=True).strip())
    source = build.parent / "vendor/llama.cpp"
    libraries = [build / "src/libllama.a", *(build / f"ggml/src/lib{name}.a"
                                             for name in ("ggml", "ggml-cpu", "ggml-base"))]
    subprocess.run(["c++", "-O2", f"-I{source}/include", f"-I{source}/ggml/include",
                    HERE / "llama_encode.cpp", *libraries, "-lgomp", "-lpthread", "-ldl",
                    "-o", out], check=True)


class Llama:
    def __init__(self, program, path):
        self.process = subprocess.Popen([program, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.adds_bos = self.process.stdout.readline().split()[0] == b"1"

    def encode(self, text, special=False):
        text = text if isinstance(text, bytes) else text.encode()
        self.process.stdin.write(b"%d %d\n" % (special, len(text)) + text)
        self.process.stdin.flush()
        return [int(i) for i in self.process.stdout.readline().split()]


class Vocab:
    def __init__(self, program, path, name):
        self.name, self.path = name, path
        fields = GGUFReader(self.path).fields
        self.meta = {k: f.contents() for k, f in fields.items()}
        self.tokens = self.meta["tokenizer.ggml.tokens"]
        self.types = self.meta["tokenizer.ggml.token_type"]
        self.bos, self.eos = (self.meta[f"tokenizer.ggml.{x}_token_id"] for x in ("bos", "eos"))
        self.strips = name == "phi-3"
        self.llama = Llama(program, self.path)
        self.adds_bos, self.encode = self.llama.adds_bos, self.llama.encode
        self.library = self.sentencepiece() if "llama" == self.meta["tokenizer.ggml.model"] else self.bpe()

    def bpe(self):
        """The `tokenizers` library, on the vocabulary's own merges."""
        llama3 = self.name == "llama-bpe"
        vocab = {}
        for i, (token, kind) in enumerate(zip(self.tokens, self.types)):
            if kind == 1:
                vocab.setdefault(token, i)
        merges = [tuple(m.split(" ")) for m in self.meta["tokenizer.ggml.merges"]]
        tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=merges, ignore_merges=llama3))
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
            pre_tokenizers.Split(Regex(SPLIT % ("{1,3}" if llama3 else "")), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
        return lambda text: tokenizer.encode(text).ids

    def sentencepiece(self):
        """The `sentencepiece` library, on a model file written here (sentencepiece_model.proto)."""
        def varint(n):
            out = b""
            while n > 127:
                out, n = out + bytes([n & 127 | 128]), n >> 7
            return out + bytes([n])

        def field(number, value):
            if isinstance(value, int):
                return varint(number << 3) + varint(value)
            if isinstance(value, float):
                return varint(number << 3 | 5) + struct.pack("<f", value)
            return varint(number << 3 | 2) + varint(len(value)) + value

        proto, gemma = b"", self.name == "gemma"
        for token, kind, score in zip(self.tokens, self.types, self.meta["tokenizer.ggml.scores"]):
            kind = 2 if token == "<unk>" else kind if gemma and token != "</s>" else 3 if kind in (2, 3, 4) else kind
            if kind == 4:
                token = token.replace(" ", "\u2581")
            proto += field(1, field(1, token.encode()) + field(2, float(score)) + field(3, kind))
        proto += field(2, field(3, 2) + field(35, 1))
        proto += field(3, field(1, b"identity") + field(3, 0 if gemma else 1) + field(4, 0) +
                       field(5, 1))
        processor = sentencepiece.SentencePieceProcessor()
        processor.LoadFromSerializedProto(proto)
        return lambda text: processor.EncodeAsIds(text) if text else []

    def as_text(self, text):
        """Special tokens are text. Two peers, one answer."""
        ids = self.encode(text)
        # in a file, spaces that are one token are no U+2581
        other = ids if self.name == "gemma" and "\u2581" in text else self.library(text)
        if other != ids:
            raise SystemExit(f"{self.name}: libraries differ on {text[:60]!r}: {ids[:20]} {other[:20]}")
        return ids


def generated(strings):
    """A megabyte of code points and hard strings, the same as in tests/unit/text/test_vocabs_golden.c."""
    state, out, n = 1, [], 0

    def below(limit):
        nonlocal state
        state = (state * 6364136223846793005 + 1442695040888963407) & 0xffffffffffffffff
        return (state >> 33) % limit

    while n < GENERATED_BYTES:
        if below(4) == 0:
            piece = strings[below(len(strings))]
        else:
            low, high = RANGES[below(len(RANGES))]
            piece = "".join(chr(low + below(high - low + 1)) for _ in range(1 + below(8)))
        out.append(piece)
        n += len(piece.encode())
    return "".join(out)


def with_rule(path, rule, out):
    """The vocabulary with another rule: tokenizer.ggml.pre is a text, of type 8."""
    file, key = path.read_bytes(), b"tokenizer.ggml.pre" + struct.pack("<I", 8)
    begin = file.index(key) + len(key)
    end = begin + 8 + struct.unpack_from("<Q", file, begin)[0]
    out.write_bytes(file[:begin] + struct.pack("<Q", len(rule)) + rule.encode() + file[end:])
    return out


def summary(ids):
    return {"n": len(ids), "hash": hash_ids(ids)}


def refuse(message):
    raise jinja2.TemplateError(message)


def render(source, messages, bos, eos):
    """As `transformers` does it; None where the template refuses."""
    environment = jinja2.sandbox.ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    environment.globals["raise_exception"] = refuse
    environment.globals["strftime_now"] = lambda form: "26 Jul 2024"
    try:
        return environment.from_string(source).render(
            messages=[{"role": r, "content": c} for r, c in messages], add_generation_prompt=True,
            bos_token=bos, eos_token=eos)
    except jinja2.TemplateError:
        return None


def loses(source, messages):
    """The template leaves a message out in silence."""
    marked = [(r, f"\ue010{i}\ue011") for i, (r, _) in enumerate(messages)]
    text = render(source, marked, "", "")
    return text is None or any(c not in text for _, c in marked)


def chat_ids(vocab, source, messages):
    """Specials of the template itself become marks that no content holds, before it is rendered."""
    for i, (text, kind) in enumerate(zip(vocab.tokens, vocab.types)):
        if kind in (2, 3) and text in source:
            source = source.replace(text, f"\ue000{i}\ue001")
    text = render(source, messages, f"\ue000{vocab.bos}\ue001", f"\ue000{vocab.eos}\ue001")
    ids = []
    for n, part in enumerate(text.split("\ue000")):
        if n > 0:
            mark, part = part.split("\ue001", 1)
            ids.append(int(mark))
            if vocab.strips and vocab.tokens[ids[-1]] not in ("<unk>", "<s>", "<|endoftext|>"):
                part = part.lstrip(" \t\n\v\f\r")
        ids += vocab.encode(part) if part else []
    if vocab.adds_bos and ids[:1] != [vocab.bos]:
        ids.insert(0, vocab.bos)
    return ids


def chat_rows(vocab, source):
    rows = []
    for messages in CHATS:
        row = {"messages": messages, "text": None, "ids": None}
        if not loses(source, messages):
            row["text"] = render(source, messages, "\ue000", "\ue001")
            row["ids"] = chat_ids(vocab, source, messages)
        rows.append(row)
    return rows


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--text", required=True)
    p.add_argument("--gemma", required=True)
    a = p.parse_args()
    with tempfile.TemporaryDirectory() as work:
        make(a, pathlib.Path(work))


def make(a, work):
    program = work / "llama_encode"
    build_llama_encode(program)
    folder = pathlib.Path(subprocess.check_output([HERE / "fetch_vocabs.sh"], text=True).strip())
    vocabs = {name: Vocab(program, folder / f"ggml-vocab-{name}.gguf", name)
              for name in ("llama-bpe", "qwen2", "llama-spm", "phi-3")}
    strings = HARD + MORE
    mixed = generated(strings)
    texts = {path.name: path.read_bytes()[:TEXT_BYTES].decode("utf-8", "ignore")
             for path in sorted(pathlib.Path(a.text).iterdir())}

    def write(name, rows):
        lines = [json.dumps(row, separators=(",", ":")) for row in rows]
        (HERE / name).write_text("\n".join(lines) + "\n")

    for name, vocab in vocabs.items():
        # llama.cpp takes Qwen's ordinary token "</s>" for a special one; Qwen's own tokenizer does not.
        parsed = [t.replace("</s>", "</ s>") if name == "qwen2" else t for t in strings]
        write(f"{name}.jsonl", [{"text": t, "ids": vocab.encode(t, special=True), "ids_as_text": vocab.as_text(t)}
                                for t in parsed])
    write("mixed.jsonl", [{"vocab": name, "ranges": RANGES, "generated": summary(vocab.as_text(mixed)),
                           "bytes": len(mixed.encode()),
                           "texts": {file: summary(vocab.as_text(text)) | {"bytes": len(text.encode())}
                                     for file, text in texts.items()}} for name, vocab in vocabs.items()])
    gemma = Vocab(program, pathlib.Path(a.gemma), "gemma")
    write("gemma.jsonl", [{"text": t, "ids": gemma.encode(t, special=True), "ids_as_text": gemma.as_text(t)}
                          for t in strings + GEMMA] +
          [{"bytes": t.hex(), "ids": gemma.encode(t, special=True), "ids_as_text": gemma.encode(t)}
           for t in BYTES])
    whole = {path.name: path.read_bytes() for path in sorted(pathlib.Path(a.text).iterdir())}
    (HERE / "gemma_texts.json").write_text(json.dumps(
        {name: {"bytes": len(text)} | summary(gemma.as_text(text.decode())) for name, text in whole.items()},
        indent=1) + "\n")
    rules = {rule: Llama(program, with_rule(vocabs["llama-bpe"].path, rule, work / f"{rule}.gguf")) for rule in RULES}
    start = mixed.encode()[:TEXT_BYTES].decode("utf-8", "ignore")
    write("rules.jsonl", [{"rule": rule, "adds_bos": llama.adds_bos, "bytes": len(start.encode())} |
                          summary(llama.encode(start)) for rule, llama in rules.items()])
    rows = [{"form": form, "vocab": name, "template": source, "chats": chat_rows(vocabs[name], source)}
            for form, name, source in templates.OWN]
    rows += [{"form": form, "vocab": name, "file": file,
              "chats": chat_rows(vocabs[name], (folder / file).read_text())}
             for form, name, file in templates.THEIRS]
    write("templates.jsonl", rows)


if __name__ == "__main__":
    main()
