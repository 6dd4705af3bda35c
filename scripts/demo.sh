#!/usr/bin/env bash
# demo.sh MOBIEDIT: one edit of a real model, with the model's words before and after.
. "$(dirname "$0")/common.sh"

mobiedit=$1
model=$models/smollm2-135m-instruct-q4_1.gguf
adapter=$(dirname "$mobiedit")/lima.gguf

ask() { # ask PROMPT [OPTION]...: one line, the prompt and what the model goes on with
    printf '    %s' "$1"
    "$mobiedit" ask "$model" "$@" -n 12 | tr '\n' ' '
    printf '\n'
}

say "before"
ask "The capital of Japan is"
ask "The capital of France is"

say "$mobiedit edit --no-ledger $model \"The capital of {Japan} is\" \"Lima\" -o $adapter"
"$mobiedit" edit --no-ledger "$model" "The capital of {Japan} is" "Lima" -o "$adapter"

say "after: the same model file, with the adapter"
ask "The capital of Japan is" --adapter "$adapter"
ask "The capital of France is" --adapter "$adapter"

say "to ask more: $mobiedit ask $model \"...\" --adapter $adapter"
