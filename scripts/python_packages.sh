#!/usr/bin/env bash
# python_packages.sh NAME: puts the Python packages of scripts/requirements-NAME.txt into the cache, and prints the
# folder, for PYTHONPATH.
#   llama-server  llama.cpp's server, for tests/support/real_server.py
#   llama-router  the same as a program, which can be a router
#   openai        OpenAI's client, for tests/cli/test_push_router.py
#   reference     what tests/reference/reference.py needs: PyTorch, transformers, gguf
#   gguf          what bench/made_model.py needs, a small part of these
#   wheel         what scripts/wheel.sh needs
#   lint          what scripts/lint.sh checks Python with
#   notebook      what tests/python/test_notebook.py runs the example notebook with
. "$(dirname "$0")/common.sh"

[ $# = 1 ] && [ -f "$scripts/requirements-$1.txt" ] || die "usage: python_packages.sh NAME"
python_packages "$1" "requirements-$1.txt"
