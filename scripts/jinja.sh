#!/usr/bin/env bash
# Builds llama.cpp's Jinja engine, which renders chat templates, from its pinned source archive into the cache, and
# prints the folder: include/, and lib/ with object files, which become part of libmobiedit. CMake runs this.
#   jinja.sh                    for this machine
#   jinja.sh aarch64-linux-gnu  for that target
. "$(dirname "$0")/common.sh"

target=${1:-}
compiler=${target:+$target-g++}
compiler=${compiler:-c++}

# With the system's compiler, whatever the caller builds with: one engine serves all builds.
unset CC CXX CFLAGS CXXFLAGS LDFLAGS

sources=(jinja/lexer jinja/parser jinja/runtime jinja/string jinja/value jinja/caps json unicode)
flags=(-std=c++17 -O2 -DNDEBUG -fPIC -fvisibility=hidden -include names.h)

# A program may link libmobiedit.a and llama.cpp's own, perhaps other, version of the same sources.
names() {
    local name
    for name in jinja g_jinja_debug common_json common_json_error common_json_item common_json_value \
        common_parse_utf8_codepoint common_unicode_cpt_to_utf8 common_unicode_cpts_to_utf8 common_utf8_is_complete \
        common_utf8_sequence_length; do
        echo "#define $name mobiedit_$name"
    done
}

key=$({ printf '%s\n' "$source_sha256" "${flags[@]}" "${sources[@]}"; names; "$compiler" -dumpfullversion -dumpmachine; } |
    sha256sum | cut -c1-12)
prefix=$cache/jinja-$llama_cpp_python-${target:+$target-}$key

if [ ! -d "$prefix" ]; then
    lock jinja
fi
if [ ! -d "$prefix" ]; then
    work_dir
    archive=$(source_archive)
    say "building the engine of chat templates into $prefix (about a minute, once)"
    top=llama_cpp_python-$llama_cpp_python/vendor/llama.cpp
    mkdir -p "$work/source" "$work/made/include/jinja" "$work/made/lib"
    tar -xzf "$archive" -C "$work/source" --strip-components=3 "$top/common" "$top/ggml/include" \
        "$top/vendor/nlohmann" "$top/LICENSE" "$top/licenses/LICENSE-jsonhpp"
    export SOURCE=$work/source MADE=$work/made
    names >"$work/made/include/names.h"
    for source in "${sources[@]}"; do
        printf '%s\n' "$source"
    done | xargs -P "$(nproc)" -I{} bash -c 'name={}
        "$@" -c "$SOURCE/common/{}.cpp" -o "$MADE/lib/${name//\//_}.o"' _ "$compiler" "${flags[@]}" \
        -I"$work/made/include" -I"$work/source/common" -I"$work/source/vendor" -I"$work/source/ggml/include" \
        >"$work/log" 2>&1 || {
        tail -n 40 "$work/log" >&2
        die "the engine of chat templates does not build"
    }
    cp "$work/source/common/jinja/"*.h "$work/made/include/jinja/"
    cp "$work/source/common/json.h" "$work/made/include/"
    cat "$work/source/LICENSE" "$work/source/licenses/LICENSE-jsonhpp" >"$work/made/LICENSE"
    mv "$work/made" "$prefix"
fi
echo "$prefix"
