#!/usr/bin/env bash
# tests/bench/against-llama.sh - Sluice and llama.cpp on the same file, run in turns; medians and their
# ratios on stdout, talk on stderr.
#   against-llama.sh [-m MODEL.gguf] [-t THREADS] [-r ROUNDS] [-o RAW.json]
# llama.cpp is built from the PyPI source package that carries it, at its best settings: flash attention,
# f16 cache; on a CPU with AMX with and without it, and the better one counts. SLUICE names another
# binary than the release build's.
set -euo pipefail
cd "$(dirname "$0")/../.."

package=llama-cpp-python==0.3.36
model='' threads=2 rounds=5 raw=/dev/null
while getopts m:t:r:o: option; do
    case $option in
    m) model=$OPTARG ;;
    t) threads=$OPTARG ;;
    r) rounds=$OPTARG ;;
    o) raw=$OPTARG ;;
    *) echo "usage: against-llama.sh [-m MODEL.gguf] [-t THREADS] [-r ROUNDS] [-o RAW.json]" >&2 && exit 2 ;;
    esac
done
[ -n "$model" ] || model=$(launch/fetch_model.sh)

if [ -z "${SLUICE:-}" ]; then
    cmake --preset release -DBUILD_TESTING=OFF >&2
    cmake --build --preset release >&2
    SLUICE=build/release/launch/sluice
fi

# ---- llama.cpp ----
peer=${SLUICE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/sluice}/${package/==/-}
source=$peer/vendor/llama.cpp
if [ ! -d "$source" ]; then
    echo "against-llama: fetching $package" >&2
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    python3 -m pip download --quiet --disable-pip-version-check --no-deps --no-binary :all: \
        --no-build-isolation --dest "$work" "$package" >&2
    mkdir -p "$peer"
    tar -xzf "$work"/*.tar.gz -C "$peer" --strip-components=1
    # gcc 12 drops the stores that fill the tile configuration, and the kernels die
    sed -i 's/^\( *\)_tile_loadconfig(&tc);/\1__asm__ volatile("" ::: "memory");\n&/' \
        "$source/ggml/src/ggml-cpu/amx/mmq.cpp"
fi

build_peer() { # name, flags
    local folder=$peer/build-$1
    shift
    [ -x "$folder/bin/llama-bench" ] && return
    cmake -S "$source" -B "$folder" -G Ninja -DCMAKE_BUILD_TYPE=Release -DBUILD_SHARED_LIBS=OFF \
        -DLLAMA_CURL=OFF -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_BUILD_SERVER=OFF \
        "$@" >&2
    cmake --build "$folder" --target llama-bench >&2
}
build_peer native -DGGML_NATIVE=ON
peers=("$peer/build-native/bin/llama-bench")
if grep -q amx_int8 /proc/cpuinfo; then
    build_peer no-amx -DGGML_NATIVE=OFF -DGGML_AVX512=ON -DGGML_AVX512_VNNI=ON -DGGML_AVX512_VBMI=ON \
        -DGGML_AVX512_BF16=ON
    peers+=("$peer/build-no-amx/bin/llama-bench")
fi

gate=$(mktemp --suffix=.gguf)
trap 'rm -f "$gate"; rm -rf "${work:-}"' EXIT
"$SLUICE" train init -m "$model" -o "$gate" >&2 # not trained: who is kept does not matter for speed

python3 - "$SLUICE" "$model" "$gate" "$threads" "$rounds" "$raw" "${peers[@]}" <<'PYTHON'
import json
import subprocess
import sys

sluice, model, gate, threads, rounds, raw, *peers = sys.argv[1:]
GATED = [(f"{100 - keep}% evicted", ["-g", gate, "--keep", str(keep / 100)]) for keep in (50, 30)]
# what, llama-bench's options, Sluice's options, and Sluice's variants of it
ROWS = [
    ("prompt 512", ["-p", "512", "-n", "0"], ["-p", "512", "-n", "0"], []),
    ("prompt 8,192", ["-p", "8192", "-n", "0"], ["-p", "8192", "-n", "0"], GATED),
    ("decode, empty cache", ["-p", "0", "-n", "64"], ["-p", "0", "-n", "64"], []),
    ("decode at 8,192", ["-p", "0", "-n", "32", "-d", "8150"],
     ["-p", "0", "-n", "32", "-d", "8150"], GATED),
]


def output(words):
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
    if done.returncode != 0:
        sys.exit(f"against-llama: {' '.join(words)}: {done.stderr.decode()[-2000:]}")
    return json.loads(done.stdout)


def peer_speed(binary, options):
    return output([binary, "-m", model, "-t", threads, "-fa", "1", "-ctk", "f16", "-ctv", "f16",
                   "-r", "1", "-o", "json", *options])[0]["avg_ts"]


def own_speed(options):
    answer = output([sluice, "bench", "-m", model, "-t", threads, "-r", "1", "--json", *options])
    place.update(machine=answer["machine"], commit=answer["commit"],
                 kernels=answer["rows"][0]["kernels"])
    return answer["rows"][0]["tok_s"]


def median(values):
    ordered, n = sorted(values), len(values)
    return (ordered[(n - 1) // 2] + ordered[n // 2]) / 2


place, speeds = {}, {}
for number in range(int(rounds)):
    for what, theirs, ours, variants in ROWS:
        for binary in peers:
            speeds.setdefault((what, binary), []).append(peer_speed(binary, theirs))
        for name, more in [("full", []), *variants]:
            speeds.setdefault((what, name), []).append(own_speed(ours + more))
        print(f"against-llama: round {number + 1} of {rounds}, {what}", file=sys.stderr)

print(f"{place['machine']}, {threads} threads, {place['kernels']} kernels, sluice {place['commit']}\n")
print("| tok/s, median of " + rounds + " | llama.cpp | Sluice | ratio |\n|---|---|---|---|")
for what, _, _, variants in ROWS:
    best = max(median(speeds[what, binary]) for binary in peers)
    for name, _ in [("full", []), *variants]:
        own = median(speeds[what, name])
        row = what if not variants else f"{what}, {name}"
        print(f"| {row} | {best:.0f} | {own:.0f} | {own / best:.1f} |")
with open(raw, "w", encoding="utf-8") as file:
    json.dump({"place": place, "speeds": {" / ".join(k): v for k, v in speeds.items()}}, file, indent=1)
PYTHON
