#!/usr/bin/env bash
# runtime/gates/make.sh - how the shipped gates are made: make.sh [--model NAME] DATA WORK [STEP...]
#   NAME  smollm2 (when not given) or gemma3, of launch/fetch_model.sh
#   DATA  the texts that README.md names      WORK  a folder for what comes between, kept; each model has one in it
#   STEP  texts, default, default-tuned, default-thresholds, lite, lite-thresholds: all that ship, when none is
#         given; and before, the gate that gates.py sets beside the default one
# No step takes more than 100 minutes on two cores. One that was stopped goes on where it was; a result
# that is there is not made again. SLUICE names another binary than the release build's.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)

wrong_usage() {
    sed -n '2,8s/^# //p' "$0" >&2
    exit 2
}
fetched=smollm2
if [ "${1:-}" = --model ] && [ $# -gt 1 ]; then
    fetched=$2
    shift 2
fi
[ $# -ge 2 ] || wrong_usage
data=$1 work=$2/$fetched
shift 2
mkdir -p "$work"
steps=("$@")
case $fetched in
smollm2)
    name=SmolLM2-135M-Instruct chats=chat pieces=8
    shipped=(texts default default-tuned default-thresholds lite lite-thresholds)
    heads=2 warm_pieces=56
    ;;
gemma3) # no chat model; its gate is not tuned through the model yet
    name=gemma-3-270m chats='' pieces=6
    shipped=(texts default default-thresholds)
    heads=4 warm_pieces=90
    ;;
*) wrong_usage ;;
esac
[ $# -gt 0 ] || steps=("${shipped[@]}")

sluice=${SLUICE:-$root/build/release/launch/sluice}
model=$("$root/launch/fetch_model.sh" "$fetched")
seed=1

in_work() { (IFS=,; printf '%s' "${*/#/$work/}"); }
train=$(in_work {adventures,novel,wiki}.train.txt ${chats:+chat.train.jsonl} code.train.txt)
calibrate=$(in_work {adventures,wiki}.calibrate.txt ${chats:+chat.calibrate.jsonl} code.calibrate.txt)

# warm KIND INIT-OPTION... -- WARM-OPTION...
warm() {
    local start=$work/$1.start.gguf out=$work/$1.warm.gguf init=()
    shift
    while [ "$1" != -- ]; do
        init+=("$1")
        shift
    done
    shift
    [ ! -f "$out" ] || return 0
    "$sluice" train init -m "$model" -o "$start" --seed $seed "${init[@]}"
    "$sluice" train warm -m "$model" -g "$start" -o "$out" --text "$train" --lengths 2048,8192 \
        --seed $seed "$@"
}

# tune KIND CPT-OPTION...: what was warmed, on through the model
tune() {
    local out=$work/$1.tuned.gguf start=$work/$1.warm.gguf
    shift
    [ -f "$out" ] || "$sluice" train cpt -m "$model" -g "$start" -o "$out" --text "$train" --seed $seed "$@"
}

# thresholds KIND: of the last that was made of it, which then ships, with the logs of all
thresholds() {
    local gate=$work/$1.warm.gguf tuned=$work/$1.tuned.gguf out=$work/$1.gguf logs
    logs=("$gate.log.jsonl")
    if [ -f "$tuned" ]; then
        gate=$tuned
        logs+=("$gate.log.jsonl")
    fi
    [ -f "$out" ] || "$sluice" train calibrate -m "$model" -g "$gate" -o "$out" --text "$calibrate" \
        --lengths 2048,8192 --pieces $pieces --seed $seed --log "$gate.log.jsonl"
    cp "$out" "$here/$name.$1.gguf"
    cat "${logs[@]}" >"$here/$name.$1.log.jsonl"
}

for step in "${steps[@]}"; do
    printf 'make: %s\n' "$step" >&2
    case $step in
    texts) "$here/texts.py" "$data" "$work" ;;
    default) warm default --span window:32,32 --gate-heads $heads --gate-width 32 -- \
        --ridge-pieces 24 --pieces $warm_pieces --rate 0.003 ;;
    default-tuned) tune default --pieces 32 ;;
    lite) warm lite --gate-heads 0 -- --ridge-pieces 40 --pieces 0 ;;
    before) git -C "$root" show "398390c:./runtime/gates/$name.default.gguf" >"$work/before.gguf" ;;
    *-thresholds) thresholds "${step%-thresholds}" ;;
    *) echo "make: there is no step '$step'" >&2 && exit 2 ;;
    esac
done
