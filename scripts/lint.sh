#!/usr/bin/env bash
# lint.sh BUILD     layout, header comments, clang-tidy with BUILD's compile commands, includes, shell syntax, Python's types, Markdown
# lint.sh --format  lays all sources out
. "$(dirname "$0")/common.sh"

cd "$root"
lay_out() { find include src cli tests bench examples \( -name '*.[ch]' -o -name '*.cpp' \) -print0 | xargs -0 clang-format "$@"; }

if [ "$1" = --format ]; then
    lay_out -i
    exit
fi
build=$1

say "clang-format"
lay_out --dry-run -Werror

say "header comments"
# The first line of a source tells a reader what the file is for.
find src cli \( -name '*.[ch]' -o -name '*.cpp' \) -exec awk '
    FNR == 1 && !/^\/[*\/] / { print FILENAME ": the first line is not a comment"; bad = 1 } END { exit bad }' {} +

say "clang-tidy"
# Only what the build compiles: another processor's kernels have no compile command here.
python3 - "$build/compile_commands.json" <<'EOF' | xargs -0 -P "$(nproc)" -n 1 clang-tidy --quiet -p "$build"
import json, sys
print("\0".join(sorted({entry["file"] for entry in json.load(open(sys.argv[1])) if entry["file"].endswith(".c")})), end="")
EOF

say "includes"
# What each folder may include stands in the table of doc/architecture.md.
python3 - <<'EOF'
import pathlib, re, sys
text = pathlib.Path("doc/architecture.md").read_text()
rows = re.findall(r"^\| `((?:src/)?\w+)/` \|((?: `\w+`)*) \|", text, re.M)
allowed = {folder: {pathlib.Path(folder).name, *re.findall(r"\w+", names)} for folder, names in rows}
modules = {path.name for path in pathlib.Path("src").iterdir() if path.is_dir()}
if set(allowed) != {"cli", *(f"src/{module}" for module in modules)}:
    sys.exit("doc/architecture.md: the table does not have a row for each folder")
wrong = [f"{path}:{number}: {included} may not be included in {folder}"
         for folder in allowed for path in sorted(pathlib.Path(folder).rglob("*.[ch]"))
         for number, line in enumerate(path.read_text().splitlines(), 1)
         for included in re.findall(r'^#\s*include "(\w+)/', line)
         if included in modules - allowed[folder]]
sys.exit("\n".join(wrong) or 0)
EOF

say "bash -n"
for script in scripts/*.sh bench/*.sh tests/*.sh tests/*/*.sh .ci/run; do
    bash -n "$script"
done

say "Python"
tools=$(python_packages lint requirements-lint.txt)
"$tools/bin/ruff" check -q python tests/python
# The declarations that python/declare.py makes are in the build's copy of the package.
(cd "$build/python" && PYTHONPATH=$tools python3 -m mypy --config-file "$root/pyproject.toml" mobiedit)

say "Markdown"
scripts/check_docs.py

say "no findings"
