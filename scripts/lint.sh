#!/usr/bin/env bash
# lint.sh BUILD     layout, clang-tidy with BUILD's compile commands, the shell scripts' syntax, and the Markdown
# lint.sh --format  lays all sources out
. "$(dirname "$0")/common.sh"

cd "$root"
lay_out() { find include src cli tests bench examples -name '*.[ch]' -print0 | xargs -0 clang-format "$@"; }

if [ "$1" = --format ]; then
    lay_out -i
    exit
fi
build=$1

say "clang-format"
lay_out --dry-run -Werror

say "clang-tidy"
# Only what the build compiles: another processor's kernels have no compile command here.
python3 - "$build/compile_commands.json" <<'EOF' | xargs -0 -P "$(nproc)" -n 1 clang-tidy --quiet -p "$build"
import json, sys
print("\0".join(sorted({entry["file"] for entry in json.load(open(sys.argv[1])) if entry["file"].endswith(".c")})), end="")
EOF

say "bash -n"
for script in scripts/*.sh bench/*.sh tests/*.sh tests/*/*.sh .ci/run; do
    bash -n "$script"
done

say "Markdown"
scripts/check_docs.py

say "no findings"
