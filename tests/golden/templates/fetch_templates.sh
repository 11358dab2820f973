#!/usr/bin/env bash
# tests/golden/templates/fetch_templates.sh - print the folder of other people's chat templates that
# compare.py prints, fetching them once (77 MB): those of llama.cpp's models/templates and of its own
# test, from the source package of llama-cpp-python. Kept in $SLUICE_CACHE, by default the user's
# cache folder.
set -euo pipefail

cache=${SLUICE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/sluice}
folder=$cache/templates-0.3.36

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

# A string of C++; what is in parentheses is several side by side.
TEXT = r'"(?:[^"\\]|\\.)*"'

archive, out = tarfile.open(sys.argv[1]), pathlib.Path(sys.argv[2])
out.mkdir()
for member in archive:
    name = member.name.rsplit("/vendor/llama.cpp/", 1)[-1]
    if name.startswith("models/templates/") and name.endswith(".jinja"):
        (out / pathlib.PurePath(name).name).write_bytes(archive.extractfile(member).read())
    elif name == "tests/test-chat-template.cpp":
        source = archive.extractfile(member).read().decode()
        rows = re.findall(rf"\.template_str= \*/ ((?:(?:u8)?{TEXT}\s*)+),", source)
        for number, text in enumerate(rows):
            (out / f"test-{number:02}.jinja").write_text(ast.literal_eval(f"({text.replace('u8', '')})"))
if len(list(out.iterdir())) < 90:
    sys.exit("fetch_templates: fewer than 90 templates are in the package")
PYTHON
mv "$work/out" "$folder"
echo "$folder"
