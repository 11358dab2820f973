"""`sluice eval`: agreement differs in nothing from the full cache under policy full, in something under
the others, and its perplexities are those of `eval perplexity`; tasks are decided by the log-likelihoods
that an echoed completion tells; needle counts what `run` would say;
ruler runs policies where the full cache solves half. Bytes are equal on 1, 2 and 3 ranks."""
import json
import math
import os
import signal
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "mpi"))
import e2e  # noqa: E402

KEYS = ["policy", "sinks", "window", "context", "pieces", "positions", "agreement", "agreement_se",
        "kl", "kl_se", "perplexity_full", "perplexity", "rise", "rise_se", "retention_mean", "retention"]


def run(bench, ranks, *words):
    ran = bench.run(ranks, "eval", *words, "-m", bench.path("model.gguf"), "--json")
    e2e.check(ran.returncode == 0, f"{ranks} ranks, {words}: {ran.stderr.decode()}")
    return ran.stdout


def agreement(bench, text, *words):
    value = json.loads(run(bench, 0, "agreement", "--text", text, *words))
    e2e.check(list(value) == KEYS, f"{words}: {list(value)}")
    e2e.check(abs(value["perplexity"] / value["perplexity_full"] - 1 - value["rise"]) < 1e-7, f"{value}")
    for policy, key in [([], "perplexity"), (["--policy", "full"], "perplexity_full")]:
        scored = json.loads(run(bench, 0, "perplexity", "--text", text, *words, *policy))
        e2e.check(abs(scored["perplexity"] / value[key] - 1) < 1e-7,
                  f"{words}: {key} {value[key]}, of eval perplexity {scored['perplexity']}")
        if not policy:
            e2e.check(scored["retention_mean"] == value["retention_mean"],
                      f"{words}: {value}, of eval perplexity {scored['retention_mean']}")
    return value


def test_policies(bench, text):
    words = ["--context", 256, "--window", 16]
    full = agreement(bench, text, *words, "--policy", "full")
    e2e.check(full["agreement"] == 1 and full["kl"] == 0 and full["agreement_se"] == 0
              and full["kl_se"] == 0 and full["perplexity"] == full["perplexity_full"]
              and full["positions"] == 128 * full["pieces"], f"full: {full}")
    for policy in ["streaming", "random", "keydiff", "snapkv", "h2o"]:
        value = agreement(bench, text, *words, "--policy", policy, "--keep", 0.3)
        e2e.check(0 <= value["agreement"] < 1 and value["kl"] > 0 and value["kl_se"] > 0
                  and value["policy"] == policy, f"{policy}: {value}")
        e2e.check(value["perplexity_full"] == full["perplexity"], f"{policy}: {value}")


def test_positions(bench, text):
    value = agreement(bench, text, "--context", 1000, "--window", 16, "--policy", "streaming")
    e2e.check(value["positions"] == 250 * value["pieces"], f"every second of 500: {value}")
    short = bench.write("short.txt", e2e.words(7, 900))
    value = agreement(bench, short, "--context", 256, "--window", 16, "--policy", "streaming")
    if value["pieces"] == 1:
        e2e.check(value["kl_se"] is None and value["agreement_se"] is None, f"one piece: {value}")
    value = agreement(bench, short, "--context", 3, "--window", 1, "--sinks", 0)
    e2e.check(value["positions"] == 2 * value["pieces"], f"tiny pieces: {value}")


def test_score(bench, text):
    """The end of each piece: half of it as without the word, and more of it adds to the sum."""
    words = ["perplexity", "--text", text, "--context", 256]
    half, same, less = [json.loads(run(bench, 0, *words, *more)) for more in ([], ["--score", 128], ["--score", 40])]
    e2e.check(half["nll"] == same["nll"], f"{half}, with --score 128 {same}")
    e2e.check(less["tokens"] * 128 == half["tokens"] * 40
              and 0 < less["nll"] * less["tokens"] < half["nll"] * half["tokens"], f"{less} of {half}")
    pruned = json.loads(run(bench, 0, *words, "--score", 40, "--policy", "snapkv", "--keep", 0.1, "--window", 16))
    e2e.check(pruned["mask_from"] == 216 and pruned["nll"] != less["nll"], f"{pruned}")
    value = json.loads(run(bench, 0, "agreement", *words[1:], "--score", 40, "--policy", "streaming", "--window", 16))
    e2e.check(value["positions"] == 40 * value["pieces"] and value["kl"] > 0, f"{value}")
    ran = bench.run(0, "eval", *words, "--score", 256, "-m", bench.path("model.gguf"))
    e2e.check(ran.returncode == 2 and "--score" in ran.stderr.decode(), f"{ran}")


def same_bytes(bench, *words):
    alone = run(bench, 0, *words)
    for ranks, more in [(1, []), (2, ["--chunk", 37]), (3, ["-t", 2])]:
        found = run(bench, ranks, *words, *more)
        e2e.check(found == alone, f"{words}, {ranks} ranks {more}: {found!r}, alone {alone!r}")
    return json.loads(alone)


def test_ranks(bench, text):
    n = 0
    for policy in ["random", "h2o"]:
        words = ["agreement", "--text", text, "--context", 256, "--window", 16, "--policy", policy,
                 "--keep", 0.3]
        alone = run(bench, 0, *words)
        for ranks, more in [(0, ["--chunk", 37, "-t", 2]), (1, []), (2, []), (3, ["--chunk", 50])]:
            found = run(bench, ranks, *words, *more)
            e2e.check(found == alone, f"{policy}, {ranks} ranks {more}: {found!r}, alone {alone!r}")
            n += 1
    return n


def test_limit(bench, text):
    """Every third piece, taken together or each by itself."""
    words = ["perplexity", "--text", text, "--context", 256]
    found = json.loads(run(bench, 0, *words, "--limit", 2))
    everything = json.loads(run(bench, 0, *words))
    e2e.check(found["pieces"] == 2 and everything["pieces"] > 2, f"{found}")
    e2e.check(found["nll"] != everything["nll"], f"--limit 2 of {everything['pieces']}: {found}")


# ---- tasks ----

SYSTEM = ("<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face"
          "<|im_end|>\n")
QUESTIONS = [(f"{e2e.words(k, 150)} Answer format: north/south/{'east/' * (k % 2)}a bit of both", 3 + k % 2)
             for k in range(12)]


def likelihoods(bench):
    """[question][answer] from `batch`, which echoes prompts with log-probabilities."""
    requests = []
    for k, (question, _) in enumerate(QUESTIONS):
        head = f"{SYSTEM}<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n"
        for i, choice in enumerate(question.split("format: ")[1].split("/")):
            text = f"the correct answer is {choice}"
            requests.append(e2e.completion(f"{k} {i}", head + text, echo=True, logprobs=0, max_tokens=0))
    jobs, out = bench.job("likelihoods.jsonl", requests), bench.path("likelihoods.out")
    ran = bench.run(0, "batch", "-m", bench.path("model.gguf"), "-i", jobs, "-o", out)
    e2e.check(ran.returncode == 0, ran.stderr.decode())
    found = [[0] * n for _, n in QUESTIONS]
    for name, line in e2e.records(out).items():
        told = json.loads(line)["response"]["body"]["choices"][0]["logprobs"]
        k, i = map(int, name.split())
        at, start = 0, "".join(told["tokens"]).rindex("the correct answer is")
        for token, logprob in zip(told["tokens"], told["token_logprobs"]):
            found[k][i] += logprob if at >= start else 0
            at += len(token)
    return found


def test_tasks(bench):
    sums = likelihoods(bench)
    records, right = [], 0
    for k, (question, n) in enumerate(QUESTIONS):
        choices = question.split("format: ")[1].split("/")
        answer = choices[k % n]
        right += max(range(n), key=lambda i: sums[k][i]) == k % n
        records.append({"instruction": question, "input": "", "output": f"the correct answer is {answer}",
                        "answer": answer})
    e2e.check(0 < right < len(records), f"{right} right: nothing is told apart")
    records.insert(3, {"instruction": "no answers", "output": "x", "answer": "x"})
    records.append(dict(records[0], instruction="long " * 900 + records[0]["instruction"]))
    path = bench.write("asked.json", json.dumps(records))
    words = ["tasks", "--form", "labels", "--tasks", f"{path},{path}"]
    value = same_bytes(bench, *words)
    for task in value["tasks"]:
        e2e.check((task["asked"], task["bad"], task["too_long"]) == (len(QUESTIONS), 1, 1), f"{task}")
        e2e.check(abs(task["accuracy"] - right / len(QUESTIONS)) < 1e-9,
                  f"{task}, by echoed completions {right} of {len(QUESTIONS)} are right")
    p = right / len(QUESTIONS)
    e2e.check(abs(value["tasks"][0]["error"] - (p * (1 - p) / len(QUESTIONS)) ** 0.5) < 1e-9, f"{value}")
    same_bytes(bench, *words, "--policy", "random", "--keep", 0.5, "--window", 16)
    none = json.loads(run(bench, 0, *words, "--context", 8))
    e2e.check(none["accuracy"] is None and none["tasks"][0]["asked"] == 0, f"none fits: {none}")
    few = json.loads(run(bench, 0, *words, "--limit", 4))
    e2e.check([t["asked"] + t["bad"] + t["too_long"] for t in few["tasks"]] == [4, 4], f"{few}")
    ran = bench.run(0, "eval", "tasks", "-m", bench.path("model.gguf"), "--tasks", path)
    e2e.check("record 3 is skipped" in ran.stderr.decode(), ran.stderr.decode())
    broken = bench.write("broken.json", "[{]")
    ran = bench.run(0, "eval", "tasks", "-m", bench.path("model.gguf"), "--tasks", broken)
    e2e.check(ran.returncode == 4 and "no JSON array" in ran.stderr.decode(), f"{ran}")


def ascii_words(seed, n):
    """Without characters of several tokens, whose places in a told text would be hard to say."""
    return e2e.words(seed, n).encode("ascii", "ignore").decode().strip()


def cloze(k):
    """Question k and its answers, as they are asked alone."""
    return f"{ascii_words(k, 20)}?", [ascii_words(100 * k + i, 10 + 9 * i) for i in range(3)]


def cloze_prompt(k, shots, n):
    others = [cloze((k + (s + 1) * n // (shots + 1)) % n) + ((k + (s + 1) * n // (shots + 1)) % 3,)
              for s in range(shots)]
    head = "".join(f"Question: {q}\nAnswer: {answers[right]}\n\n" for q, answers, right in others)
    return f"{head}Question: {cloze(k)[0]}\nAnswer:"


def test_cloze(bench):
    """The likeliest answer per byte, after two others that are answered; from echoed completions too."""
    n, records, requests = 9, [], []
    for k in range(n):
        question, answers = cloze(k)
        listed = " ".join(f"Answer{i + 1}: {a}" for i, a in enumerate(answers))
        records.append({"instruction": f"Choose the answer to the question: {question}\n\n{listed}\n\nAnswer "
                        "format: answer1/answer2/answer3", "output": f"it is answer{k % 3 + 1}",
                        "answer": f"answer{k % 3 + 1}"})
        requests += [e2e.completion(f"{k} {i}", f"{cloze_prompt(k, 2, n)} {a}", echo=True, logprobs=0, max_tokens=0)
                     for i, a in enumerate(answers)]
    out = bench.path("cloze.out")
    ran = bench.run(0, "batch", "-m", bench.path("model.gguf"), "-i", bench.job("cloze.jsonl", requests), "-o", out)
    e2e.check(ran.returncode == 0, ran.stderr.decode())
    scores = [[0] * 3 for _ in range(n)]
    for name, line in e2e.records(out).items():
        k, i = map(int, name.split())
        told = json.loads(line)["response"]["body"]["choices"][0]["logprobs"]
        at, start = 0, len(cloze_prompt(k, 2, n))
        for token, logprob in zip(told["tokens"], told["token_logprobs"]):
            scores[k][i] += logprob / len(cloze(k)[1][i]) if at >= start else 0
            at += len(token)
    right = sum(max(range(3), key=lambda i: scores[k][i]) == k % 3 for k in range(n))
    e2e.check(0 < right < n, f"{right} right: nothing is told apart")
    words = ["tasks", "--shots", 2, "--tasks", bench.write("cloze.json", json.dumps(records))]
    value = same_bytes(bench, *words)
    e2e.check((value["form"], value["shots"]) == ("cloze", 2), f"{value}")
    e2e.check(abs(value["accuracy"] - right / n) < 1e-9, f"{value}, by echoed completions {right} of {n}")
    for more, said in [(["--shots", n], "questions to take them from"), (["--form", "poem"], "--form")]:
        ran = bench.run(0, "eval", *words, *more, "-m", bench.path("model.gguf"))
        e2e.check(ran.returncode == 2 and said in ran.stderr.decode(), f"{more}: {ran}")


# ---- needle ----

def test_needle(bench, text):
    words = ["needle", "--text", text, "--lengths", "300,600", "--depths", "0,50,100", "--limit", 2]
    value = same_bytes(bench, *words, "--policy", "random", "--keep", 0.3, "--window", 16)
    kinds = ["fact", "digits", "key", "copy"]
    e2e.check([(c["kind"], c["tokens"], c["depth"]) for c in value["cells"]]
              == [(k, n, d) for k in kinds for n in (300, 600) for d in (0, 0.5, 1)], f"{value}")
    e2e.check(all(c["trials"] == 2 and 0 <= c["found"] <= 2 and 0 <= c["leading_share"] <= 1
                  for c in value["cells"]), f"{value}")
    e2e.check(abs(value["retention_mean"] - 0.3) < 0.05, f"{value['retention_mean']} kept")
    full = json.loads(run(bench, 0, *words))
    smaller = [(a["cache_bytes"], b["cache_bytes"]) for a, b in zip(value["cells"], full["cells"])]
    e2e.check(all(a < b for a, b in smaller), f"pruned and full caches: {smaller}")
    for more, said in [(["--lengths", 100_000, "--context", 200_000], "fewer than a prompt"), (["--depths", 101], "--depths")]:
        ran = bench.run(0, "eval", "needle", "-m", bench.path("model.gguf"), "--text", text, *more)
        e2e.check(ran.returncode in (2, 4) and said in ran.stderr.decode(), f"{more}: {ran}")


# ---- ruler ----

def ruler_cells(value):
    return {(c["task"], c["tokens"], c["policy"], c["keep"]): c for c in value["cells"]}


def test_ruler(bench, text):
    """A model of noise solves nothing, so that policies run likelihood alone."""
    tasks = ["single", "keyvalue", "questions", "copy", "likelihood"]
    words = ["ruler", "--text", text, "--lengths", "600,1000", "--trials", 3, "--tasks", ",".join(tasks),
             "--policies", "random,streaming,full,snapkv", "--keep", "0.3,1", "--window", 16, "--seed", 4]
    value = same_bytes(bench, *words)
    cells = ruler_cells(value)
    runs = [("full", None), ("random", 0.3), ("random", 1), ("streaming", None), ("snapkv", 0.3), ("snapkv", 1)]
    lengths = (600, 1000)
    e2e.check(list(cells) == [(t, n, "full", None) for t in tasks for n in lengths]
              + [("likelihood", n, *run) for run in runs[1:] for n in lengths], f"{list(cells)}")
    e2e.check([(p["policy"], p["keep"]) for p in value["policies"]] == runs
              and all(p["cells"] == 0 and p["of_full"] is None for p in value["policies"]), f"{value['policies']}")
    for (task, n, policy, keep), c in cells.items():
        e2e.check(c["trials"] == 3 and not c["solved"] and (c["phases"] is None) == (task == "likelihood"), f"{c}")
        kept = {"full": 1, "streaming": 0}.get(policy, keep)
        if policy == "snapkv":  # prunes the first half, and keeps what comes after it
            kept = (1 + kept) / 2
        e2e.check(abs(c["retention"] - kept) < 0.05, f"{policy} at {keep} kept {c['retention']}")
        if task == "likelihood":
            everything = policy == "full" or keep == 1
            e2e.check((c["of_full"] == 1) == everything and c["score"] > 1, f"{c}")
            full = cells[task, n, "full", None]["score"]
            e2e.check(abs(c["of_full"] / math.exp(full - c["score"]) - 1) < 1e-7, f"{c}, full {full}")
    e2e.check(cells["likelihood", 1000, "streaming", None]["cache_bytes"]
              < cells["likelihood", 1000, "full", None]["cache_bytes"], f"{cells}")
    other = ruler_cells(json.loads(run(bench, 0, *words[:-1], 5, "--policies", "full", "--tasks", "likelihood")))
    e2e.check(other["likelihood", 600, "full", None]["score"] != cells["likelihood", 600, "full", None]["score"],
              "another seed, the same prompts")
    alone = ruler_cells(json.loads(run(bench, 0, *words, "--policies", "streaming", "--tasks", "likelihood")))
    for key, c in alone.items():
        e2e.check(c == cells[key], f"{c} without other tasks, {cells[key]} with them")


def test_ruler_talk(bench, text):
    table = bench.run(2, "eval", "ruler", "-m", bench.path("model.gguf"), "--lengths", 600, "--trials", 2,
                      "--tasks", "multikey,keyvalue", "--policies", "random", "--window", 16)
    e2e.check(table.returncode == 0 and "not solved, left out" in table.stdout.decode(), f"{table}")
    gate = bench.path("prompt.gguf")  # one that reads prompts in one piece, longer than the full cache's
    made = bench.run(0, "train", "init", "-m", bench.path("model.gguf"), "-o", gate, "--span", "prompt")
    e2e.check(made.returncode == 0, f"{made}")
    words = ["ruler", "--text", text, "--lengths", 500, "--trials", 2, "--tasks", "single,likelihood", "-g", gate,
             "--policies", "gate", "--keep", 0.5, "--window", 16, "--chunk"]
    e2e.check(run(bench, 2, *words, 64) == run(bench, 0, *words, 500), "a gate of whole prompts")
    short = bench.write("short.txt", e2e.words(7, 1300))
    for more, said in [(["--lengths", "600,256", "--tasks", "single,multiquery"], "too few for the task multiquery"),
                       (["--text", short, "--lengths", "256,1000"], "longer --text")]:
        ran = bench.run(0, "eval", "ruler", "-m", bench.path("model.gguf"), *more)
        e2e.check(ran.returncode == 2 and said in ran.stderr.decode(), f"{more}: {ran}")
        e2e.check("policy full" not in ran.stderr.decode(), f"{more}: refused after prompts had run: {ran}")


def test_ruler_own(bench, text):
    """--keep 0 is the gate's own threshold, so at the gate's own rate; other policies have none."""
    gate = bench.path("window.gguf")
    e2e.good(bench, 0, "train", "init", "-m", bench.path("model.gguf"), "-o", gate, "--fill", "random")
    words = ["eval", "ruler", "-m", bench.path("model.gguf"), "--text", text, "--lengths", 500, "--trials", 2,
             "--tasks", "likelihood", "-g", gate, "--policies", "gate,random", "--window", 16]
    own = e2e.good(bench, 0, *words, "--keep", "0,0.5", "--json")
    e2e.check("leaves out random" in own.stderr.decode(), f"{own}")
    value = json.loads(own.stdout)
    e2e.check([(p["policy"], p["keep"]) for p in value["policies"]]
              == [("full", None), ("gate", None), ("gate", 0.5), ("random", 0.5)] and value["complete"], f"{value}")
    alone = json.loads(run(bench, 0, "perplexity", "--text", text, "-g", gate, "--window", 16, "--context", 500))
    kept = ruler_cells(value)["likelihood", 500, "gate", None]["retention"]
    e2e.check(abs(kept - alone["retention_mean"]) < 0.1, f"kept {kept}, of eval perplexity {alone['retention_mean']}")
    table = e2e.good(bench, 0, *words, "--keep", 0).stdout.decode()
    e2e.check("gate           own" in table, table)
    ran = bench.run(0, *words[:-6], "--policies", "random", "--keep", 0)
    e2e.check(ran.returncode == 2 and "--keep 0 is a gate's own threshold" in ran.stderr.decode(), f"{ran}")
    ran = bench.run(0, *words[:-4], "--policies", "random", "--window", 16, "--keep", 0)
    e2e.check(ran.returncode == 2 and "leaves nothing to ask random at" in ran.stderr.decode(), f"{ran}")


def test_ruler_lora(bench, text):
    maker = os.path.join(os.path.dirname(bench.args.make_model), "make_lora")
    adapter = bench.path("lora.gguf")
    subprocess.run([maker, bench.path("model.gguf"), adapter, "3", "4", "8", "f16", "all"], check=True,
                   stdout=subprocess.DEVNULL)
    words = ["ruler", "--text", text, "--lengths", 500, "--trials", 2, "--tasks", "likelihood", "--policies", "full"]
    scores = [ruler_cells(json.loads(run(bench, 0, *words, *more)))["likelihood", 500, "full", None]["score"]
              for more in ([], ["--lora", adapter], ["--lora", adapter + "=0"])]
    e2e.check(scores[0] == scores[2] != scores[1], f"without adapter, with it, 0 times: {scores}")


def test_ruler_stopped(bench, text):
    """Runs that ended before another fails are told."""
    words = ["eval", "ruler", "-m", bench.path("model.gguf"), "--text", text, "--lengths", 1000, "--tasks",
             "likelihood", "--window", 16, "--policies", "streaming,random", "--keep", "0.5,0.4,0.3,0.2,0.1", "--json"]
    with open(bench.path("told"), "wb") as told:
        job = bench.start(0, *words, "--trials", 40, stdout=told)
    e2e.wait_until(lambda: "policy random" in bench.talk() or job.poll() is not None, 120)
    job.send_signal(signal.SIGTERM)
    code = job.wait(timeout=60)
    with open(bench.path("told"), "rb") as file:
        text = file.read()
    e2e.check(code != 0 and "runs before it" in bench.talk(), f"exit code {code}: {bench.talk()}")
    value = json.loads(text)
    runs = [(p["policy"], p["keep"]) for p in value["policies"]]
    e2e.check(runs[:2] == [("full", None), ("streaming", None)] and len(runs) < 7 and not value["complete"], f"{runs}")


def test_refusals(bench, text):
    for words, said in [([], "--text"), (["--text", text, "--keep-out", "x"], "--keep-out")]:
        ran = bench.run(0, "eval", "agreement", "-m", bench.path("model.gguf"), *words)
        e2e.check(ran.returncode == 2 and said in ran.stderr.decode(), f"{words}: {ran}")


def body(bench):
    bench.model("model.gguf", seed=31, layers=3, width=96, ffn=160, context=1024)
    text = bench.write("text.txt", e2e.words(5, 6000))
    test_policies(bench, text)
    test_positions(bench, text)
    test_limit(bench, text)
    test_score(bench, text)
    test_tasks(bench)
    test_cloze(bench)
    test_needle(bench, text)
    test_ruler(bench, text)
    test_ruler_talk(bench, text)
    test_ruler_own(bench, text)
    test_ruler_lora(bench, text)
    test_ruler_stopped(bench, text)
    test_refusals(bench, text)
    print(f"{test_ranks(bench, text)} runs of equal bytes")


e2e.main("eval", body)
