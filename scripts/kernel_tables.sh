#!/usr/bin/env bash
# kernel_tables.sh BUILD: runs those of BUILD's tests that compute with the engine's kernels under each table of kernels that the
# processor has, but for the fastest, which they take by themselves. Under scalar, which is ten to forty times slower than the
# others, those that run a real model or solve for many edits at once are left out: they compute nothing that the others do not.
# So are those that take minutes under AVX-VNNI, which has one product of its own and else AVX2's kernels.
. "$(dirname "$0")/common.sh"

build=$1
tables=$("$build/mobiedit" devices --json | python3 -c 'import json, sys
print(*json.load(sys.stdin)["devices"][0]["kernels"])')
fastest=${tables##* }
for table in $tables; do
    [ "$table" != "$fastest" ] || continue
    say "the tests under the $table kernels (the processor's: $tables)"
    left_out=(--label-exclude 'long|no-kernels')
    [ "$table" != avxvnni ] || left_out=(--label-exclude 'long|no-kernels|slow')
    [ "$table" != scalar ] || left_out=(--label-exclude 'long|no-kernels|slow|real' --exclude-regex '_real|^joint$')
    MOBIEDIT_KERNELS=$table ctest --test-dir "$build" --output-on-failure --parallel 2 "${left_out[@]}"
done
