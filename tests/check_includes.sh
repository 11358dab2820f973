#!/usr/bin/env bash
# The floor plan as a test: which room may include which, where each foreign library enters, that
# file names are unique, and that no file names a machine's folders or a package host.
# Prints one line per offence; exit 1 if there is any.
set -euo pipefail
cd "$(dirname "$0")/.."

offences=0
offend() { echo "$1"; offences=$((offences + 1)); }

sources() { find runtime sched comm proto launch tests -name '*.[ch]' | sort; }

# Prefixes a file may include from.
allowed() {
    case "$1" in
    runtime/base/*) echo runtime/base/ ;;
    runtime/*) echo runtime/ ;;
    sched/* | comm/* | proto/*) echo "${1%%/*}/|runtime/base/" ;;
    *) echo 'runtime/|sched/|comm/|proto/|launch/|tests/' ;;
    esac
}

# header, and the files (extended regex, dots as they are) that may include it
foreign='
mpi.h                     comm/comm_mpi.c
zstd.h                    comm/codec_zstd.c
pcre2.h                   runtime/model/[a-z_]+.c
cblas.h                   runtime/train/dense.c
jansson.h                 (launch/(job|report|bench|retention|eval|train_texts)[a-z0-9_]*|tests/[a-z_/]+).[ch]
hwloc.h                   launch/[a-z_]+.c
cyaml/cyaml.h             launch/[a-z_]+.c
protobuf-c/protobuf-c.h   proto/[a-z_]+.[ch]
immintrin.h               [a-z0-9_/]+_(avx2|avx512|amx)[a-z0-9_]*.[ch]
cmocka.h                  tests/[a-z0-9_/]+.[ch]'
# of these, a whole room has one door
one_file='pcre2.h hwloc.h cyaml/cyaml.h'

check_rooms() {
    local file line path
    while read -r file; do
        while IFS= read -r line; do
            path=$(sed -E 's/.*#include "([^"]*)".*/\1/' <<<"$line")
            [[ "$file" == proto/* && "$path" == *.pb-c.h ]] && continue # generated
            grep -qE "^($(allowed "$file"))" <<<"$path" || offend "$file:${line%%:*}: must not include $path"
        done < <(grep -nE '^\s*#include "' "$file")
    done < <(sources)
}

check_foreign() {
    local header where users
    while read -r header where; do
        [ -n "$header" ] || continue
        users=$(sources | xargs grep -lE "^\s*#include <${header//./\\.}>" || true)
        while read -r file; do
            [ -z "$file" ] || grep -qE "^(${where//./\\.})$" <<<"$file" ||
                offend "$file: $header may only be included by $where"
        done <<<"$users"
        if [[ " $one_file " == *" $header "* ]] && [ "$(wc -w <<<"$users")" -gt 1 ]; then
            offend "$header is included by more than one file: ${users//$'\n'/ }"
        fi
    done <<<"$foreign"
}

check_names() {
    local name
    while read -r name; do
        offend "file name $name is used twice: $(find . -path ./.git -prune -o -path './build*' -prune \
            -o -name "$name" -print | tr '\n' ' ')"
    done < <(sources | sed 's,.*/,,' | sort | uniq -d)
}

# Brackets keep these patterns from matching themselves.
check_places() {
    local line
    while IFS= read -r line; do
        [ -z "$line" ] || offend "$line: names a machine's folder or a package host"
    done < <(find . -path ./.git -prune -o -path './build*' -prune -o -type f -print | sort |
        xargs grep -noIE '/(hom[e]|roo[t]|wor[k]|far[m])/[A-Za-z._]|pyp[i]\.org|pythonhoste[d]\.org|deb\.debia[n]\.org')
}

check_rooms
check_foreign
check_names
check_places
[ "$offences" = 0 ]
