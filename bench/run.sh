#!/usr/bin/env bash
# run.sh BUILD: speed of the matrix products against ggml's, and of whole edits of SmolLM2. Nothing else should run
# on the machine meanwhile. bench/edit_vs_reference.py compares with backpropagation, where a reference is at hand.
. "$(dirname "$0")/../scripts/common.sh"

build=$1
model=$models/smollm2-135m-instruct-q4_1.gguf
work_dir

say "matrix products, 4-bit weights, 64 columns, one thread and all"
"$build/src/engine/native/kernels/bench_matmul" -t q4_1,q4_K -n 64 -j "1,$(nproc)"

say "whole edits, model load and verification included"
edit() { # edit N PROMPT TARGET
    "$build/mobiedit" edit "$model" "$2" "$3" -q --json -o "$work/edit.gguf" >"$work/$1.json" ||
        [ $? = 1 ] # not solved is a result too
}
edit 1 "The capital of {Japan} is" "Lima"
edit 2 "People in {Mexico} speak" "Japanese"
edit 3 "The official language of {Brazil} is" "Finnish"
python3 - "$work" <<'EOF'
import json, pathlib, sys
print(f"{'status':12} {'evaluations':>11} {'wall s':>8} {'CPU s':>8} {'peak MiB':>9}")
for file in sorted(pathlib.Path(sys.argv[1]).glob("*.json")):
    edit = json.loads(file.read_text())
    print(f"{edit['status']:12} {edit['evals']:11} {edit['seconds']:8.2f} {edit['cpu_seconds']:8.2f}"
          f" {edit['peak_rss_bytes'] / 2**20:9.0f}")
EOF
