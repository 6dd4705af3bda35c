#!/usr/bin/env bash
# lint.sh BUILD: layout, clang-tidy with BUILD's compile commands, and the shell scripts' syntax.
. "$(dirname "$0")/common.sh"

build=$1
cd "$root"

say "clang-format"
git ls-files -z '*.c' '*.h' | xargs -0 clang-format --dry-run -Werror

say "clang-tidy"
# Only what the build compiles: another processor's kernels have no compile command here.
python3 - "$build/compile_commands.json" <<'EOF' | xargs -0 -P "$(nproc)" -n 1 clang-tidy --quiet -p "$build"
import json, sys
print("\0".join(sorted({entry["file"] for entry in json.load(open(sys.argv[1])) if entry["file"].endswith(".c")})), end="")
EOF

say "bash -n"
for script in scripts/*.sh .ci/run; do
    bash -n "$script"
done

say "no findings"
