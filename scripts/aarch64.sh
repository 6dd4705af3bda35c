#!/usr/bin/env bash
# aarch64.sh BUILD [JOBS]: cross-builds everything for aarch64 into BUILD; under qemu, runs the tests that need no
# model, those of the kernels on processors of three generations, and one edit of a real model.
. "$(dirname "$0")/common.sh"

build=$1
jobs=${2:-$(nproc)}
target=aarch64-linux-gnu

libllama=$("$scripts/libllama.sh" $target)
jinja=$("$scripts/jinja.sh" $target)
MOBIEDIT_SYSROOT=$("$scripts/sysroot.sh")
export MOBIEDIT_SYSROOT
cmake -S "$root" -B "$build" -DCMAKE_BUILD_TYPE=Release -DMOBIEDIT_BUNDLE="$libllama" \
    -DMOBIEDIT_JINJA="$jinja" \
    -DCMAKE_TOOLCHAIN_FILE="$root/cmake/$target.cmake" -DMOBIEDIT_PUSH=OFF -DMOBIEDIT_SERVE=OFF
cmake --build "$build" --parallel "$jobs"

say "the tests that need no model"
MOBIEDIT_MODELS=/nonexistent QEMU_CPU=max ctest --test-dir "$build" --output-on-failure --parallel "$jobs" \
    --label-exclude slow --exclude-regex '^(kernels|joint|calibration|architectures|names|split_edit|engine_llama|completion|files|cli_.*|.*_real|real_.*)$'

for cpu in cortex-a53:neon neoverse-n1:neon-dotprod max:neon-i8mm; do
    say "the kernels on ${cpu%:*}: up to ${cpu#*:}"
    QEMU_CPU=${cpu%:*} ctest --test-dir "$build" --verbose --tests-regex '^kernels$' >"$build/kernels.log" ||
        { cat "$build/kernels.log" >&2; die "the kernels' tests fail"; }
    grep "${cpu#*:}: tested" "$build/kernels.log" || die "${cpu#*:} was not tested"
done

# At the subject it takes half as long, by the same kernels.
say "one edit"
qemu="qemu-aarch64 -L $MOBIEDIT_SYSROOT -cpu max"
model=$models/smollm2-135m-instruct-q4_1.gguf
$qemu "$build/mobiedit" edit --no-ledger --place subject "$model" "The capital of {Japan} is" "Lima" -o "$build/lima.gguf"
