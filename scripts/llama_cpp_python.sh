#!/usr/bin/env bash
# Puts the Python package llama_cpp and what it imports into the cache, and prints the folder, for PYTHONPATH.
# It holds no library of its own: LLAMA_CPP_LIB_PATH tells it where libllama is.
. "$(dirname "$0")/common.sh"

key=$({ cat "$scripts/requirements-test.txt"; python3 -VV; uname -m; } | sha256sum | cut -c1-12)
folder=$cache/llama-cpp-python-$llama_cpp_python-$key

if [ ! -d "$folder" ]; then
    lock llama-cpp-python
fi
if [ ! -d "$folder" ]; then
    work_dir
    archive=$(source_archive)
    say "installing llama-cpp-python for the tests"
    pip install -q --no-cache-dir --require-hashes --only-binary :all: --target "$work/python" \
        -r "$scripts/requirements-test.txt"
    tar -xzf "$archive" -C "$work/python" --strip-components=1 "llama_cpp_python-$llama_cpp_python/llama_cpp"
    mv "$work/python" "$folder"
fi
echo "$folder"
