#!/usr/bin/env bash
# fuzz.sh BUILD RUNS: RUNS executions of each fuzz target of BUILD, from the inputs in tests/fuzz/corpus on, as many targets at
# a time as there are processors. What a run learns stays in BUILD/corpus and is where the next one starts; an input that
# crashes is saved in BUILD too, and ends the script. One spoilt model is loaded by libllama for each hundred of them.
. "$(dirname "$0")/common.sh"

build=$1
runs=$2

fuzz() { # fuzz TARGET; 255 ends xargs
    local name=${1##*/fuzz_} folders=()
    mkdir -p "$build/corpus/$name" "$build/seeds/$name"
    folders=("$build/corpus/$name" "$build/seeds/$name")
    [ ! -d "$root/tests/fuzz/corpus/$name" ] || folders+=("$root/tests/fuzz/corpus/$name")
    say "fuzzing $name, $runs executions"
    "$1" -runs="$runs" -timeout=10 -rss_limit_mb=2048 -max_len=262144 -verbosity=0 \
        -print_final_stats=1 -artifact_prefix="$build/crash-$name-" "${folders[@]}" >"$build/$name.log" 2>&1 || {
        tail -n 60 "$build/$name.log" >&2
        say "$1 fails; the input is in $build"
        exit 255
    }
    grep -E 'number_of_executed_units|average_exec_per_sec' "$build/$name.log" | sed "s/^/$name: /"
}

if [ "${3:-}" ]; then
    fuzz "$3"
    exit
fi
"$build/tests/fuzz/seeds" "$build/seeds"
targets=()
for target in "$build"/tests/fuzz/fuzz_*; do
    [ ! -f "$target" ] || [ ! -x "$target" ] || targets+=("$target")
done
printf '%s\0' "${targets[@]}" | xargs -0 -P "$(nproc)" -n 1 "$0" "$build" "$runs" || die "a fuzz target fails"
say "loading spoilt models by libllama, $((runs / 100 + 1)) of them"
"$build/tests/runtime/spoilt_models" "$((runs / 100 + 1))" "$RANDOM"
say "no crashes"
