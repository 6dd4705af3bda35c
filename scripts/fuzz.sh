#!/usr/bin/env bash
# fuzz.sh BUILD SECONDS: runs each fuzz target of BUILD for SECONDS, from the seeds in tests/fuzz/seeds. What a
# run learns stays in BUILD; a crash is saved there too, and ends the script.
. "$(dirname "$0")/common.sh"

build=$1
seconds=$2
for target in "$build"/tests/fuzz/fuzz_*; do
    [ -x "$target" ] || continue
    name=${target##*/fuzz_}
    mkdir -p "$build/corpus/$name"
    seeds=()
    [ -d "$root/tests/fuzz/seeds/$name" ] && seeds=("$root/tests/fuzz/seeds/$name")
    say "fuzzing $name for $seconds s"
    "$target" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 -verbosity=0 \
        -artifact_prefix="$build/crash-$name-" "$build/corpus/$name" "${seeds[@]}" 2>&1 |
        grep -v '^$' | tail -n 30
done
say "no crashes"
