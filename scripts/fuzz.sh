#!/usr/bin/env bash
# fuzz.sh BUILD RUNS: RUNS executions of each fuzz target of BUILD, from the inputs in tests/fuzz/corpus on. What a run
# learns stays in BUILD/corpus and is where the next one starts; an input that crashes is saved in BUILD too, and ends
# the script. One spoilt model is loaded by libllama for each hundred of them.
. "$(dirname "$0")/common.sh"

build=$1
runs=$2
"$build/tests/fuzz/seeds" "$build/seeds"
for target in "$build"/tests/fuzz/fuzz_*; do
    [ -f "$target" ] && [ -x "$target" ] || continue
    name=${target##*/fuzz_}
    mkdir -p "$build/corpus/$name" "$build/seeds/$name" ${kept:+"$kept"}
    kept=$root/tests/fuzz/corpus/$name
    [ -d "$kept" ] || kept=
    say "fuzzing $name, $runs executions"
    "$target" -runs="$runs" -timeout=10 -rss_limit_mb=2048 -max_len=262144 -verbosity=0 \
        -print_final_stats=1 -artifact_prefix="$build/crash-$name-" "$build/corpus/$name" "$build/seeds/$name" \
        >"$build/$name.log" 2>&1 || {
        tail -n 60 "$build/$name.log" >&2
        die "$target fails; the input is in $build"
    }
    grep -E 'number_of_executed_units|average_exec_per_sec' "$build/$name.log"
done
say "loading spoilt models by libllama, $((runs / 100 + 1)) of them"
"$build/tests/runtime/spoilt_models" "$((runs / 100 + 1))" "$RANDOM"
say "no crashes"
