#!/usr/bin/env bash
# tests/golden/tokenizer/fetch_vocabs.sh - print the folder of other people's vocabularies and chat
# templates that goldens are compared on, fetching them once (77 MB).
# They travel in the source package of llama-cpp-python (fetch_llama_cpp.sh). Kept in $SLUICE_CACHE, by
# default the user's cache folder.
set -euo pipefail

cache=${SLUICE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/sluice}
folder=$cache/vocabs-0.3.36

# Whole, or absent: the folder gets its name last.
if [ -d "$folder" ]; then
    echo "$folder"
    exit 0
fi

mkdir -p "$cache"
work=$(mktemp -d "$cache/fetch.XXXXXX")
trap 'rm -rf "$work"' EXIT
archive=$("$(dirname "$0")/../fetch_llama_cpp.sh" "$work")
python3 - "$archive" "$work/out" <<'PYTHON'
import ast
import pathlib
import re
import sys
import tarfile

VOCABS = ["llama-bpe", "qwen2", "llama-spm", "phi-3"]
TEMPLATES = ["Qwen-Qwen2.5-7B-Instruct", "Qwen-Qwen3-0.6B", "meta-llama-Llama-3.1-8B-Instruct",
             "meta-llama-Llama-3.2-3B-Instruct", "meta-llama-Llama-3.3-70B-Instruct",
             "microsoft-Phi-3.5-mini-instruct", "mistralai-Mistral-Nemo-Instruct-2407"]
# Others stand in a test of llama.cpp, by their title there.
TITLES = {"OpenHermes-2.5-Mistral-7B": "chatml", "Old pre-v1": "mistral-v0.2", "'v1' template": "mistral-v1",
          "'v3' template": "mistral-v3", "'v7' template": "mistral-v7", '"Llama-3"': "llama-3",
          '"Phi-3-mini"': "phi-3-mini", '"Phi-3-medium"': "phi-3-medium"}
TEXT = r'"(?:[^"\\]|\\.)*"'

archive, out = tarfile.open(sys.argv[1]), pathlib.Path(sys.argv[2])
out.mkdir()
for member in archive:
    name = member.name.rsplit("/vendor/llama.cpp/", 1)[-1]
    stem = pathlib.PurePath(name).name
    wanted = any(name == f"models/ggml-vocab-{v}.gguf" for v in VOCABS) or any(
        name == f"models/templates/{t}.jinja" for t in TEMPLATES)
    if wanted:
        (out / stem).write_bytes(archive.extractfile(member).read())
    elif name == "tests/test-chat-template.cpp":
        source = archive.extractfile(member).read().decode()
        rows = re.findall(rf"\.name= \*/ ({TEXT}),\s*/\* \.template_str= \*/ ((?:(?:u8)?{TEXT}\s*)+),", source)
        for title, text in rows:
            for words, target in TITLES.items():
                if words in title:
                    (out / f"{target}.jinja").write_text(ast.literal_eval(f"({text.replace('u8', '')})"))
missing = len(VOCABS) + len(TEMPLATES) + len(TITLES) - len(list(out.iterdir()))
if missing:
    sys.exit(f"fetch_vocabs: {missing} files are not in the package")
PYTHON
mv "$work/out" "$folder"
echo "$folder"
