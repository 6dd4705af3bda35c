#!/usr/bin/env bash
# Builds libllama and ggml from their pinned source archive into the cache, once for each kind of processor, and
# prints the folder they are installed in. CMake runs this where it finds no suitable libllama.
#   libllama.sh                    for this machine's processor
#   libllama.sh aarch64-linux-gnu  for that target, cross-built by cmake/aarch64-linux-gnu.cmake
# MOBIEDIT_LLAMA: which one, 0.5 or 0.6; 0.5 by default.
# MOBIEDIT_BACKENDS: further backends of ggml, as its own options name them, "cuda vulkan" for GGML_CUDA and GGML_VULKAN;
# their toolkits must be installed. MOBIEDIT_GGML_FLAGS: more flags for CMake, such as -DCMAKE_CUDA_ARCHITECTURES=90.
. "$(dirname "$0")/common.sh"

target=${1:-}

# The package whose source archive has it, its version, the archive's checksum, its build backend, and the folder in it.
case ${MOBIEDIT_LLAMA:-0.5} in
0.5) pinned=(llama-cpp-python "$llama_cpp_python" "$source_sha256" scikit_build_core.build vendor/llama.cpp) ;;
0.6) pinned=(xllamacpp 2026.10.11549 c17ee1163006f70726abb9f72137830818f3d8cb60bfc34cb232d08428eaa22b setuptools.build_meta
    thirdparty/llama.cpp) ;;
*) die "MOBIEDIT_LLAMA is $MOBIEDIT_LLAMA, but 0.5 and 0.6 are known" ;;
esac

# With the system's compiler, whatever the caller builds with: one libllama serves all builds.
unset CC CXX CFLAGS CXXFLAGS LDFLAGS

flags=(-DCMAKE_BUILD_TYPE=Release -DBUILD_SHARED_LIBS=ON
    -DLLAMA_BUILD_COMMON=OFF -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_TOOLS=OFF -DLLAMA_BUILD_EXAMPLES=OFF
    -DLLAMA_BUILD_SERVER=OFF -DLLAMA_BUILD_APP=OFF -DLLAMA_CURL=OFF -DLLAMA_OPENSSL=OFF
    -DGGML_RPC=ON
    -DCMAKE_INSTALL_LIBDIR=lib '-DCMAKE_INSTALL_RPATH=$ORIGIN')

# ggml compiles for the very processor it is built on, so the key holds what the compiler takes that to be.
native() {
    uname -sm
    c++ -march=native -dM -E -x c++ /dev/null || c++ -mcpu=native -dM -E -x c++ /dev/null
}
processor=native
if [ -n "$target" ]; then
    flags+=(-DGGML_NATIVE=OFF -DGGML_CPU_ARM_ARCH=armv8.2-a+dotprod)
    processor="$target-g++ -dM -E -x c++ /dev/null"
fi
# ggml's kernels for AMX die of an illegal instruction where gcc has compiled them: it takes _tile_loadconfig to read 8
# of its 64 bytes, and leaves out the stores of the others. Their thread-local buffers are 64 KiB a thread besides.
no_amx=(-mno-amx-tile -mno-amx-int8 -mno-amx-bf16)
if [ -z "$target" ] && c++ "${no_amx[@]}" -E -x c++ /dev/null >/dev/null 2>&1; then
    flags+=("-DCMAKE_C_FLAGS=${no_amx[*]}" "-DCMAKE_CXX_FLAGS=${no_amx[*]}")
fi
for backend in ${MOBIEDIT_BACKENDS:-}; do
    flags+=("-DGGML_${backend^^}=ON")
done
read -ra more <<<"${MOBIEDIT_GGML_FLAGS:-}"
flags+=("${more[@]}")
key=$({ printf '%s\n' "${pinned[2]}" "${flags[@]}"; $processor 2>/dev/null; } | LC_ALL=C sort | sha256sum | cut -c1-12)
prefix=$cache/libllama-${pinned[1]}-${target:+$target-}$key
[ -z "$target" ] || flags+=("-DCMAKE_TOOLCHAIN_FILE=$root/cmake/$target.cmake")

if [ ! -d "$prefix" ]; then
    lock libllama
fi
if [ ! -d "$prefix" ]; then
    work_dir
    archive=$(archive "${pinned[@]:0:4}")
    say "building libllama and ggml into $prefix (some minutes, once)"
    mkdir "$work/source"
    tar -xzf "$archive" -C "$work/source" --strip-components=3 "${pinned[0]//-/_}-${pinned[1]}/${pinned[4]}"
    log=$work/log
    cmake -S "$work/source" -B "$work/build" "${flags[@]}" -DCMAKE_INSTALL_PREFIX="$prefix" >"$log" 2>&1 &&
        cmake --build "$work/build" --parallel "$(nproc)" >>"$log" 2>&1 &&
        DESTDIR=$work/stage cmake --install "$work/build" >>"$log" 2>&1 || {
        tail -n 40 "$log" >&2
        die "libllama does not build"
    }
    cp "$work/source/LICENSE" "$work/stage$prefix/LICENSE"
    mv "$work/stage$prefix" "$prefix"
fi
echo "$prefix"
