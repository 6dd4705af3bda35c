#!/usr/bin/env bash
# Puts the Python package llama_cpp and what it imports into the cache, and prints the folder, for PYTHONPATH.
# It holds no library of its own: LLAMA_CPP_LIB_PATH tells it where libllama is.
. "$(dirname "$0")/common.sh"

add_llama_cpp() {
    local archive
    archive=$(source_archive)
    tar -xzf "$archive" -C "$1" --strip-components=1 "llama_cpp_python-$llama_cpp_python/llama_cpp"
}

python_packages "llama-cpp-python-$llama_cpp_python" requirements-test.txt add_llama_cpp
