#!/usr/bin/env bash
# python_packages.sh NAME: puts the Python packages of scripts/requirements-NAME.txt into the cache, and prints the
# folder, for PYTHONPATH.
#   llama-server  llama.cpp's server, for tests/support/real_server.py
#   reference     what tests/reference/reference.py needs: PyTorch, transformers, gguf
. "$(dirname "$0")/common.sh"

[ $# = 1 ] && [ -f "$scripts/requirements-$1.txt" ] || die "usage: python_packages.sh llama-server|reference"
python_packages "$1" "requirements-$1.txt"
