#!/usr/bin/env bash
# The test of check_includes.sh: a small tree is clean; then one offence after another is planted in
# it, and each is named, alone.
set -euo pipefail
check=$(cd "$(dirname "$0")" && pwd)/check_includes.sh
tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
failed=0
fail() { echo "FAILED: $1" && failed=1; }

# put FILE [INCLUDED...]
put() {
    mkdir -p "$tree/$(dirname "$1")"
    : >"$tree/$1"
    [ $# = 1 ] || printf '#include "%s"\n' "${@:2}" >"$tree/$1"
}

plant_clean() {
    rm -rf "${tree:?}"/*
    put runtime/base/log.h
    put runtime/base/log.c runtime/base/log.h
    put runtime/gguf/gguf.h runtime/base/log.h
    put runtime/kernels/kernels.h runtime/base/log.h
    put runtime/kernels/kv/kv.h runtime/kernels/kernels.h
    put runtime/stage/stage.h runtime/kernels/kv/kv.h
    put launch/options/options.h
    put launch/setup/setup.h runtime/stage/stage.h
    put launch/job/job.h launch/setup/setup.h
    put launch/main.c launch/job/job.h
    put tests/support/rig.h runtime/stage/stage.h
    put tests/unit/stage/test_stage.c runtime/gguf/gguf.h tests/support/rig.h
    put tests/unit/launch/job/test_job.c launch/job/job.h tests/support/rig.h
}

# offence NAME LINE...: these lines, and no other, are said of the tree as it is now.
offence() {
    local name=$1 said expected
    shift
    expected=$(printf '%s\n' "$@")
    if said=$("$check" "$tree"); then fail "$name: is not an offence"; fi
    [ "$said" = "$expected" ] || fail "$name: expected"$'\n'"$expected"$'\n'"but it said"$'\n'"$said"
    plant_clean
}

plant_clean
"$check" "$tree" || fail "a clean tree is refused"

put runtime/gguf/gguf.h launch/options/options.h
offence "an include that climbs" "runtime/gguf/gguf.h:1: must not include launch/options/options.h"

put launch/options/options.h launch/job/job.h
offence "a room of launch that climbs" "launch/options/options.h:1: must not include launch/job/job.h"

put runtime/kernels/rows/rows.h runtime/kernels/kv/kv.h
offence "a room within a room that includes one beside it" \
    "runtime/kernels/rows/rows.h:1: must not include runtime/kernels/kv/kv.h"

put runtime/kernels/rows/rows.h
put runtime/kernels/kernels.h runtime/kernels/rows/rows.h
offence "a room that includes one within it" \
    "runtime/kernels/kernels.h:1: must not include runtime/kernels/rows/rows.h"

put runtime/gguf/keys.h
put runtime/gguf/keys.c runtime/gguf/gguf.h
put runtime/gguf/gguf.c runtime/gguf/keys.h
offence "a circle between modules, through their .c files" \
    "runtime/gguf/gguf includes runtime/gguf/keys, which leads back to it" \
    "runtime/gguf/keys includes runtime/gguf/gguf, which leads back to it"

put runtime/cellar/cellar.h runtime/base/log.h
offence "a folder that is no room" "runtime/cellar/cellar.h:1: must not include runtime/base/log.h"

put tests/unit/gguf/test_gguf.c runtime/gguf/gguf.h tests/support/rig.h
offence "a test of a low room that links a higher one" \
    "tests/unit/gguf/test_gguf.c:2: a test of this room must not include runtime/stage/stage.h, through tests/support/rig.h"

put launch/job/log.h
offence "a file name that is used twice" \
    "file name log.h is used twice: launch/job/log.h runtime/base/log.h"

{ printf '/* %.95s */\n' "$(printf 'o%.0s' {1..100})"; printf '/* %.94s */\n' "$(printf 'o%.0s' {1..100})"; } \
    >"$tree/launch/job/job.h"
offence "a long comment" "launch/job/job.h:1: has more than 100 columns"

echo '#include <mpi.h>' >"$tree/launch/job/job.c"
offence "a foreign header" "launch/job/job.c: mpi.h may only be included by comm/transport/comm_mpi.c"

echo '// /''home/somebody' >"$tree/launch/job/job.c"
offence "a folder of a machine" \
    "./launch/job/job.c:1:/""home/s: names a folder of a machine or a package host"

[ $failed = 0 ] && echo "check_includes: passed"
exit $failed
