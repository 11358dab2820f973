#!/usr/bin/env bash
# tests/fuzz/run.sh - build the fuzz targets (preset `fuzz`) and run them, two at a time.
#   run.sh [--seconds N] [TARGET...]   each for so long (600), all unless named: gguf jsonl ...
#   run.sh --merge [TARGET...]         bring inputs that reach new code back into the tree
# What is found stays in ~/.cache/sluice/fuzz: a growing corpus, one log a target, and each input that
# crashed, leaked, took over 10 s or over 2 GB. Exit 1 if there is one.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1
corpora=tests/fuzz/corpus
cache=${XDG_CACHE_HOME:-$HOME/.cache}/sluice/fuzz
binaries=build/fuzz/tests/fuzz
seconds=600 mode=run

usage() {
    echo "usage: run.sh [--seconds N | --merge] [TARGET...]" >&2
    exit 2
}

targets=()
while [ $# -gt 0 ]; do
    case "$1" in
    --seconds) seconds=${2:?seconds} && shift ;;
    --merge) mode=merge ;;
    -*) usage ;;
    *) targets+=("$1") ;;
    esac
    shift
done
[ ${#targets[@]} -gt 0 ] || for source in tests/fuzz/fuzz_*.c; do
    name=$(basename "$source" .c) targets+=("${name#fuzz_}")
done
for target in "${targets[@]}"; do [ -f "tests/fuzz/fuzz_$target.c" ] || usage; done

options() {
    # Inputs beyond this only make each run slower: what is long is repeated inside the target.
    case "$1" in
    gguf | gate | codec) echo -max_len=8192 ;;
    jsonl) echo -max_len=4096 -dict=tests/fuzz/jsonl.dict ;;
    tokenizer) echo -max_len=1024 ;; # 32 KB repeated take 20 ms
    jinja) echo -max_len=2048 -dict=tests/fuzz/jinja.dict ;;
    records) echo -max_len=2048 -dict=tests/fuzz/records.dict ;;
    questions) echo -max_len=2048 -dict=tests/fuzz/questions.dict ;;
    trainlog) echo -max_len=2048 -dict=tests/fuzz/trainlog.dict ;;
    hostfile | retention | checkpoint) echo -max_len=512 ;;
    *) echo -max_len=4096 ;;
    esac
}

# Error lines of hostile inputs go to stderr, which libFuzzer closes for them; reports stay.
common=(-rss_limit_mb=2048 -malloc_limit_mb=512 -timeout=10 -close_fd_mask=2 -print_final_stats=1)
export ASAN_OPTIONS="detect_leaks=1:strict_string_checks=1${ASAN_OPTIONS:+:$ASAN_OPTIONS}"
export UBSAN_OPTIONS="print_stacktrace=1${UBSAN_OPTIONS:+:$UBSAN_OPTIONS}"

fuzz() {
    local target=$1 log=$cache/$1.log status=0
    mkdir -p "$cache/$target" "$cache/found"
    # shellcheck disable=SC2046
    nice "$binaries/fuzz_$target" "${common[@]}" $(options "$target") -max_total_time="$seconds" \
        -artifact_prefix="$cache/found/$target-" "$cache/$target" "$corpora/$target" \
        >"$log" 2>&1 </dev/null || status=$?
    local runs edges
    runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    edges=$(sed -n 's/.* cov: \([0-9]*\) .*/\1/p' "$log" | tail -n 1)
    echo "$target: ${runs:-?} runs in $seconds s, ${edges:-?} edges, $(find "$cache/$target" \
        -type f | wc -l) inputs kept: $([ $status = 0 ] && echo clean || echo "FAILED, $log")"
    return $status
}

# Only inputs of new edges, few and small, whatever a long run has gathered.
merge() {
    local target=$1 before
    before=$(find "$corpora/$target" -type f | wc -l)
    # shellcheck disable=SC2046
    "$binaries/fuzz_$target" "${common[@]}" $(options "$target") -max_len=3000 -merge=1 \
        -use_counters=0 "$corpora/$target" "$cache/$target" >"$cache/$target.merge.log" 2>&1 ||
        { echo "$target: FAILED, $cache/$target.merge.log" && return 1; }
    echo "$target: $before inputs before, $(find "$corpora/$target" -type f | wc -l) now," \
        "$(du --bytes --summarize "$corpora/$target" | cut -f 1) bytes"
}

cmake --preset fuzz >/dev/null && nice cmake --build --preset fuzz || exit 1
failed=0
if [ $mode = merge ]; then
    for target in "${targets[@]}"; do merge "$target" || failed=1; done
else
    for ((i = 0; i < ${#targets[@]}; i += 2)); do
        pids=()
        for target in "${targets[@]:i:2}"; do fuzz "$target" & pids+=($!); done
        for pid in "${pids[@]}"; do wait "$pid" || failed=1; done
    done
fi
exit $failed
