#!/usr/bin/env bash
# tests/golden/fetch_llama_cpp.sh FOLDER - fetch the source package of llama-cpp-python from PyPI (77
# MB), with llama.cpp in it, into FOLDER, and print the archive's path. pip's own settings (mirror,
# proxy) apply. Nothing of the package is run.
set -euo pipefail

folder=${1:?folder}
package=llama-cpp-python==0.3.36
sha256=832db0699007f1be95a7e41ef12e88926b02ba836461e36a36372db2760c1a2e

echo "fetch_llama_cpp: fetching the sources of llama-cpp-python (77 MB)" >&2
# pip downloads no source package without asking its build system for metadata. Only the archive is
# wanted, so this stands for the build system.
mkdir -p "$folder/stub/scikit_build_core"
cat >"$folder/stub/scikit_build_core/build.py" <<'PYTHON'
import pathlib


def prepare_metadata_for_build_wheel(folder, settings=None):
    info = pathlib.Path(folder, "llama_cpp_python-0.3.36.dist-info")
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: llama_cpp_python\nVersion: 0.3.36\n")
    return info.name
PYTHON
if ! PYTHONPATH=$folder/stub python3 -m pip download --quiet --disable-pip-version-check --no-deps \
    --no-binary :all: --no-build-isolation --dest "$folder" "$package" >"$folder/log" 2>&1; then
    cat "$folder/log" >&2
    echo "fetch_llama_cpp: pip could not download $package" >&2
    exit 1
fi
archive=$(echo "$folder"/*.tar.gz)
if ! echo "$sha256  $archive" | sha256sum --check --status; then
    echo "fetch_llama_cpp: the package is not the one that was expected (SHA-256 differs)" >&2
    exit 1
fi
echo "$archive"
