#!/usr/bin/env python3
"""What policies cost, at equal rates: gates.py run SLUICE MODEL TEXTS, gates.py run-tuned SLUICE MODEL TEXTS,
gates.py run-gemma3 SLUICE MODEL TEXTS, then gates.py show

run measures SmolLM2's gates of runtime/gates and every policy that needs no training, adding a line to gates.jsonl
for each command; what is there already is not measured again, so a stopped run goes on. run-tuned measures the
default gate that shipped before it was tuned through the model, in gates-tuned.jsonl. run-gemma3 has fewer measures
of that model and its gate, to 32,768 tokens, in gates-gemma3.jsonl. TEXTS is where runtime/gates/make.sh put its
parts and the gates that do not ship. show writes the tables between the marks in the
README.md of the project and of runtime/gates, and draws gates.png. Nothing here was tuned on what it measures."""
import json
import math
import os
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
RESULTS, PICTURE, README = (os.path.join(HERE, "gates.jsonl"), os.path.join(HERE, "gates.png"),
                            os.path.join(ROOT, "README.md"))
GATES_README = os.path.join(ROOT, "runtime", "gates", "README.md")
MARKS = "<!-- made by tests/bench/gates.py show -->", "<!-- end -->"
SMOLLM2, GEMMA3 = "SmolLM2-135M-Instruct", "gemma-3-270m"  # as their gates are named
RESULTS_GEMMA3 = os.path.join(HERE, "gates-gemma3.jsonl")
MARKS_GEMMA3 = "<!-- made by tests/bench/gates.py show, of gemma3 -->", "<!-- end of gemma3 -->"
RESULTS_TUNED = os.path.join(HERE, "gates-tuned.jsonl")
MARKS_TUNED = "<!-- made by tests/bench/gates.py show, of tuned gates -->", "<!-- end of tuned gates -->"

RATES = [0.5, 0.25, 0.125, 0.0625]  # kept
GATES = ["default", "lite"]
FREE = ["random", "keynorm", "keydiff", "snapkv", "h2o"]
PROMPT_END = ["snapkv", "h2o"]  # prune once, when a prompt ends
POLICIES = [*GATES, *FREE, "streaming"]
TEXTS = {"novel 2,048": ("novel.measure.txt", 2048, 8), "WikiText-2 2,048": ("wiki.measure.txt", 2048, 8),
         "novel 8,192": ("novel.measure.txt", 8192, 4)}
TEXTS_GEMMA3 = {"novel 2,048": ("novel.measure.txt", 2048, 4), "novel 8,192": ("novel.measure.txt", 8192, 2),
                "novel 32,768": ("novel.measure.txt", 32768, 1)}
SCORED_GEMMA3 = 1024  # of each piece, at its end
POLICIES_GEMMA3, RATES_GEMMA3 = ["default", "random", "streaming"], [0.5, 0.125]
TUNED = ["before", "default"]  # what shipped until it was tuned through the model, and what does
KINDS = ["code.measure.txt", "chat.measure.txt"]  # whose rates are looked at too
# Later keys look unlike the mean of the first, so keydiff keeps more than asked. Asked these rates, by context,
# it keeps about what the others do.
KEYDIFF = {2048: {0.5: 0.297, 0.25: 0.128, 0.125: 0.059, 0.0625: 0.027},
           8192: {0.5: 0.331, 0.25: 0.142, 0.125: 0.065, 0.0625: 0.03}}
FEW_RATES, ONE_RATE = [0.5, 0.125], [0.125]  # for what takes long
WINDOWS = [16, 128]
ENDS = {"end of novel 8,192": "novel 8,192"}  # what follows a long prompt, so that all policies hold the same
END_TOKENS = 256
NEEDLE = ["--lengths", "2048,8064", "--depths", "20,80", "--limit", "1"]


# ---- what is measured ----

def policy_words(policy, keep, context=None):
    if policy == "full":
        return ["--policy", "full"]
    if policy in GATES + TUNED:
        return ["--gate", policy, "--keep", str(keep)]
    if policy == "keydiff" and context:
        keep = KEYDIFF[context][keep]
    return ["--policy", policy, *([] if policy == "streaming" else ["--keep", str(keep)])]


def agreement_words(text, policy, keep):
    name, context, pieces = TEXTS[text]
    return ["eval", "agreement", "--text", name, "--context", str(context), "--limit", str(pieces),
            *policy_words(policy, keep, context)]


def gemma3_words(text, policy, keep):
    name, context, pieces = TEXTS_GEMMA3[text]
    return ["eval", "agreement", "--text", name, "--context", str(context), "--limit", str(pieces),
            "--score", str(SCORED_GEMMA3), *policy_words(policy, keep)]


def end_words(text, policy, keep):
    return [*agreement_words(ENDS[text], policy, keep), "--score", str(END_TOKENS)]


def rate_words(text, policy, keep, window):
    return ["eval", "perplexity", "--text", text, "--context", "4096", "--limit", "3", "--window",
            str(window), *policy_words(policy, keep)]


def needle_words(policy, keep):
    return ["eval", "needle", "--text", "novel.measure.txt", *NEEDLE, *policy_words(policy, keep, 8192)]


def settings(rates):
    """Policies with each of their rates; "full" and streaming have one."""
    yield "full", 1
    for keep in rates:
        yield from ((policy, keep) for policy in [*GATES, *FREE])
    yield "streaming", 0


def all_words():
    for text in TEXTS:
        yield from (agreement_words(text, p, k) for p, k in settings(RATES) if p not in ["full", *PROMPT_END])
    for text in ENDS:
        yield from (end_words(text, p, k) for p, k in settings(ONE_RATE) if p != "full")
    for text in KINDS:
        yield from (rate_words(text, gate, k, w) for gate in GATES for k in FEW_RATES for w in WINDOWS)
    yield from (needle_words(p, k) for p, k in settings(FEW_RATES))


def all_words_gemma3():
    for text in TEXTS_GEMMA3:
        for policy in POLICIES_GEMMA3:
            rates = [0] if policy == "streaming" else RATES_GEMMA3
            yield from (gemma3_words(text, policy, keep) for keep in rates)


def all_words_tuned():
    """Of the other gate, since run measures this one."""
    for text in TEXTS:
        yield from (agreement_words(text, TUNED[0], keep) for keep in RATES)


# ---- measuring ----

def results(path=RESULTS):
    if not os.path.exists(path):
        return {}
    with open(path, encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    return {row["command"]: row for row in rows}


def gate_path(name, gate, texts):
    """One that ships, or one that make.sh left beside the texts."""
    shipped = os.path.join(ROOT, "runtime", "gates", f"{name}.{gate}.gguf")
    return shipped if os.path.exists(shipped) else os.path.join(texts, f"{gate}.gguf")


def real_words(words, name, texts):
    """The command with files where they are."""
    words = list(words)
    if "--text" in words:
        at = words.index("--text") + 1
        words[at] = os.path.join(texts, words[at])
    if "--gate" in words:
        at = words.index("--gate") + 1
        words[at] = gate_path(name, words[at], texts)
    return words


def missing(commands, have):
    return [c for c in map(" ".join, commands) if c not in have]


def measure(name, path, commands, sluice, model, texts, only=""):
    """Add what is missing to the file; name: of the model, as its gates have it."""
    wanted = [c for c in missing(commands, results(path)) if only in c]
    for n, command in enumerate(wanted, 1):
        began = time.monotonic()
        words = [sluice, *real_words(command.split(), name, texts), "-m", model, "--json", "-q"]
        if "--gate" in words and not os.path.exists(words[words.index("--gate") + 1]):
            sys.exit(f"gates.py: there is no {words[words.index('--gate') + 1]}")
        ran = subprocess.run(words, check=True, stdout=subprocess.PIPE)
        value = json.loads(ran.stdout)
        value.pop("report", None)
        with open(path, "a", encoding="utf-8") as file:
            file.write(json.dumps({"command": command, "result": value}) + "\n")
        print(f"{n} of {len(wanted)}, {time.monotonic() - began:.0f} s: {command}", file=sys.stderr, flush=True)


# ---- the table ----

def cell(values):
    return " / ".join(v or "-" for v in values)


def with_error(value, error, form):
    """Of a single piece there is no error."""
    return format(value, form) + ("" if error is None else "±" + format(error, form.lstrip("+")))


def percents(value, error, form):
    return with_error(100 * value, None if error is None else 100 * error, form)


def rise(row):
    r = row["result"]
    return percents(r["rise"], r["rise_se"], "+.2f" if r["rise"] < 0.095 else "+.1f")


def divergence(row):
    r = row["result"]
    return with_error(1000 * r["kl"], None if r["kl_se"] is None else 1000 * r["kl_se"], ".0f")


def top_one(row):
    r = row["result"]
    return percents(r["agreement"], r["agreement_se"], ".1f")


def found(row, kinds):
    """Share of exact finds, Wilson's half width at one standard error beside it."""
    cells = [c for c in row["result"]["cells"] if c["kind"] in kinds]
    n, k = sum(c["trials"] for c in cells), sum(c["found"] for c in cells)
    p = k / n
    half = math.sqrt(p * (1 - p) / n + 1 / (4 * n * n)) / (1 + 1 / n)
    return f"{100 * p:.0f}±{100 * half:.0f}"


def copied(row):
    """Mean leading share, which says more than exact finds where answers are long."""
    cells = [c for c in row["result"]["cells"] if c["kind"] in ("key", "copy")]
    shares = [c["leading_share"] for c in cells]
    mean = sum(shares) / len(shares)
    error = math.sqrt(sum((s - mean) ** 2 for s in shares) / (len(shares) * (len(shares) - 1)))
    return f"{100 * mean:.0f}±{100 * error:.0f}"


COLUMNS = [
    *[(f"perplexity, {text}, %", RATES, lambda p, k, text=text: agreement_words(text, p, k), rise) for text in TEXTS],
    *[(f"KL, {text}, mnat", RATES, lambda p, k, text=text: agreement_words(text, p, k), divergence)
      for text in ["WikiText-2 2,048", "novel 8,192"]],
    ("top-1, novel 8,192, %", RATES, lambda p, k: agreement_words("novel 8,192", p, k), top_one),
    *[(f"KL, {text}, mnat", ONE_RATE, lambda p, k, text=text: end_words(text, p, k), divergence) for text in ENDS],
    ("fact and digits, %", FEW_RATES, needle_words, lambda row: found(row, ("fact", "digits"))),
    ("key and copy, %", FEW_RATES, needle_words, copied),
]


def table(have):
    """Rows are measures, since policies are fewer than what is measured of them."""
    policies, single = ["full", *POLICIES], {"full": 1, "streaming": 0}
    lines = ["| | evicted, % | " + " | ".join(policies) + " |", "|---" * (len(policies) + 2) + "|"]
    for name, rates, words, show in COLUMNS:
        def shown(policy, keep):
            row = have.get(" ".join(words(policy, keep)))
            return show(row) if row else ""
        for i, keep in enumerate(rates):
            cells = []
            for policy in policies:
                once = policy in single and i > 0
                cells.append("" if once else shown(policy, single.get(policy, keep)))
            lines.append(f"| {name if i == 0 else ''} | {100 * (1 - keep):g} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def small_table(have, policies, texts, rates, words):
    lines = ["| | evicted, % | " + " | ".join(policies) + " |", "|---" * (len(policies) + 2) + "|"]
    for what, show in [("perplexity, {}, %", rise), ("KL, {}, mnat", divergence), ("top-1, {}, %", top_one)]:
        for text in texts:
            for i, keep in enumerate(rates):
                cells = []
                for policy in policies:
                    row = have.get(" ".join(words(text, policy, 0 if policy == "streaming" else keep)))
                    cells.append(show(row) if row and not (policy == "streaming" and i > 0) else "")
                lines.append(f"| {what.format(text) if i == 0 else ''} | {100 * (1 - keep):g} | "
                             + " | ".join(cells) + " |")
    return "\n".join(lines)


def rate_lines(have):
    """How far the realized rate is from the asked one, at most, over all texts and rates; by gate."""
    worst = {}
    for row in have.values():
        words = row["command"].split()
        if "--gate" not in words or words[1] not in ("perplexity", "agreement"):
            continue
        gate, keep = words[words.index("--gate") + 1], float(words[words.index("--keep") + 1])
        off = 100 * (row["result"]["retention_mean"] - keep)
        if abs(off) >= abs(worst.get(gate, (0, ""))[0]):
            worst[gate] = off, words[words.index("--text") + 1].split(".")[0]
    return "; ".join(f"`{gate}` {off:+.2f} points ({text})" for gate, (off, text) in sorted(worst.items()))


def off_lines(have):
    """Where the table's columns are not of equal rates."""
    found = []
    for name, rates, words, _ in COLUMNS:
        for policy in [*GATES, *FREE]:
            for keep in rates:
                row = have.get(" ".join(words(policy, keep)))
                if row and abs(row["result"]["retention_mean"] - keep) > 0.02:
                    found.append(f"{name.rsplit(',', 1)[0]}: {policy} "
                                 f"{100 * row['result']['retention_mean']:.1f} for {100 * keep:g}")
    return "; ".join(dict.fromkeys(found)) or "none"


def kl_lines(have):
    """How far the default gate's KL is below the least of the policies without training, by text and rate."""
    found = []
    for text, rates, words in [*((t, RATES, agreement_words) for t in TEXTS), *((t, ONE_RATE, end_words) for t in ENDS)]:
        lower = []
        for keep in rates:
            rows = {p: have.get(" ".join(words(text, p, keep))) for p in ["default", *FREE]}
            free = [row["result"]["kl"] for p, row in rows.items() if row and p != "default"]
            if rows["default"] and free:
                lower.append(f"{100 * (1 - rows['default']['result']['kl'] / min(free)):.0f}")
        found.append(f"{text} {' / '.join(lower)}")
    return "; ".join(found)


def put_between(text, marks, made):
    before, rest = text.split(marks[0])
    _, after = rest.split(marks[1])
    return before + "\n".join([marks[0], *made, marks[1]]) + after


def between_marks(have, have_gemma3, have_tuned):
    """(file, its text as it is, as it should be) of each with a table."""
    made = [table(have), "", f"KL of `default` below the best policy without training, %: {kl_lines(have)}.",
            f"Furthest from the asked rate, in all kinds of text, of the gates: {rate_lines(have)}. "
            f"Kept more than 2 points off, in %: {off_lines(have)}."]
    made_gemma3 = [small_table(have_gemma3, POLICIES_GEMMA3, TEXTS_GEMMA3, RATES_GEMMA3, gemma3_words), "",
                   f"Furthest from the asked rate: {rate_lines(have_gemma3)}."]
    made_tuned = [small_table(have | have_tuned, TUNED, TEXTS, RATES, agreement_words)]
    for path, tables in [(README, [(MARKS, made), (MARKS_GEMMA3, made_gemma3)]),
                         (GATES_README, [(MARKS_TUNED, made_tuned)])]:
        with open(path, encoding="utf-8") as file:
            text = new = file.read()
        for marks, lines in tables:
            new = put_between(new, marks, lines)
        yield path, text, new


# ---- the picture ----

def draw(have):
    names = list(TEXTS)
    script = [f'set terminal pngcairo size {480 * len(names)},420 font "sans,10"', f'set output "{PICTURE}"',
              f"set multiplot layout 1,{len(names)}", 'set xlabel "evicted, %"',
              "set grid", 'set xrange [45:97]', "set yrange [-2:65]", "set key top left"]
    for text in names:
        script.append(f'set title "{text} tokens"\nset ylabel "rise of perplexity, %"')
        plots, data = [], []
        for policy in [p for p in POLICIES if p not in ("streaming", *PROMPT_END)]:
            rows = [have.get(" ".join(agreement_words(text, policy, k))) for k in RATES]
            if None in rows:
                continue
            width = 3 if policy in GATES else 1
            plots.append(f'"-" using 1:2:3:4 with yerrorlines lw {width} pt 7 ps 0.6 title "{policy}"')
            for row in rows:
                r = row["result"]
                mean, se = 100 * r["rise"], 100 * r["rise_se"]
                data.append(f"{100 * (1 - r['retention_mean'])} {mean} {mean - se} {mean + se}")
            data.append("e")
        row = have.get(" ".join(agreement_words(text, "streaming", 0)))
        if row:
            level = 100 * row["result"]["rise"]
            plots.append(f'{level} lc rgb "black" dt 2 title "nothing kept"')
        script += ["plot " + ", ".join(plots), *data]
    subprocess.run(["gnuplot"], input="\n".join([*script, "unset multiplot", ""]).encode(), check=True)


def show(write):
    """The tables and the picture; without `write` only whether the pages have what was measured."""
    have, have_gemma3, have_tuned = results(), results(RESULTS_GEMMA3), results(RESULTS_TUNED)
    for run, commands, done in [("run", all_words(), have), ("run-gemma3", all_words_gemma3(), have_gemma3),
                                ("run-tuned", all_words_tuned(), have_tuned)]:
        lacks = missing(commands, done)
        if lacks:
            sys.exit(f"gates.py {run}: {len(lacks)} commands have not been run, the first: {lacks[0]}")
    for path, old, new in between_marks(have, have_gemma3, have_tuned):
        if write:
            with open(path, "w", encoding="utf-8") as file:
                file.write(new)
        elif old != new:
            sys.exit(f"{path} is not what gates*.jsonl say: run gates.py show")
    if write:
        draw(have)


def main(words):
    if words[:1] == ["run"] and len(words) in (4, 5):
        measure(SMOLLM2, RESULTS, all_words(), *words[1:])
    elif words[:1] == ["run-gemma3"] and len(words) == 4:
        measure(GEMMA3, RESULTS_GEMMA3, all_words_gemma3(), *words[1:])
    elif words[:1] == ["run-tuned"] and len(words) in (4, 5):
        measure(SMOLLM2, RESULTS_TUNED, all_words_tuned(), *words[1:])
    elif words in (["show"], ["check"]):
        show(words == ["show"])
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
