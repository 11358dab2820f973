#!/usr/bin/env python3
"""Cut the texts that the shipped gates are made from: texts.py DATA OUT

DATA is a folder with text/ and tasks_train/ (README.md says what they are). OUT gets parts to train on, to
calibrate thresholds on, to choose between gates by, and to measure what is told; no two share a sentence,
and the last quarter of each text is measured on alone. One of the two books keeps its CR LF ends of
lines, the other loses them, so that gates meet both. Code is this project's own, of a fixed commit."""
import json
import os
import random
import subprocess
import sys

CODE_COMMIT = "895bba4960389c590988aed0c851ca9057331788"
CODE = {"train": ["runtime", "comm"], "calibrate": ["launch"], "measure": ["tests", "sched"]}
SEED, CHATS_OF_A_KIND, CALIBRATE_CHATS = 1, 1500, 600


def bytes_of(data, name):
    with open(os.path.join(data, "text", name), "rb") as file:
        return file.read()


def chat(question, answer):
    return {"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]}


def chatml(record):
    return "".join(f"<|im_start|>{m['role']}\n{m['content']}<|im_end|>\n" for m in record["messages"]).encode()


def chats(data):
    """Sums and questions with several answers, in a seeded order; and the sums of the last quarter."""
    sums = [json.loads(line) for line in bytes_of(data, "gsm8k-train.jsonl").splitlines()]
    kinds = [[chat(s["question"], s["answer"]) for s in sums]]
    kept_apart = kinds[0][len(sums) * 3 // 4:]
    for task in ["arc_easy", "boolq", "openbookqa"]:
        with open(os.path.join(data, "tasks_train", f"{task}.json"), encoding="utf-8") as file:
            kinds.append([chat(r["instruction"], r["output"]) for r in json.load(file)])
    draw, picked = random.Random(SEED), []
    for kind in kinds:
        picked += draw.sample(kind, CHATS_OF_A_KIND)
    draw.shuffle(picked)
    return picked, kept_apart


def code(folders):
    root = os.path.dirname(os.path.abspath(__file__))
    git = ["git", "-C", root]
    names = subprocess.run([*git, "ls-tree", "-r", "--name-only", "--full-tree", CODE_COMMIT],
                           check=True, capture_output=True, text=True).stdout.split()
    wanted = [n for n in names if n.endswith((".c", ".h")) and n.split("/")[0] in folders]
    return b"\n".join(subprocess.run([*git, "cat-file", "blob", f"{CODE_COMMIT}:{name}"], check=True,
                                     capture_output=True).stdout for name in wanted)


def lines(records):
    return "".join(json.dumps(r) + "\n" for r in records).encode()


def texts(data):
    adventures = bytes_of(data, "american-adventures.txt").replace(b"\r\n", b"\n")
    novel, wiki = bytes_of(data, "jack-sheppard.txt"), bytes_of(data, "wikitext2-valid.txt")
    talk, kept_apart = chats(data)
    yield "adventures.train.txt", adventures[:640_000]
    yield "adventures.calibrate.txt", adventures[641_000:740_000]
    yield "adventures.measure.txt", adventures[757_000:960_000]  # behind it is a licence
    yield "novel.train.txt", novel[:600_000]
    yield "novel.choose.txt", novel[601_000:700_000]
    yield "novel.measure.txt", novel[720_000:910_000]
    yield "wiki.train.txt", wiki[:680_000]
    yield "wiki.calibrate.txt", wiki[681_000:760_000]
    yield "wiki.choose.txt", wiki[761_000:840_000]
    yield "wiki.measure.txt", wiki[900_000:]
    parts = {"calibrate": talk[:CALIBRATE_CHATS], "train": talk[2 * CALIBRATE_CHATS:]}
    for part, records in parts.items():
        yield f"chat.{part}.jsonl", lines([r for r in records if r not in kept_apart])
    yield "chat.measure.txt", b"".join(map(chatml, talk[CALIBRATE_CHATS:2 * CALIBRATE_CHATS]))
    for part, folders in CODE.items():
        yield f"code.{part}.txt", code(folders)


def main(data, out):
    os.makedirs(out, exist_ok=True)
    for name, value in texts(data):
        with open(os.path.join(out, name), "wb") as file:
            file.write(value)
        print(f"{name}: {len(value)} bytes")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
