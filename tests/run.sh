#!/usr/bin/env bash
# tests/run.sh - everything that is checked, on a clean machine, with one command.
#   run.sh           dev suite, sanitizers, data races, formatting, clang-tidy
#   run.sh --deep    the same, with clang-tidy's analyzer as deep as it goes by itself
#   run.sh --quick   before a commit: formatting, the dev suite without whole jobs, a few same bytes
# Each test that cannot run here is named with its reason. The last line counts all of it: "N passed,
# N failed[, N skipped]"; exit 0 only if none failed. bench/README.md says what takes the time.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
case "${1:-}" in
'') quick=no states=75000 ;;
--deep) quick=no states=225000 ;;
--quick) quick=yes ;;
*)
    echo "usage: run.sh [--quick | --deep]" >&2
    exit 2
    ;;
esac

passed=0 failed=0 skipped=0 broken=()
scratch=$(mktemp -d)
beside=
trap '[ -z "$beside" ] || kill -- "-$beside" 2>/dev/null; rm -rf "$scratch"' EXIT

# Run one check; what it says and how it ended is kept for `count`.
run() {
    local name=$1 start=$SECONDS status=0
    shift
    "$@" >"$scratch/$name.log" 2>&1 || status=$?
    echo "$status $((SECONDS - start))" >"$scratch/$name.part"
    mv "$scratch/$name.part" "$scratch/$name.end"
}

# Wait for a check and count it; its output is shown when it fails.
count() {
    local name=$1 status seconds
    until [ -e "$scratch/$name.end" ]; do sleep 0.2; done
    read -r status seconds <"$scratch/$name.end"
    if [ "$status" = 0 ]; then
        passed=$((passed + 1))
        echo "== $name: ok, $seconds s"
    else
        failed=$((failed + 1)) broken+=("$name")
        cat "$scratch/$name.log"
        echo "== $name: FAILED, $seconds s"
        return 1
    fi
}

check() { run "$@" && count "$1"; }

build() { cmake --preset "$1" && cmake --build --preset "$1"; }

attribute() { sed -n "s/^[[:space:]]*$1=\"\([0-9]*\)\".*/\1/p" "$2" | head -n 1; }

# "skipped: TEST: REASON" for each test of a report that could not run.
skips() {
    python3 - "$1" <<'END'
import re, sys, xml.etree.ElementTree as tree
for test in tree.parse(sys.argv[1]).getroot().iter("testcase"):
    if test.find("skipped") is not None:
        said = re.search(r"^skipped: (.*)$", test.findtext("system-out", ""), re.M)
        print(f"skipped: {test.get('name')}: {said.group(1) if said else 'it does not say why'}")
END
}

# Run the tests of a preset that is built, or those of a label; ctest's own counts are added up.
suite() {
    local preset=$1 report=$scratch/$1.xml start=$SECONDS status=0 n_tests n_failed n_skipped
    ctest --preset "$preset" ${2:+--label-regex "$2"} --output-junit "$report" || status=$?
    n_tests=$(attribute tests "$report" 2>/dev/null) n_tests=${n_tests:-0}
    n_failed=$(attribute failures "$report" 2>/dev/null) n_failed=${n_failed:-0}
    n_skipped=$(attribute skipped "$report" 2>/dev/null) n_skipped=${n_skipped:-0}
    # ctest also fails without a failed test: none found, or no report at all.
    if [ $status != 0 ] && [ "$n_failed" = 0 ]; then n_failed=1 n_tests=$((n_tests + 1)); fi
    passed=$((passed + n_tests - n_failed - n_skipped))
    failed=$((failed + n_failed)) skipped=$((skipped + n_skipped))
    [ "$n_failed" = 0 ] || broken+=("suite $preset")
    [ "$n_skipped" = 0 ] || skips "$report"
    echo "== suite $preset: $((SECONDS - start)) s"
}

# Sets of kernels that the suite could not run here.
kernel_sets() { build/dev/tests/unit/test_kernels 2>&1 | sed -n 's/^set /== kernel set /p'; }

sources() { find runtime sched comm proto launch tests -name "$1" -print0; }
format() { sources '*.[ch]' | xargs -0 clang-format --dry-run -Werror; }
# Nearly all of its time is the analyzer's, which stops after so many states of a function.
tidy() {
    local depth=()
    for word in -Xclang -analyzer-config -Xclang "max-nodes=$states"; do depth+=("--extra-arg=$word"); done
    sources '*.c' | xargs -0 -n 1 -P "$(nproc)" clang-tidy --quiet -p build/sanitize "${depth[@]}" 2>&1 |
        grep -vE '^[0-9]+ warnings?( and [0-9]+ errors?)? generated'
    return "${PIPESTATUS[1]}"
}

launch/prepare.sh --test || { echo "0 passed, 1 failed" && exit 1; }
. tests/env.sh
if [ -z "${SLUICE_TEST_MODEL:-}" ]; then
    SLUICE_TEST_MODEL=$(launch/fetch_model.sh) || { echo "0 passed, 1 failed" && exit 1; }
fi
export SLUICE_TEST_MODEL
# Who does not agree to Google's terms says SLUICE_TEST_GEMMA=no.
if [ "${SLUICE_TEST_GEMMA:-}" = no ]; then
    unset SLUICE_TEST_GEMMA
    echo "run: SLUICE_TEST_GEMMA=no: tests of Gemma 3 are skipped"
elif [ -n "${SLUICE_TEST_GEMMA:-}" ] || SLUICE_TEST_GEMMA=$(launch/fetch_model.sh gemma3); then
    export SLUICE_TEST_GEMMA
else
    echo "run: Gemma 3 could not be fetched, see above: its tests are skipped"
fi
if [ -z "${SLUICE_TEST_VOCABS:-}" ]; then
    SLUICE_TEST_VOCABS=$(tests/golden/tokenizer/fetch_vocabs.sh) || { echo "0 passed, 1 failed" && exit 1; }
fi
export SLUICE_TEST_VOCABS
if [ -z "${SLUICE_TEST_TEMPLATES:-}" ]; then
    SLUICE_TEST_TEMPLATES=$(tests/golden/templates/fetch_templates.sh) || { echo "0 passed, 1 failed" && exit 1; }
fi
export SLUICE_TEST_TEMPLATES

check "clang-format" format
check "build dev" build dev
if [ $quick = yes ]; then
    suite dev 'unit|tree|fuzz|golden'
    check "same bytes, light" python3 -B tests/mpi/same_bytes.py --light --sluice build/dev/launch/sluice \
        --make-model build/dev/tests/support/make_model
    kernel_sets
else
    # The suites wait for a quarter of their time, for mpirun and for silence: the rest goes on beside
    # them, at the lowest priority, in a process group of its own.
    set -m
    (
        renice -n 19 -p $BASHPID >/dev/null
        run "build sanitize" build sanitize
        run "build tsan" build tsan
        run "clang-tidy" tidy
    ) &
    beside=$!
    set +m
    suite dev
    kernel_sets
    count "build sanitize" && suite sanitize
    count "build tsan" && suite tsan
    count "clang-tidy"
    wait "$beside"
    beside=
fi

[ ${#broken[@]} = 0 ] || printf 'failed: %s\n' "${broken[@]}"
echo "$passed passed, $failed failed$([ $skipped = 0 ] || echo ", $skipped skipped")"
[ $failed = 0 ]
