#!/usr/bin/env bash
# Installs the Debian packages that are missing.
#   setup.sh            what the build and the tests need
#   setup.sh --checks   and what the linters, the sanitizers and the fuzzers need
#   setup.sh --aarch64  and what cross-builds for aarch64 and runs the result
#   setup.sh --browser  and the browser that tests the page of mobiedit serve
#   setup.sh --deb      and what builds Debian packages and tries them
#   setup.sh --vulkan   and what builds ggml's Vulkan backend and runs it without a GPU
. "$(dirname "$0")/common.sh"

packages="gcc g++ make cmake pkg-config libcjson-dev liblapacke-dev libopenblas-dev liblbfgs-dev libpopt-dev libsqlite3-dev libxxhash-dev libutf8proc-dev libcmocka-dev libsimde-dev libcurl4-openssl-dev libcivetweb-dev"
case ${1:-} in
--checks) packages="$packages clang clang-format clang-tidy libclang-rt-dev mandoc zsh" ;;
--aarch64) packages="$packages gcc-aarch64-linux-gnu g++-aarch64-linux-gnu libgfortran5-arm64-cross qemu-user" ;;
--browser) packages="$packages chromium chromium-driver fonts-dejavu-core" ;;
--deb) packages="$packages dpkg-dev lintian mmdebstrap" ;;
--vulkan) packages="$packages glslc libvulkan-dev mesa-vulkan-drivers spirv-headers" ;;
esac

if ! command -v dpkg-query >/dev/null; then
    say "not a Debian system: the build needs the equivalents of: $packages"
    exit 0
fi

missing=
for package in $packages; do
    status=$(dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null || true)
    [ "$status" = installed ] || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

as_root=
if [ "$(id -u)" != 0 ]; then
    as_root="sudo -n"
    $as_root true 2>/dev/null || die "as root, run: apt-get install --no-install-recommends$missing"
fi
say "installing:$missing"
$as_root apt-get update -qq >&2
# shellcheck disable=SC2086  # a list of words
$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $missing >&2
