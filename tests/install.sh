#!/usr/bin/env bash
# install.sh BUILD: installs BUILD into a fresh folder and uses it from outside, as another project would: only
# mobiedit_* is exported; the command runs; every link of the installed pages leads somewhere; examples/embed.c builds
# through pkg-config and through CMake, shared and static, starts, and edits a real model. Exit status 77 (skipped)
# without the model, after the rest has passed.
set -euo pipefail
build=$1
source=$(cd "$(dirname "$0")/.." && pwd)
model=${MOBIEDIT_MODELS:-${MOBIEDIT_CACHE:-$(echo ~/.cache/mobiedit)}/models}/smollm2-135m-instruct-q4_1.gguf
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
prefix=$work/prefix
# Nothing that a user keeps beside the model is found beside a link.
[ ! -f "$model" ] || ln -s "$(realpath "$model")" "$work/model.gguf"

cmake --install "$build" --prefix "$prefix" >"$work/log"
libdir=$(dirname "$(find "$prefix" -name libmobiedit.so)")

exported=$(nm -D --defined-only "$libdir/libmobiedit.so" | awk '$2 != "A" {print $3}' | grep -v '^mobiedit_' || true)
[ -z "$exported" ] || { echo "libmobiedit exports more than mobiedit.h declares: $exported"; exit 1; }

"$prefix/bin/mobiedit" --version
for file in man/man1/mobiedit.1 bash-completion/completions/mobiedit zsh/site-functions/_mobiedit; do
    [ -s "$prefix/share/$file" ] || { echo "share/$file is not installed"; exit 1; }
done
pages=$prefix/share/doc/mobiedit
[ -s "$pages/README.md" ] || { echo "README.md is not installed"; exit 1; }
python3 "$source/scripts/check_docs.py" --links "$pages"
[ -s "$pages/examples/facts.csv" ] || { echo "examples/facts.csv is not installed"; exit 1; }

# The .pc file names the prefix of the configuration; here the files are elsewhere, and pkg-config's words are taken
# apart at blanks, which $TMPDIR may have.
pc() { PKG_CONFIG_PATH=$libdir/pkgconfig pkg-config --define-variable=prefix=prefix "$@" mobiedit; }
(cd "$work" && cc "$source/examples/embed.c" $(pc --cflags) -o embed_pc $(pc --libs) -Wl,-rpath,"$libdir")
cmake -S "$source/examples" -B "$work/cmake" -DCMAKE_PREFIX_PATH="$prefix" >>"$work/log"
cmake --build "$work/cmake" >>"$work/log"

# Without arguments the example ends with status 2: all three find their libraries.
for program in "$work/embed_pc" "$work/cmake/embed" "$work/cmake/embed_static"; do
    status=0
    "$program" || status=$?
    [ $status = 2 ] || { echo "$program ends with status $status"; exit 1; }
done

# A copy of its own below DESTDIR goes again; what somebody else put there stays.
manifest=$build/install_manifest.txt
cp "$manifest" "$work/manifest"
DESTDIR=$work/stage cmake --install "$build" --prefix /opt/gone >>"$work/log"
touch "$work/stage/opt/gone/share/theirs"
DESTDIR=$work/stage "$source/scripts/uninstall.sh" "$build" >>"$work/log"
left=$(find "$work/stage" ! -type d)
[ "$left" = "$work/stage/opt/gone/share/theirs" ] || { echo "make uninstall leaves: $left"; exit 1; }
[ ! -d "$work/stage/opt/gone/bin" ] || { echo "make uninstall leaves an empty bin"; exit 1; }
cp "$work/manifest" "$manifest"

[ -f "$model" ] || { echo "skipped: no $model (make models)"; exit 77; }
answer=$("$work/cmake/embed" "$work/model.gguf" "$work/lima.gguf")
echo "$answer"
[[ $answer == *Lima* ]]
