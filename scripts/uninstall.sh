#!/usr/bin/env bash
# uninstall.sh BUILD: removes the files of the last `cmake --install BUILD`, below $DESTDIR if set, and the folders
# that are empty then, up to the first that is not.
set -euo pipefail
manifest=$1/install_manifest.txt
[ -f "$manifest" ] || { echo "nothing is known to be installed: no $manifest" >&2; exit 1; }
n=0
folders=()
while IFS= read -r path || [ -n "$path" ]; do
    path=${DESTDIR:-}$path
    if [ -e "$path" ] || [ -L "$path" ]; then
        rm -f -- "$path"
        n=$((n + 1))
        folders+=("$(dirname "$path")")
    fi
done <"$manifest"
for folder in "${folders[@]}"; do
    while [ "$folder" != / ] && [ "$folder" != "${DESTDIR:-}" ] && [ -d "$folder" ] && rmdir -- "$folder" 2>/dev/null; do
        folder=$(dirname "$folder")
    done
done
rm -f -- "$manifest"
echo "removed $n files"
