#!/usr/bin/env bash
# launch/prepare.sh - install the Debian packages Sluice needs, and nothing else.
#   prepare.sh          to build and run it
#   prepare.sh --test   also to test it
# When all are there it does nothing and needs no network. Quiet unless something fails.
set -euo pipefail

run_packages=(gcc libc6-dev cmake ninja-build pkg-config git
    openmpi-bin libopenmpi-dev libprotobuf-c-dev protobuf-c-compiler libzstd-dev libhwloc-dev
    libjansson-dev libxxhash-dev libpcre2-dev libopenblas-openmp-dev gnuplot-nox
    python3 python3-pip ca-certificates) # pip and certificates: launch/fetch_model.sh
# The sanitizers' runtime and symbolizer are only recommended by clang, so they are named here.
test_packages=(libcmocka-dev clang clang-format clang-tidy libclang-rt-14-dev llvm)

case "${1:-}" in
'') packages=("${run_packages[@]}") ;;
--test) packages=("${run_packages[@]}" "${test_packages[@]}") ;;
*)
    echo "usage: prepare.sh [--test]" >&2
    exit 2
    ;;
esac

if ! command -v dpkg-query >/dev/null; then
    echo "prepare: not a Debian system; install the equivalents of: ${packages[*]}" >&2
    exit 1
fi
missing=()
for package in "${packages[@]}"; do
    state=$(dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null || true)
    [ "$state" = installed ] || missing+=("$package")
done
[ ${#missing[@]} -gt 0 ] || exit 0

if [ "$(id -u)" != 0 ]; then
    echo "prepare: missing packages; run:" \
        "sudo apt-get install --no-install-recommends ${missing[*]}" >&2
    exit 1
fi
echo "prepare: installing ${missing[*]}" >&2
log=$(mktemp)
trap 'rm -f "$log"' EXIT
export DEBIAN_FRONTEND=noninteractive
if ! { apt-get update && apt-get install --yes --no-install-recommends "${missing[@]}"; } \
    >"$log" 2>&1 </dev/null; then
    cat "$log" >&2
    echo "prepare: could not install ${missing[*]}" >&2
    exit 1
fi
