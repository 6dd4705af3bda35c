#!/usr/bin/env bash
# run.sh BUILD: speed of the matrix products against ggml's, of suffix evaluations against libllama's, and of whole
# edits, with each model that is there. Nothing else should run on the machine meanwhile; it takes about ten minutes.
# bench/profiles.py measures edits in the arithmetic of mobile NPUs.
# bench/edit_vs_reference.py compares with backpropagation, and bench/made_size.py does so at the size of larger models.
. "$(dirname "$0")/../scripts/common.sh"

build=$1

say "matrix products: shapes of models of 0.5, 1.5 and 3 billion parameters, all threads"
"$build/bench/bench_matmul" -t q4_0,q4_1,q5_0,q5_1,q8_0,q2_K,q3_K,q4_K,q5_K,q6_K,iq4_nl,iq4_xs -n 16,64,256,1024 \
    -s 4864x896,896x4864,8960x1536,1536x8960,11008x2048,2048x11008 -j "$(nproc)" -r 5

say "suffix evaluations and whole edits: how they grow"
python3 "$root/bench/growth.py" "$build" "$models" "$root/bench/text.txt" --svg "$build/growth.svg"
say "plot: $build/growth.svg"
