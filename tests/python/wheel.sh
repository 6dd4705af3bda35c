#!/usr/bin/env bash
# wheel.sh CHECK: builds the wheel, and tries it as a stranger does: auditwheel finds nothing from outside in it, and in an empty
# environment of each Python from 3.11 on that is here, CHECK passes. The newest two at most. Exit status 77 (skipped)
# where the packages for it, or the model, cannot be had.
set -euo pipefail
check=$1
root=$(cd "$(dirname "$0")/../.." && pwd)
tools=$("$root/scripts/python_packages.sh" wheel) || { echo "skipped: what makes wheels cannot be set up"; exit 77; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
wheel=$("$root/scripts/wheel.sh" "$work/wheel")
PATH=$tools/bin:$PATH PYTHONPATH=$tools python3 -m auditwheel show "$wheel" | tee "$work/show"
grep -q 'platform tag: "manylinux_' <(tr '\n' ' ' <"$work/show") || { echo "the wheel needs this machine's libraries"; exit 1; }

# Those on PATH, and pyenv's; shims of versions that are not chosen do not run.
pythons() {
    local python
    for python in python3 python3.{11..19} "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.*/bin/python3; do
        "$python" -c 'import ensurepip, sys
sys.version_info >= (3, 11) and print("%d.%d" % sys.version_info[:2], sys.executable)' 2>/dev/null || true
    done | sort -V -r -u -k1,1 | head -n 2
}
while read -r version python; do
    echo "== Python $version"
    "$python" -m venv "$work/venv-$version"
    (
        cd "$work" # nothing of the repository is in the way
        export PIP_DISABLE_PIP_VERSION_CHECK=1
        "venv-$version/bin/python" -m pip install -q --no-index "$wheel"
        status=0
        "venv-$version/bin/python" "$check" || status=$?
        "venv-$version/bin/python" -m pip uninstall -q -y mobiedit
        [ ! -e "venv-$version/lib/python$version/site-packages/mobiedit" ] || { echo "something is left"; exit 1; }
        exit $status
    )
done < <(pythons)
