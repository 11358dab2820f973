#!/usr/bin/env bash
# install.sh BUILD - what `cmake --install` puts where, and that the pages made from the table of
# options know every option that --help knows.
set -euo pipefail
build=$1
prefix=$(mktemp -d)
trap 'rm -rf "$prefix"' EXIT
cmake --install "$build" --prefix "$prefix" >/dev/null

fail() { echo "install: $*" >&2 && exit 1; }
sluice=$prefix/bin/sluice
man=$prefix/share/man/man1/sluice.1
completion=$prefix/share/bash-completion/completions/sluice
"$sluice" --version | grep -q '^sluice ' || fail "no binary"
for word in warm cpt; do
    "$prefix/bin/sluice-train" $word --help | grep -q "train $word" || fail "no program that trains"
done
mv "$prefix/bin/sluice-train" "$prefix/elsewhere"
told=$("$sluice" train warm -m x -g x --text x -o x 2>&1) && fail "trains without sluice-train"
[[ $told == *"$prefix/bin/sluice-train"*"copy both"* ]] || fail "does not say what is missing: $told"
mv "$prefix/elsewhere" "$prefix/bin/sluice-train"
for file in slurm.sbatch hostfile.example README.md; do
    [ -s "$prefix/share/doc/sluice/cluster_configs/$file" ] || fail "no example $file"
done
[ -s "$prefix/share/sluice/gates/SmolLM2-135M-Instruct.default.gguf" ] || fail "no gates"
head -n 1 "$man" | grep -q '^\.TH SLUICE 1' || fail "no man page"

# What bash would offer after these words.
. "$completion"
complete_words() {
    COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMPREPLY=()
    _sluice
    printf '%s\n' "${COMPREPLY[@]}"
}
mapfile -t commands < <("$sluice" --help | sed -n 's/^  \([a-z0-9]*\( [a-z0-9][a-z0-9]*\)\?\)  .*/\1/p')
[ ${#commands[@]} -ge 16 ] || fail "commands: ${commands[*]}"
for command in "${commands[@]}"; do
    read -r first second <<<"$command"
    complete_words sluice "${first:0:2}" | grep -qx "$first" || fail "$first is not completed"
    [ -z "$second" ] || complete_words sluice "$first" "${second:0:2}" | grep -qx "$second" ||
        fail "$command is not completed"
    grep -q "^\.SS \"sluice $command " "$man" || fail "$command is not in the man page"
    # shellcheck disable=SC2086 # one word or two
    options=$("$sluice" $command --help | sed -n 's/^  \(-.,\|   \) --\([a-z-]*\).*/\2/p')
    [ -n "$options" ] || fail "$command has no options"
    for option in $options; do
        # shellcheck disable=SC2086
        complete_words sluice $command "--$option" | grep -qx -- "--$option" ||
            fail "$command --$option is not completed"
        [ "$option" = help ] || grep -qF -- "\\-\\-${option//-/\\-}\\fR" "$man" ||
            fail "--$option is not in the man page"
    done
done
touch "$prefix/some.gguf"
complete_words sluice run -m "$prefix/so" | grep -qx "$prefix/some.gguf" || fail "files of -m"
