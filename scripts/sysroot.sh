#!/usr/bin/env bash
# Unpacks the arm64 libraries that the cross-build links into the cache, and prints the folder. They are Debian's,
# checked by apt; nothing of the system changes, not even its lists of packages.
. "$(dirname "$0")/common.sh"

packages="libcjson1 libcjson-dev libcmocka0 libcmocka-dev liblapacke liblapacke-dev libtmglib3 liblbfgs0 liblbfgs-dev
    libopenblas0-pthread libopenblas-pthread-dev libpopt0 libpopt-dev libsqlite3-0 libsqlite3-dev libxxhash0
    libxxhash-dev libutf8proc2 libutf8proc-dev"
triplet=aarch64-linux-gnu
key=$({ echo $packages; cat /etc/debian_version; sha256sum <"${BASH_SOURCE[0]}"; } | sha256sum | cut -c1-12)
sysroot=$cache/sysroot-$triplet-$key

if [ ! -d "$sysroot" ]; then
    lock sysroot
fi
if [ ! -d "$sysroot" ]; then
    work_dir
    say "getting arm64 libraries into $sysroot"
    mkdir -p "$work/lists/partial" "$work/cache/archives/partial" "$work/debs" "$work/root/usr/lib/$triplet"
    options=(-qq -o APT::Architecture=arm64 -o APT::Architectures::=arm64 -o APT::Sandbox::User=
        -o Dir::State::lists="$work/lists" -o Dir::State::status=/dev/null -o Dir::Cache="$work/cache")
    apt-get "${options[@]}" update >&2
    # shellcheck disable=SC2086  # a list of words
    (cd "$work/debs" && apt-get "${options[@]}" download $packages >&2)
    for deb in "$work"/debs/*.deb; do
        dpkg-deb --extract "$deb" "$work/root"
    done
    # What the packages leave to Debian's alternatives; and libc, which the compiler brings.
    (cd "$work/root/usr/lib/$triplet" && ln -s openblas-pthread/*.so* . && cd pkgconfig &&
        ln -s ../openblas-pthread/pkgconfig/openblas.pc . &&
        ln -s ../openblas-pthread/pkgconfig/lapack-openblas.pc lapack.pc &&
        ln -s ../openblas-pthread/pkgconfig/blas-openblas.pc blas.pc)
    ln -sT "/usr/$triplet/lib" "$work/root/lib"
    mv "$work/root" "$sysroot"
fi
echo "$sysroot"
