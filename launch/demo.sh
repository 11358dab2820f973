#!/usr/bin/env bash
# launch/demo.sh - from a bare Debian to answers: prepare the machine, build, fetch a small model, and ask it
# about a document, over several ranks of this host, with the gates that come with Sluice, which keep half of
# what could be evicted.
# A second run finds everything in place and starts at once.
#   demo.sh --help
set -euo pipefail
cd "$(dirname "$0")/.."

usage="usage: demo.sh [--ranks N] [--model NAME]
  --ranks   1 to the model's layers; 3 when not given
  --model   smollm2 (when not given): three questions about a licence of 7,600 tokens
            gemma3: two about six licences of 30,000 tokens, some minutes"
wrong_usage() {
    echo "$usage" >&2
    exit 2
}
die() {
    echo "demo: $*" >&2
    exit 1
}

ranks=3 name=smollm2
while [ $# -gt 0 ]; do
    case $#,$1 in
    1,--help) echo "$usage" && exit 0 ;;
    [2-9]*,--ranks) ranks=$2 ;;
    [2-9]*,--model) name=$2 ;;
    *) wrong_usage ;;
    esac
    shift 2
done
licences=/usr/share/common-licenses
case $name in
smollm2)
    layers=30 documents=(GPL-3)
    evict=(--gate runtime/gates/SmolLM2-135M-Instruct.default.gguf --keep 0.5)
    ;;
gemma3)
    layers=18 documents=(GPL-3 LGPL-2.1 GFDL-1.3 Apache-2.0 MPL-2.0 MPL-1.1)
    evict=(--gate runtime/gates/gemma-3-270m.default.gguf --keep 0.5)
    ;;
*) wrong_usage ;;
esac
if ! [[ $ranks =~ ^[1-9][0-9]?$ ]] || ((ranks > layers)); then wrong_usage; fi
documents=("${documents[@]/#/$licences/}")
for document in "${documents[@]}"; do
    [ -r "$document" ] || die "$document is missing; every Debian has it in the package base-files"
done

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

model=$(launch/fetch_model.sh "$name")

mkdir -p build/demo
job=$(mktemp -d "$PWD/build/demo/XXXXXX")
# A request a line. Gemma is no chat model: it continues the text. To the other the question is put
# before and after the document: so small a model answers better when it knows what to look for.
python3 - "$name" "${documents[@]}" >"$job/in.jsonl" <<'PYTHON'
import json
import pathlib
import sys

name, *paths = sys.argv[1:]
document = "".join(pathlib.Path(path).read_text(encoding="utf-8") for path in paths)
chat = {
    "name": "What is the name of this license, and who published it?",
    "purpose": "What is this license designed to guarantee?",
    "warranty": "Does this license provide a warranty? Answer in one sentence.",
}
completion = {
    "purpose": "What is the GNU General Public License?",
    "warranty": "Do the licenses above provide a warranty?",
}
for id, question in (chat if name == "smollm2" else completion).items():
    body = {"temperature": 0, "max_tokens": 80}
    if name == "smollm2":
        kind = "chat/completions"
        content = f"{question}\n\n{document}\n\n{question}"
        body["messages"] = [{"role": "user", "content": content}]
    else:
        kind = "completions"
        body |= {"prompt": f"{document}\n\nQuestion: {question}\nAnswer:", "stop": "\n"}
    print(json.dumps({"custom_id": id, "method": "POST", "url": f"/v1/{kind}", "body": body}))
PYTHON

# Ranks of one host share its cores: they are not pinned, may be more than cores, and yield when
# they wait. Containers run as root, which Open MPI wants said.
if [ "$(id -u)" = 0 ]; then
    export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
fi
line=(mpirun -n "$ranks" --oversubscribe --bind-to none --mca mpi_yield_when_idle 1
    "$sluice" batch --model "$model" "${evict[@]}" --input "$job/in.jsonl" --output "$job/out.jsonl")
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
    body = request["body"]
    if "messages" in body:
        question = body["messages"][0]["content"].split("\n", 1)[0]
    else:
        question = body["prompt"].rsplit("Question: ", 1)[1].split("\n", 1)[0]
    result = results[request["custom_id"]]
    if result["error"]:
        answer = "ERROR: " + result["error"]["message"]
    else:
        choice = result["response"]["body"]["choices"][0]
        answer = choice["text"] if "text" in choice else choice["message"]["content"]
    print(f"\nQ: {question}\nA: {' '.join(answer.split())}")
PYTHON
printf '\ndemo: requests and results are in %s\n' "$job" >&2
exit $status
