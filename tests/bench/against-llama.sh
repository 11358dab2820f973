#!/usr/bin/env bash
# tests/bench/against-llama.sh - Sluice and llama.cpp on the same file, run in turns; medians and their
# ratios on stdout, talk on stderr.
#   against-llama.sh [--model MODEL.gguf | --shape 8b [--layers 4|8|16]] [--threads N] [--rounds N]
#                    [--rows NAME,...] [--raw RAW.json]
# --shape 8b: a file of Llama 3.1 8B's shape with random weights, made once (make_8b.py, 4.5 GB) beside
# the models of launch/fetch_model.sh; needs the PyPI packages gguf and numpy. --rows: some of those at
# the end, of which prompt-8192 and sequences take an hour of such a model: --layers 4 compares a file
# of 4 of its 32 layers, 2 of them with the more bits as half of all have. The head, which decoding reads,
# weighs eight times as much there. RAW.json has every measure; one that is there
# already is not measured again, so a stopped run goes on.
# llama.cpp is built from the PyPI source package that carries it, at its best settings: flash attention,
# f16 cache; on a CPU with AMX with and without it, and the better one counts. SLUICE names another
# binary than the release build's.
set -euo pipefail
cd "$(dirname "$0")/../.."

model='' shape='' layers='' threads=2 rounds=5 rows='' raw=/dev/null
while [ $# -gt 1 ]; do
    case $1 in
    -m | --model) model=$2 ;;
    -s | --shape) shape=$2 ;;
    -l | --layers) layers=$2 ;;
    -t | --threads) threads=$2 ;;
    -r | --rounds) rounds=$2 ;;
    -w | --rows) rows=$2 ;;
    -o | --raw) raw=$2 ;;
    *) break ;;
    esac
    shift 2
done
if [ $# != 0 ] || [[ $shape != @(|8b) || $layers != @(|4|8|16) ]] || [ -n "$layers" -a -z "$shape" ]; then
    sed -n '4,5s/^# *//p' "$0" >&2
    exit 2
fi
demo=$(launch/fetch_model.sh)
if [ -n "$shape" ]; then
    model=$(dirname "$demo")/llama-8b-shape${layers:+-$layers-layers}.Q4_K_M.gguf
    [ -f "$model" ] || python3 tests/bench/make_8b.py "$demo" "$model" ${layers:+"$layers"}
fi
[ -n "$model" ] || model=$demo

if [ -z "${SLUICE:-}" ]; then
    cmake --preset release -DBUILD_TESTING=OFF >&2
    cmake --build --preset release >&2
    SLUICE=build/release/launch/sluice
fi

build_peer() { tests/golden/build_llama_cpp.sh "$1" llama-bench llama-batched-bench; }
peers=("$(build_peer native)/bin")
if grep -q amx_int8 /proc/cpuinfo; then
    peers+=("$(build_peer no-amx)/bin")
fi

gate=$(mktemp --suffix=.gguf)
trap 'rm -f "$gate"' EXIT
"$SLUICE" train init -m "$model" -o "$gate" >&2 # not trained: who is kept does not matter for speed

python3 - "$SLUICE" "$model" "$gate" "$threads" "$rounds" "$raw" "$shape" "$rows" "${peers[@]}" <<'PYTHON'
import json
import os
import subprocess
import sys

sluice, model, gate, threads, rounds, raw, shape, chosen, *peers = sys.argv[1:]
GATED = [(f"{100 - keep}% evicted", ["-g", gate, "--keep", str(keep / 100)])
         for keep in ([30] if shape else [50, 30])]
SEQUENCES, DEPTH, ANSWER = 16, 1024, 32
# name, what, llama-bench's and Sluice's options, and Sluice's variants; llama-batched-bench has its own
ROWS = [
    ("prompt-512", "prompt 512", ["-p", "512", "-n", "0"], []),
    ("prompt-8192", "prompt 8,192", ["-p", "8192", "-n", "0"], GATED),
    ("decode", "decode, empty cache", ["-p", "0", "-n", "64"], []),
    ("decode-8192", "decode at 8,192", ["-p", "0", "-n", "32", "-d", "8150"], GATED),
    ("sequences", f"{SEQUENCES} sequences together at {DEPTH:,}",
     ["-p", "0", "-n", str(ANSWER), "-d", str(DEPTH), "--sequences", str(SEQUENCES)], []),
]
if chosen:
    unknown = set(chosen.split(",")) - {row[0] for row in ROWS}
    if unknown:
        sys.exit(f"against-llama: no row {', '.join(unknown)}; there are "
                 f"{', '.join(row[0] for row in ROWS)}")
    ROWS = [row for row in ROWS if row[0] in chosen.split(",")]


def output(words):
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
    if done.returncode != 0:
        sys.exit(f"against-llama: {' '.join(words)}: {done.stderr.decode()[-2000:]}")
    return done.stdout.decode()


def peer_together(folder):
    """One prompt is read and copied; each sequence attends to its own copy."""
    told = output([folder + "/llama-batched-bench", "-m", model, "-t", threads, "-fa", "on", "-ctk", "f16",
                   "-ctv", "f16", "-c", str(SEQUENCES * (DEPTH + ANSWER)), "-npp", str(DEPTH), "-ntg",
                   str(ANSWER), "-npl", str(SEQUENCES), "-pps", "--output-format", "jsonl"])
    return json.loads(next(line for line in told.splitlines() if line.startswith("{")))["speed_tg"]


def peer_speed(folder, name, options):
    if name == "sequences":
        return peer_together(folder)
    told = output([folder + "/llama-bench", "-m", model, "-t", threads, "-fa", "1", "-ctk", "f16", "-ctv",
                   "f16", "-r", "1", "-o", "json", *options])
    return json.loads(told)[0]["avg_ts"]


def own_speed(options):
    answer = json.loads(output([sluice, "bench", "-m", model, "-t", threads, "-r", "1", "--json",
                                *options]))
    place.update(machine=answer["machine"], commit=answer["commit"],
                 kernels=answer["rows"][0]["kernels"])
    return answer["rows"][0]["tok_s"]


def median(values):
    ordered, n = sorted(values), len(values)
    return (ordered[(n - 1) // 2] + ordered[n // 2]) / 2


def shown(speed):
    return f"{speed:.0f}" if speed >= 100 else f"{speed:.1f}"


def measured(what, who, number, measure):
    """In round `number`, unless RAW.json has it."""
    known = speeds.setdefault(f"{what} / {who}", [])
    if len(known) > number:
        return
    known.append(measure())
    print(f"against-llama: round {number + 1} of {rounds}, {what}, {who}: {known[-1]:.1f}", file=sys.stderr)
    with open(raw, "w", encoding="utf-8") as file:
        json.dump({"of": of, "place": place, "speeds": speeds}, file, indent=1)


def check_same(found):
    """Measures of another file or setting, or made by another build, are not gone on with."""
    before = found["of"]
    for name in before:
        if before[name] != of[name]:
            sys.exit(f"against-llama: {raw} has measures of {name} {before[name]}, this is {of[name]}: "
                     "give another RAW.json")


version = subprocess.run([sluice, "--version"], stdout=subprocess.PIPE, check=True).stdout.decode().splitlines()[0]
of = {"model": f"{model}, {os.path.getsize(model)} bytes", "threads": threads, "build": version}
place, speeds = {}, {}
if os.path.isfile(raw):
    with open(raw, encoding="utf-8") as file:
        found = json.load(file)
    check_same(found)
    place, speeds = found["place"], found["speeds"]
for number in range(int(rounds)):
    for name, what, options, variants in ROWS:
        for folder in peers:
            measured(what, folder, number, lambda: peer_speed(folder, name, options))
        for variant, more in [("full", []), *variants]:
            measured(what, variant, number, lambda: own_speed(options + more))

print(f"{place['machine']}, {threads} threads, {place['kernels']} kernels, sluice {place['commit']}\n")
print("| tok/s, median of " + rounds + " | llama.cpp | Sluice | ratio |\n|---|---|---|---|")
for _, what, _, variants in ROWS:
    best = max(median(speeds[f"{what} / {folder}"]) for folder in peers)
    for variant, _ in [("full", []), *variants]:
        own = median(speeds[f"{what} / {variant}"])
        row = what if not variants else f"{what}, {variant}"
        print(f"| {row} | {shown(best)} | {shown(own)} | {own / best:.2f} |")
PYTHON
