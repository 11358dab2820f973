#!/usr/bin/env bash
# tests/golden/build_llama_cpp.sh BUILD TARGET... - build targets of llama.cpp, for comparisons with it,
# and print the folder of the build: programs are in its bin, libraries in src and ggml/src. BUILD is
# `native`, or `no-amx` for a machine with AMX whose other kernels are wanted. Sources (fetch_llama_cpp.sh)
# and builds stay in $SLUICE_CACHE, by default the user's cache folder; half an hour the first time.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)

build=${1:?build}
shift
case $build in
native) flags=(-DGGML_NATIVE=ON) ;;
no-amx)
    flags=(-DGGML_NATIVE=OFF -DGGML_AVX512=ON -DGGML_AVX512_VNNI=ON -DGGML_AVX512_VBMI=ON
        -DGGML_AVX512_BF16=ON)
    ;;
*) echo "build_llama_cpp: no build '$build', there are: native, no-amx" >&2 && exit 2 ;;
esac

cache=${SLUICE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/sluice}
package=$cache/llama-cpp-python-0.3.36
source=$package/vendor/llama.cpp
# Whole, or absent: the folder gets its name last.
if [ ! -d "$package" ]; then
    mkdir -p "$cache"
    work=$(mktemp -d "$cache/fetch.XXXXXX")
    trap 'rm -rf "$work"' EXIT
    archive=$("$here/fetch_llama_cpp.sh" "$work")
    mkdir "$work/package"
    tar -xzf "$archive" -C "$work/package" --strip-components=1
    # gcc 12 drops the stores that fill the tile configuration, and the kernels die
    sed -i 's/^\( *\)_tile_loadconfig(&tc);/\1__asm__ volatile("" ::: "memory");\n&/' \
        "$work/package/vendor/llama.cpp/ggml/src/ggml-cpu/amx/mmq.cpp"
    mv "$work/package" "$package"
fi

folder=$package/build-$build
if [ ! -f "$folder/build.ninja" ]; then
    cmake -S "$source" -B "$folder" -G Ninja -DCMAKE_BUILD_TYPE=Release -DBUILD_SHARED_LIBS=OFF \
        -DLLAMA_CURL=OFF -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_BUILD_SERVER=OFF \
        "${flags[@]}" >&2
fi
cmake --build "$folder" --target "$@" >&2
echo "$folder"
