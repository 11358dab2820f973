#!/usr/bin/env bash
# The floor plan as a test: which room may include which, no circles between modules (a .c with its
# .h), where each foreign library enters, that file names are unique, and that no file names a
# machine's folders or a package host. Lines of C have at most 100 columns (clang-format breaks code,
# but leaves comments as they are).
#   check_includes.sh [FOLDER]   of another tree than this one
# Prints one line per offence; exit 1 if there is any.
set -euo pipefail
cd "${1:-$(dirname "$0")/..}"

# A room, and the rooms it may include beside itself. A file belongs to the longest name that fits.
# ROOM/* stands for a room with all rooms in it.
rooms='
runtime/base
runtime/frame           runtime/base
runtime/gguf            runtime/base
runtime/text/jinja      runtime/base
runtime/text            runtime/base runtime/gguf runtime/text/jinja
runtime/kernels         runtime/base runtime/gguf
runtime/kernels/matmul  runtime/base runtime/gguf runtime/kernels
runtime/kernels/attend  runtime/base runtime/kernels
runtime/kernels/kv      runtime/base runtime/kernels
runtime/kernels/rows    runtime/base runtime/kernels
runtime/model           runtime/base runtime/gguf runtime/kernels/*
runtime/cache           runtime/base runtime/kernels
runtime/gate            runtime/base runtime/frame runtime/gguf runtime/kernels/*
runtime/stage           runtime/base runtime/frame runtime/kernels/* runtime/model runtime/gate runtime/cache
runtime/train           runtime/base runtime/kernels/* runtime/model runtime/gate runtime/stage

sched                   runtime/base
proto                   runtime/base runtime/frame
comm                    runtime/base
comm/codec              runtime/base
comm/transport          runtime/base comm

launch/json             runtime/base runtime/text/jinja
launch/machine          runtime/base comm
launch/options          runtime/base runtime/kernels runtime/gate comm/codec launch/machine
launch/setup            runtime/* comm/* sched launch/options launch/machine
launch/openai           runtime/base runtime/frame runtime/text runtime/text/jinja launch/json
launch/pipeline         runtime/* comm/* proto sched launch/openai launch/setup launch/options launch/machine
launch/output           runtime/* launch/pipeline launch/setup launch/options launch/machine launch/json
launch/job              runtime/* comm/* proto sched launch/output launch/pipeline launch/openai launch/setup launch/options launch/machine launch/json
launch/train            runtime/* comm/* launch/output launch/pipeline launch/setup launch/options launch/machine launch/json
launch/eval             runtime/* launch/output launch/pipeline launch/openai launch/setup launch/options launch/machine launch/json
launch/bench            runtime/* comm/* sched launch/output launch/pipeline launch/openai launch/setup launch/options launch/machine launch/json
launch/show             runtime/* launch/output launch/pipeline launch/setup launch/options launch/machine launch/json
launch/ops              runtime/* sched launch/output launch/pipeline launch/setup launch/options launch/machine launch/json
launch                  runtime/base launch/*
tests                   runtime/* comm/* proto sched launch/*'

# header, and the files (extended regex, dots as they are) that may include it
foreign='
mpi.h                     comm/transport/comm_mpi.c
zstd.h                    comm/codec/codec_zstd.c
pcre2.h                   runtime/text/[a-z_]+.c
cblas.h                   runtime/train/dense.c
jansson.h                 (launch/(json|openai|job|output|eval|bench|setup|train)/|tests/)[a-z0-9_/]+.[ch]
hwloc.h                   launch/machine/[a-z_]+.c
cyaml/cyaml.h             launch/[a-z_/]+.c
protobuf-c/protobuf-c.h   proto/[a-z_]+.[ch]
immintrin.h               [a-z0-9_/]+_(avx2|avx512|amx)[a-z0-9_]*.[ch]
cmocka.h                  tests/[a-z0-9_/]+.[ch]'
# of these, a whole room has one door
one_file='pcre2.h hwloc.h cyaml/cyaml.h'

offences=0
offend() { echo "$1"; offences=$((offences + 1)); }
# The lines that a check prints, each an offence.
offend_all() { while IFS= read -r line; do offend "$line"; done; }

sources() {
    local room
    for room in runtime sched comm proto launch tests; do
        [ ! -d "$room" ] || find "$room" -name '*.[ch]'
    done | sort
}

# "FILE LINE INCLUDED" of every include of ours.
includes() {
    sources | xargs grep -nHE '^[[:space:]]*#[[:space:]]*include "' |
        sed -E 's/^([^:]*):([0-9]*):[^"]*"([^"]*)".*/\1 \2 \3/'
}

# For awk: the table of rooms is its first file.
room_functions='
    FNR == NR { if (NF) for (i = 1; i <= NF; i++) { known[$1] = 1; if (i > 1) may[$1, $i] = 1 } next }
    function room_of(path) {
        while (sub(/\/[^\/]*$/, "", path)) if (path in known) return path
        return ""
    }
    # whether a list allows a room, by its own name or by an ancestor written with "/*"
    function allows(from, to,  at) {
        if ((from, to) in may) return 1
        for (at = to; ; ) {
            if ((from, at "/*") in may) return 1
            if (!sub(/\/[^\/]*$/, "", at)) return 0
        }
    }'

check_rooms() {
    awk "$room_functions"'
    $1 ~ /^proto\// && $3 ~ /\.pb-c\.h$/ { next } # generated
    {
        from = room_of($1); to = room_of($3)
        if (from == "" || to == "" || (from != to && !allows(from, to)))
            print $1 ":" $2 ": must not include " $3
    }' <(echo "$rooms") <(includes)
}

# A test of a room includes that room, rooms within and below it, and of tests/ what needs no others.
check_units() {
    awk "$room_functions"'
    # tests/unit/gguf is of runtime/gguf, tests/unit/launch/job of launch/job
    function tested(path) {
        sub(/^tests\/unit\//, "", path)
        while (sub(/\/[^\/]*$/, "", path)) {
            if (path in known) return path
            if ("runtime/" path in known) return "runtime/" path
        }
        return ""
    }
    # whether `to` is `from`, within it, or may be included by a room that `from` may include
    function is_below(from, to,  seen, room, other, n) {
        seen[from] = 1
        for (n = 1; n > 0; ) {
            n = 0
            for (room in seen)
                for (other in known)
                    if (!(other in seen) && (index(other, room "/") == 1 || allows(room, other))) {
                        seen[other] = 1
                        n++
                    }
        }
        return to in seen
    }
    # the first file that `file` includes, itself or through files of tests/, and that is above `room`
    function above(file, room, seen,  list, n, i, found) {
        if (file !~ /^tests\//) return is_below_known(room, room_of(file)) ? "" : file
        if (file in seen) return ""
        seen[file] = 1
        n = split(included[file], list, " ")
        for (i = 1; i <= n; i++) if ((found = above(list[i], room, seen)) != "") return found
        return ""
    }
    function is_below_known(from, to) {
        if (!((from, to) in below)) below[from, to] = is_below(from, to)
        return below[from, to]
    }
    { included[$1] = included[$1] " " $3 }
    $1 ~ /^tests\/unit\// { line[++n_lines] = $0 }
    END {
        for (l = 1; l <= n_lines; l++) {
            split(line[l], part, " ")
            split("", seen)
            room = tested(part[1])
            found = room == "" ? "anything: no room is called like its folder" : above(part[3], room, seen)
            if (found == "") continue
            through = found == part[3] || room == "" ? "" : ", through " part[3]
            print part[1] ":" part[2] ": a test of this room must not include " found through
        }
    }' <(echo "$rooms") <(includes)
}

# Modules that include none of the rest are taken away, again and again, then those that none of the
# rest includes. What is left is in a circle, or between two: an include is in one when it leads back.
check_circles() {
    includes | sed -E 's/\.[ch] [0-9]+ / /; s/\.[ch]$//' | sort -u | awk '
    $1 != $2 { edge[$1 " " $2] = 1 }
    function shrink(end,  e, ends, n, used) {
        for (n = 1; n > 0; ) {
            split("", used)
            for (e in edge) { split(e, ends, " "); used[ends[end]] = 1 }
            n = 0
            for (e in edge) { split(e, ends, " "); if (!(ends[3 - end] in used)) { delete edge[e]; n++ } }
        }
    }
    function leads(from, to,  seen, e, ends, n) {
        seen[from] = 1
        for (n = 1; n > 0; ) {
            n = 0
            for (e in edge) {
                split(e, ends, " ")
                if ((ends[1] in seen) && !(ends[2] in seen)) { seen[ends[2]] = 1; n++ }
            }
        }
        return to in seen
    }
    END {
        shrink(1)
        shrink(2)
        for (e in edge) {
            split(e, ends, " ")
            if (leads(ends[2], ends[1])) print ends[1] " includes " ends[2] ", which leads back to it"
        }
    }' | sort
}

check_foreign() {
    local header where users
    while read -r header where; do
        [ -n "$header" ] || continue
        users=$(sources | xargs grep -lE "^\s*#include <${header//./\\.}>" || true)
        while read -r file; do
            [ -z "$file" ] || grep -qE "^(${where//./\\.})$" <<<"$file" ||
                echo "$file: $header may only be included by $where"
        done <<<"$users"
        if [[ " $one_file " == *" $header "* ]] && [ "$(wc -w <<<"$users")" -gt 1 ]; then
            echo "$header is included by more than one file: ${users//$'\n'/ }"
        fi
    done <<<"$foreign"
}

check_names() {
    sources | awk -F/ '{ places[$NF] = places[$NF] " " $0; n[$NF]++ }
        END { for (name in n) if (n[name] > 1) print "file name " name " is used twice:" places[name] }'
}

# Brackets keep these patterns from matching themselves.
check_places() {
    { find . -path ./.git -prune -o -path './build*' -prune -o -type f -print | sort |
        xargs grep -noIE '/(hom[e]|roo[t]|wor[k]|far[m])/[A-Za-z._]|pyp[i]\.org|pythonhoste[d]\.org|deb\.debia[n]\.org' || true; } |
        sed 's/$/: names a folder of a machine or a package host/'
}

check_lines() {
    sources | LC_ALL=C.UTF-8 xargs grep -HnE '^.{101}' | sed -E 's/^([^:]*:[0-9]*):.*/\1: has more than 100 columns/'
}

offend_all < <(check_rooms)
offend_all < <(check_units)
offend_all < <(check_circles)
offend_all < <(check_foreign)
offend_all < <(check_names)
offend_all < <(check_lines)
offend_all < <(check_places)
[ "$offences" = 0 ]
