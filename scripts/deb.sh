#!/usr/bin/env bash
# deb.sh BUILD: builds the Debian packages into BUILD/packages. They are for any processor with AVX2 (x86-64) or of ARMv8
# (aarch64), unless MOBIEDIT_GGML_FLAGS says something else of ggml.
. "$(dirname "$0")/common.sh"

build=$1
export MOBIEDIT_GGML_FLAGS=${MOBIEDIT_GGML_FLAGS--DGGML_NATIVE=OFF}
export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git -C "$root" log -1 --format=%ct 2>/dev/null || date +%s)}
# An installed libllama may be for this machine only.
bundle=$("$scripts/libllama.sh")
# What is packed is built, and no test.
cmake -S "$root" -B "$build" -DCMAKE_BUILD_TYPE=Release -DCMAKE_INSTALL_PREFIX=/usr -DMOBIEDIT_BUNDLE="$bundle" \
    -DCMAKE_SKIP_INSTALL_ALL_DEPENDENCY=ON >&2
cmake --build "$build" --parallel "$(nproc)" --target mobiedit mobiedit_shared mobiedit_static completion >&2
rm -rf "$build/packages"
(cd "$build" && cpack -G DEB >&2)
ls "$build"/packages/*.deb
