#!/usr/bin/env bash
# chat.sh CHAT_PROMPT LIB_DIR: chat prompts beside llama-cpp-python's, which renders with Jinja2: of the published
# templates in llama.cpp's source archive, and of the models that are there. Exit status 77 (skipped) where
# llama-cpp-python is not in the cache and cannot be got.
chat_prompt=$1
lib_dir=$2
tests=$(cd "$(dirname "$0")" && pwd)
. "$tests/../../scripts/common.sh"

python=$("$scripts/llama_cpp_python.sh") || { echo "skipped: llama-cpp-python cannot be set up"; exit 77; }
work_dir
archive=$(source_archive)
tar -xzf "$archive" -C "$work" --strip-components=5 "llama_cpp_python-$llama_cpp_python/vendor/llama.cpp/models/templates"
found=()
for model in "$models"/*.gguf; do
    [ ! -f "$model" ] || found+=("$model")
done
PYTHONPATH=$python LLAMA_CPP_LIB_PATH=$lib_dir python3 "$tests/check_chat.py" "$chat_prompt" "$work" "${found[@]}"
