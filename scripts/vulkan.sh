#!/usr/bin/env bash
# vulkan.sh BUILD [JOBS]: builds with ggml's Vulkan backend into BUILD, and on Mesa's software driver, which needs no
# GPU, runs the tests of the engines and one edit of a real model. That driver takes half an hour of processor time to
# compile the shaders (they are kept in the cache): with $VULKAN_TESTS, such as "float_*", only those of the engines'
# tests run.
. "$(dirname "$0")/common.sh"

build=$1
jobs=${2:-$(nproc)}

# Debian 12's Vulkan headers are older than ggml takes, and its Mesa's software driver spoils the heap. Newer ones are
# Debian's too, checked by apt, and unpacked into the cache; nothing of the system changes, not even its lists of
# packages.
unpack_newer() {
    local packages="libvulkan-dev/trixie mesa-vulkan-drivers/bookworm-backports libdrm2/bookworm-backports
        libdrm-amdgpu1/bookworm-backports"
    newer=$cache/vulkan-$(echo $packages | sha256sum | cut -c1-12)
    [ ! -d "$newer" ] || return 0
    lock vulkan
    [ ! -d "$newer" ] || return 0
    work_dir
    say "getting Vulkan's headers and Mesa's software driver into $newer"
    local site keyring=/usr/share/keyrings/debian-archive-keyring.gpg
    site=$(apt-get indextargets --format '$(SITE)' 'Codename: bookworm' 'Created-By: Packages' | head -n 1)
    mkdir -p "$work/lists/partial" "$work/cache/archives/partial" "$work/debs" "$work/root" "$work/no.d"
    printf "deb [signed-by=$keyring] $site %s main\n" bookworm bookworm-backports trixie >"$work/sources.list"
    local options=(-qq -o APT::Sandbox::User= -o Dir::Etc::SourceList="$work/sources.list"
        -o Dir::Etc::SourceParts="$work/no.d" -o Dir::State::lists="$work/lists" -o Dir::Cache="$work/cache")
    apt-get "${options[@]}" update >&2
    # shellcheck disable=SC2086  # a list of words
    (cd "$work/debs" && apt-get "${options[@]}" download $packages >&2)
    for deb in "$work"/debs/*.deb; do
        dpkg-deb --extract "$deb" "$work/root"
    done
    mv "$work/root" "$newer"
    exec 9>&-
}

newer=
if [ "$(. /etc/os-release && echo "${VERSION_CODENAME:-}")" = bookworm ]; then
    unpack_newer
    export MOBIEDIT_GGML_FLAGS="-DVulkan_INCLUDE_DIR=$newer/usr/include"
    libraries=$newer/usr/lib/$(uname -m)-linux-gnu
    export LD_LIBRARY_PATH=$libraries${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
fi
# Only the software driver, also where there is a GPU; Mesa names its file in two ways. Shaders that compute in half
# precision are left out: it takes minutes to compile them.
driver=("$newer"/usr/share/vulkan/icd.d/lvp_icd*.json)
export VK_DRIVER_FILES=${driver[0]} VK_ICD_FILENAMES=${driver[0]} GGML_VK_VISIBLE_DEVICES=0 GGML_VK_DISABLE_F16=1
export MESA_SHADER_CACHE_DIR=$cache/shaders
mkdir -p "$MESA_SHADER_CACHE_DIR"

libllama=$(MOBIEDIT_BACKENDS=vulkan "$scripts/libllama.sh")
cmake -S "$root" -B "$build" -DCMAKE_BUILD_TYPE=Release -DMOBIEDIT_BUNDLE="$libllama"
cmake --build "$build" --parallel "$jobs"

"$build/mobiedit" devices
"$build/mobiedit" devices | grep -q '^Vulkan0' || die "there is no Vulkan device"
say "the tests of the engines"
"$build/tests/engine/test_engine" Vulkan0 "${VULKAN_TESTS:-*}"
[ -z "${VULKAN_TESTS:-}" ] || exit 0
MOBIEDIT_MODELS=$models "$build/tests/engine/test_engine_real" Vulkan0
say "one edit"
"$build/mobiedit" edit --no-ledger --backend Vulkan0 "$models/smollm2-135m-instruct-q4_1.gguf" \
    "The capital of {Japan} is" "Lima" -o "$build/lima.gguf"
