#!/usr/bin/env bash
# dist.sh BUILD: writes the last commit's source archive, BUILD/mobiedit-VERSION.tar.gz, and configures what it holds where there
# is no git.
. "$(dirname "$0")/common.sh"

build=$1
version=$(sed -n 's/^#define MOBIEDIT_VERSION "\(.*\)"$/\1/p' "$root/include/mobiedit.h")
name=mobiedit-$version
mkdir -p "$build"
archive=$(realpath "$build")/$name.tar.gz
git -C "$root" archive --format=tar.gz --prefix="$name/" --output="$archive" HEAD

work_dir "$build"
tar -xzf "$archive" -C "$work"
mkdir "$work/bin"
printf '#!/bin/sh\necho "git is called" >&2\nexit 1\n' >"$work/bin/git"
chmod +x "$work/bin/git"
PATH=$work/bin:$PATH cmake -S "$work/$name" -B "$work/build" >"$work/log" 2>&1 || {
    tail -n 20 "$work/log" >&2
    die "$archive does not configure"
}
! grep -q 'git is called' "$work/log" || die "$archive needs git"
say "$archive"
