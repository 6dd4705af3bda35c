#!/usr/bin/env bash
# deb.sh BUILD: builds the Debian packages into BUILD/packages. They are for any processor with AVX2 (x86-64) or of ARMv8
# (aarch64), unless MOBIEDIT_GGML_FLAGS says something else of ggml. Their maintainer is who builds them: $DEBFULLNAME and
# $DEBEMAIL, else git's user.name and user.email, else the user on this machine, as Debian's own tools have it.
. "$(dirname "$0")/common.sh"

build=$1
export MOBIEDIT_GGML_FLAGS=${MOBIEDIT_GGML_FLAGS--DGGML_NATIVE=OFF}
export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git -C "$root" log -1 --format=%ct 2>/dev/null || date +%s)}
maintainer() {
    local name=${DEBFULLNAME:-} email=${DEBEMAIL:-}
    [ -n "$name" ] || name=$(git -C "$root" config user.name 2>/dev/null || id -un)
    [ -n "$email" ] || email=$(git -C "$root" config user.email 2>/dev/null || echo "$(id -un)@$(hostname -f 2>/dev/null || hostname)")
    echo "$name <$email>"
}

# An installed libllama may be for this machine only.
bundle=$("$scripts/libllama.sh")
# What is packed is built, and no test.
cmake -S "$root" -B "$build" -DCMAKE_BUILD_TYPE=Release -DCMAKE_INSTALL_PREFIX=/usr -DMOBIEDIT_BUNDLE="$bundle" \
    -DCMAKE_SKIP_INSTALL_ALL_DEPENDENCY=ON -DMOBIEDIT_MAINTAINER="$(maintainer)" >&2
cmake --build "$build" --parallel "$(nproc)" --target mobiedit mobiedit_shared mobiedit_static completion >&2
rm -rf "$build/packages"
(cd "$build" && cpack -G DEB >&2)
ls "$build"/packages/*.deb
