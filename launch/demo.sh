#!/usr/bin/env bash
# launch/demo.sh - from a bare Debian to answers: prepare the machine, build, fetch a small model, and ask it
# three questions about a document of 7,600 tokens, over several ranks of this host, with the gates that come
# with Sluice, which keep half of what could be evicted.
#   demo.sh [--ranks N]     1 to 30, the model's layers; 3 when not given
# A second run finds everything in place and starts at once.
set -euo pipefail
cd "$(dirname "$0")/.."

usage() {
    echo "usage: demo.sh [--ranks N]     N from 1 to 30 (3)" >&2
    exit 2
}
die() {
    echo "demo: $*" >&2
    exit 1
}

ranks=3
case $#,${1:-} in
0,) ;;
2,--ranks) ranks=$2 ;;
*) usage ;;
esac
if ! [[ $ranks =~ ^[1-9][0-9]?$ ]] || ((ranks > 30)); then usage; fi

document=/usr/share/common-licenses/GPL-3
[ -r "$document" ] || die "$document is missing; every Debian has it in the package base-files"

launch/prepare.sh

# Tests want packages that a user does not need, so they are left out.
sluice=build/release/launch/sluice
[ -x $sluice ] || echo "demo: building into build/release, about a minute" >&2
log=$(mktemp)
trap 'rm -f "$log"' EXIT
build() {
    [ -f build/release/build.ninja ] || cmake --preset release -DBUILD_TESTING=OFF || return
    cmake --build --preset release --target sluice
}
if ! build >"$log" 2>&1; then
    cat "$log" >&2
    die "the build failed, see above"
fi

model=$(launch/fetch_model.sh)
gate=runtime/gates/SmolLM2-135M-Instruct.default.gguf

mkdir -p build/demo
job=$(mktemp -d "$PWD/build/demo/XXXXXX")
# A request a line. The question stands before and after the document: so small a model answers
# better when it knows what to look for.
python3 - "$document" >"$job/in.jsonl" <<'PYTHON'
import json
import sys

with open(sys.argv[1], encoding="utf-8") as file:
    document = file.read()
for name, question in {
    "name": "What is the name of this license, and who published it?",
    "purpose": "What is this license designed to guarantee?",
    "warranty": "Does this license provide a warranty? Answer in one sentence.",
}.items():
    content = f"{question}\n\n{document}\n\n{question}"
    body = {"messages": [{"role": "user", "content": content}], "temperature": 0, "max_tokens": 80}
    print(json.dumps({"custom_id": name, "method": "POST", "url": "/v1/chat/completions",
                      "body": body}))
PYTHON

# Ranks of one host share its cores: they are not pinned, may be more than cores, and yield when
# they wait. Containers run as root, which Open MPI wants said.
if [ "$(id -u)" = 0 ]; then
    export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
fi
line=(mpirun -n "$ranks" --oversubscribe --bind-to none --mca mpi_yield_when_idle 1
    "$sluice" batch --model "$model" --gate "$gate" --keep 0.5 --input "$job/in.jsonl" --output "$job/out.jsonl")
printf 'demo: %s\n' "${line[*]}" >&2
status=0
"${line[@]}" || status=$?
# 3: some requests ended as error records, which are shown below.
[ $status = 0 ] || [ $status = 3 ] || die "the batch ended with exit code $status, see above"

python3 - "$job/in.jsonl" "$job/out.jsonl" <<'PYTHON'
import json
import sys

with open(sys.argv[1], encoding="utf-8") as file:
    requests = [json.loads(line) for line in file]
with open(sys.argv[2], encoding="utf-8") as file:
    results = {result["custom_id"]: result for result in map(json.loads, file)}
for request in requests:
    question = request["body"]["messages"][0]["content"].split("\n", 1)[0]
    result = results[request["custom_id"]]
    if result["error"]:
        answer = "ERROR: " + result["error"]["message"]
    else:
        answer = result["response"]["body"]["choices"][0]["message"]["content"]
    print(f"\nQ: {question}\nA: {' '.join(answer.split())}")
PYTHON
printf '\ndemo: requests and results are in %s\n' "$job" >&2
exit $status
