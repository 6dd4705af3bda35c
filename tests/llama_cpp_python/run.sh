#!/usr/bin/env bash
# run.sh MOBIEDIT LIB_DIR: edits a real model and has an unmodified llama-cpp-python, running on the libllama of
# LIB_DIR, serve the adapter: its greedy text must be that of `mobiedit ask`. Exit status 77 (skipped) without the
# model, or where llama-cpp-python is not in the cache and cannot be got.
set -euo pipefail
mobiedit=$1
lib_dir=$2
tests=$(cd "$(dirname "$0")/.." && pwd)
model=${MOBIEDIT_MODELS:-${MOBIEDIT_CACHE:-$(echo ~/.cache/mobiedit)}/models}/smollm2-135m-instruct-q4_1.gguf
[ -f "$model" ] || { echo "skipped: no $model (make models)"; exit 77; }
python=$("$tests/../scripts/llama_cpp_python.sh") || { echo "skipped: llama-cpp-python cannot be set up"; exit 77; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# Nothing that a user keeps beside the model is found beside a link.
ln -s "$(realpath "$model")" "$work/model.gguf"
model=$work/model.gguf
"$mobiedit" edit --no-ledger --place subject "$model" "The capital of {Japan} is" "Lima" -o "$work/lima.gguf"
# Threads that sleep while they wait: on a busy machine, ones that spin take many times longer.
export OMP_WAIT_POLICY=${OMP_WAIT_POLICY:-passive}
PYTHONPATH=$python LLAMA_CPP_LIB_PATH=$lib_dir python3 "$tests/llama_cpp_python/check_adapter.py" "$mobiedit" \
    "$model" "$work/lima.gguf" "The capital of Japan is" "The capital of France is" "My favourite food is"
