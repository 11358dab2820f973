#!/usr/bin/env bash
# launch/demo.sh - from nothing to answers: prepares the machine, builds, fetches a small model, and
# asks it about a document of 7,600 tokens, computed by several MPI ranks on this host.
#   demo.sh [--ranks N]     N from 1 to 30; 3 when not given
# A second run finds everything in place and starts at once.
set -euo pipefail
cd "$(dirname "$0")/.."

ranks=3
case "${1:-}" in
'') ;;
--ranks) ranks=${2:?demo: --ranks needs a number} ;;
*)
    echo "usage: demo.sh [--ranks N]" >&2
    exit 2
    ;;
esac
document=/usr/share/common-licenses/GPL-3
[ -r $document ] || { echo "demo: $document is missing: apt-get install base-files" >&2; exit 1; }

launch/prepare.sh

sluice=build/release/launch/sluice
log=$(mktemp)
trap 'rm -f "$log"' EXIT
[ -x $sluice ] || echo "demo: building (about a minute)" >&2
if ! { cmake --preset release -DBUILD_TESTING=OFF && cmake --build --preset release; } >"$log" 2>&1; then
    cat "$log" >&2
    echo "demo: the build failed: see above" >&2
    exit 1
fi
model=$(launch/fetch_model.sh)

# The document once in each question: a chat request a line, as OpenAI's batch format has it.
job=$(mktemp -d "${TMPDIR:-/tmp}/sluice-demo-XXXXXX")
python3 - "$document" >"$job/in.jsonl" <<'PYTHON'
import json, sys
document = open(sys.argv[1], encoding="utf-8").read()
questions = {
    "name": "What is the name of this license, and who published it?",
    "warranty": "Does the program come with a warranty? Answer with one sentence from the license.",
    "freedom": "What is this license designed to guarantee?",
}
for name, question in questions.items():
    text = f"{document}\n\nQuestion about the license above: {question}"
    body = {"model": "SmolLM2-135M-Instruct", "temperature": 0, "max_tokens": 60,
            "messages": [{"role": "user", "content": text}]}
    print(json.dumps({"custom_id": f"{name}: {question}", "method": "POST",
                      "url": "/v1/chat/completions", "body": body}))
PYTHON

# Containers run as root; the ranks of a demo share the cores of one host.
[ "$(id -u)" != 0 ] || export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
echo "demo: mpirun -n $ranks $sluice batch -m $model -i $job/in.jsonl -o $job/out.jsonl" >&2
mpirun -n "$ranks" --oversubscribe --bind-to none $sluice batch -m "$model" \
    -i "$job/in.jsonl" -o "$job/out.jsonl"

python3 - "$job/out.jsonl" <<'PYTHON'
import json, sys
for line in open(sys.argv[1], encoding="utf-8"):
    record = json.loads(line)
    print(f"\n{record['custom_id']}")
    if record["error"]:
        sys.exit(f"demo: {record['error']['message']}")
    print("  " + record["response"]["body"]["choices"][0]["message"]["content"].strip())
PYTHON
echo "demo: requests and results are in $job" >&2
