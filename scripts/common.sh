# Shared by the scripts: where the cache is, how things get into it. Sourced, not run.
set -euo pipefail

scripts=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(dirname "$scripts")
# Without $HOME bash takes the home folder from the list of users.
cache=$(realpath -m -- "${MOBIEDIT_CACHE:-$(echo ~/.cache/mobiedit)}")
models=$(realpath -m -- "${MOBIEDIT_MODELS:-$cache/models}")

say() { printf '== %s\n' "$*" >&2; }
die() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

pip() {
    python3 -m pip --version >/dev/null 2>&1 || die "python3 with pip is needed (Debian: python3-pip)"
    PIP_ROOT_USER_ACTION=ignore PIP_DISABLE_PIP_VERSION_CHECK=1 python3 -m pip "$@" >&2
}

# work_dir [PARENT]: a fresh folder in PARENT (the cache), removed when the script ends. Things are made here
# and renamed into place when they are whole, so an interrupted run leaves nothing that looks finished.
work_dir() {
    mkdir -p "${1:-$cache}"
    work=$(mktemp -d "${1:-$cache}/.work.XXXXXX")
    trap 'rm -rf "$work"' EXIT
    trap 'exit 130' INT TERM HUP
}

# lock NAME: one process at a time makes NAME; the others wait, and then find it made.
lock() {
    mkdir -p "$cache"
    exec 9>"$cache/.$1.lock"
    flock 9
}

# python_packages NAME REQUIREMENTS [COMMAND]: prints the folder NAME-... of the cache with the Python packages of
# scripts/REQUIREMENTS, all pinned by version and checksum, for PYTHONPATH. `COMMAND FOLDER` adds to a new one.
python_packages() {
    local key folder
    key=$({ cat "$scripts/$2"; python3 -VV; uname -m; } | sha256sum | cut -c1-12)
    folder=$cache/$1-$key
    if [ ! -d "$folder" ]; then
        lock "$1"
    fi
    if [ ! -d "$folder" ]; then
        work_dir
        say "installing $1 into $folder"
        pip install -q --no-cache-dir --no-deps --require-hashes --only-binary :all: --target "$work/python" -r "$scripts/$2"
        ${3:+"$3" "$work/python"}
        mv "$work/python" "$folder"
    fi
    echo "$folder"
}

# archive NAME VERSION SHA256 BACKEND: path of the source archive of a Python package that has llama.cpp in it.
archive() {
    local name=${1//-/_} module=${4//.//}
    local file=$cache/source/$name-$2.tar.gz
    if [ ! -f "$file" ]; then
        say "getting the source archive of $1 $2"
        # pip reads a source package's metadata before it hands the archive out, and asks the package's build backend for it.
        # One that knows the name and the version only stands in for that: no code of the package is run.
        mkdir -p "$work/backend/${module%/*}"
        touch "$work/backend/${module%/*}/__init__.py"
        cat >"$work/backend/$module.py" <<EOF
import pathlib
def prepare_metadata_for_build_wheel(folder, settings=None):
    path = pathlib.Path(folder, "$name-$2.dist-info")
    path.mkdir()
    (path / "METADATA").write_text("Metadata-Version: 2.1\\nName: $1\\nVersion: $2\\n")
    return path.name
EOF
        echo "$1==$2 --hash=sha256:$3" >"$work/source.txt"
        PYTHONPATH=$work/backend pip download -q --no-cache-dir --no-deps --no-build-isolation \
            --no-binary "$1" --require-hashes -d "$work/download" -r "$work/source.txt"
        mkdir -p "$cache/source"
        mv "$work/download/${file##*/}" "$file"
    fi
    echo "$3  $file" | sha256sum --check --quiet >&2 || die "$file is damaged: remove it and try again"
    echo "$file"
}

# source_archive: that of llama-cpp-python, whose vendor/llama.cpp is libllama 0.5.
llama_cpp_python=0.3.36
source_sha256=832db0699007f1be95a7e41ef12e88926b02ba836461e36a36372db2760c1a2e
source_archive() {
    archive llama-cpp-python "$llama_cpp_python" "$source_sha256" scikit_build_core.build
}
