#!/usr/bin/env bash
# wheel.sh FOLDER: builds the Python package's wheel into FOLDER, with all libraries that it needs but the C and C++ ones. It
# is for any processor with AVX2 (x86-64) or of ARMv8 (aarch64), unless MOBIEDIT_GGML_FLAGS says something else of ggml.
. "$(dirname "$0")/common.sh"

folder=$(realpath -m -- "$1")
tools=$(python_packages wheel requirements-wheel.txt)
export PYTHONPATH=$tools PATH=$tools/bin:$PATH
export MOBIEDIT_GGML_FLAGS=${MOBIEDIT_GGML_FLAGS--DGGML_NATIVE=OFF}

work_dir
say "building the wheel"
# An installed libllama may be for this machine only.
pip wheel -q --no-build-isolation --no-deps --no-cache-dir --wheel-dir "$work/bare" \
    "-Ccmake.define.MOBIEDIT_BUNDLE=$("$scripts/libllama.sh")" "$root"
rm -f "$folder"/mobiedit-*.whl
python3 -m auditwheel repair --wheel-dir "$folder" "$work"/bare/mobiedit-*.whl >"$work/log" 2>&1 || {
    cat "$work/log" >&2
    die "the wheel's libraries cannot be gathered"
}
echo "$folder"/mobiedit-*.whl
