#!/usr/bin/env python3
"""Remake the goldens on other people's vocabularies and templates (README.md says what each one holds).

  make_vocabs.py --text FOLDER

Needs the PyPI packages `gguf`, `jinja2`, `llama-cpp-python`, `sentencepiece` and `tokenizers`. Writes
beside itself. Ids are llama.cpp's; where a library can read the vocabulary too, it must agree on them.
"""
import argparse
import json
import pathlib
import struct
import subprocess

import jinja2.sandbox
import llama_cpp
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


class Vocab:
    def __init__(self, folder, name):
        self.name, self.path = name, folder / f"ggml-vocab-{name}.gguf"
        fields = GGUFReader(self.path).fields
        self.meta = {k: f.contents() for k, f in fields.items()}
        self.tokens = self.meta["tokenizer.ggml.tokens"]
        self.types = self.meta["tokenizer.ggml.token_type"]
        self.bos, self.eos = (self.meta[f"tokenizer.ggml.{x}_token_id"] for x in ("bos", "eos"))
        self.adds_bos = name != "qwen2"
        self.strips = name == "phi-3"
        self.llama = llama_cpp.Llama(str(self.path), vocab_only=True, verbose=False)
        self.library = self.sentencepiece() if "llama" == self.meta["tokenizer.ggml.model"] else self.bpe()

    def encode(self, text, special=False):
        return self.llama.tokenize(text.encode(), add_bos=False, special=special)

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

        proto = b""
        for token, kind, score in zip(self.tokens, self.types, self.meta["tokenizer.ggml.scores"]):
            kind = 2 if token == "<unk>" else 3 if kind in (2, 3, 4) else kind
            proto += field(1, field(1, token.encode()) + field(2, float(score)) + field(3, kind))
        proto += field(2, field(3, 2) + field(35, 1))
        proto += field(3, field(1, b"identity") + field(3, 1) + field(4, 0) + field(5, 1))
        processor = sentencepiece.SentencePieceProcessor()
        processor.LoadFromSerializedProto(proto)
        return lambda text: processor.EncodeAsIds(text) if text else []

    def as_text(self, text):
        """Special tokens are text. Two peers, one answer."""
        ids = self.encode(text)
        other = self.library(text)
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
    a = p.parse_args()
    folder = pathlib.Path(subprocess.check_output([HERE / "fetch_vocabs.sh"], text=True).strip())
    vocabs = {name: Vocab(folder, name) for name in ("llama-bpe", "qwen2", "llama-spm", "phi-3")}
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
    rows = [{"form": form, "vocab": name, "template": source, "chats": chat_rows(vocabs[name], source)}
            for form, name, source in templates.OWN]
    rows += [{"form": form, "vocab": name, "file": file,
              "chats": chat_rows(vocabs[name], (folder / file).read_text())}
             for form, name, file in templates.THEIRS]
    write("templates.jsonl", rows)


if __name__ == "__main__":
    main()
