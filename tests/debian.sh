#!/usr/bin/env bash
# debian.sh BUILD: builds the Debian packages below BUILD, has lintian look at them, and installs them in a clean Debian with
# nothing but apt: what they depend on comes with them, the command runs and answers with a real model, and once they are
# removed no file of theirs is left. Exit status 77 (skipped) where no such Debian can be made.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
model=${MOBIEDIT_MODELS:-${MOBIEDIT_CACHE:-$(echo ~/.cache/mobiedit)}/models}/smollm2-135m-instruct-q4_1.gguf
for program in cpack dpkg-shlibdeps lintian mmdebstrap; do
    command -v "$program" >/dev/null || { echo "skipped: no $program (scripts/setup.sh --deb)"; exit 77; }
done
[ "$(id -u)" = 0 ] || { echo "skipped: a clean Debian is made as root"; exit 77; }
[ -f "$model" ] || { echo "skipped: no $model (make models)"; exit 77; }

export DEBFULLNAME="A. Tester" DEBEMAIL=tester@example.org
"$root/scripts/deb.sh" "$1/deb" >/dev/null
packages=$1/deb/packages
for package in "$packages"/*.deb; do
    maintainer=$(dpkg-deb -f "$package" Maintainer)
    [ "$maintainer" = "$DEBFULLNAME <$DEBEMAIL>" ] || { echo "$package is maintained by $maintainer"; exit 1; }
done

# Not for Debian's archive: no bug is closed by the upload. CPack calls ldconfig in scripts, beside the trigger. README links
# to the change log by its own name.
lintian --allow-root --fail-on warning --suppress-tags \
    initial-upload-closes-no-bugs,maintscript-calls-ldconfig,wrong-name-for-upstream-changelog "$packages"/*.deb

# What runs in the new root; the packages and the model are in its /try.
in_root() {
    set -eu
    export DEBIAN_FRONTEND=noninteractive
    before=$(find /usr /etc /var/lib -path '*obiedit*')
    [ -z "$before" ] || { echo "the root is not clean: $before"; exit 1; }
    apt-get install -qq -y -o Dpkg::Use-Pty=0 --no-install-recommends /try/*.deb
    mobiedit --version
    mobiedit ask /try/model.gguf "The capital of Japan is" -n 4 | tee /try/said
    grep -q Tokyo /try/said
    apt-get remove -qq -y -o Dpkg::Use-Pty=0 --purge mobiedit libmobiedit0 libmobiedit-dev
    after=$(find /usr /etc /var/lib -path '*obiedit*')
    [ -z "$after" ] || { echo "left behind: $after"; exit 1; }
}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/try"
cp "$packages"/*.deb "$work/try/"
cp "$model" "$work/try/model.gguf"
{ declare -f in_root; echo in_root; } >"$work/try/run"
. /etc/os-release
mmdebstrap --quiet --variant=apt --format=null --customize-hook="touch '$work/made'" \
    --customize-hook="copy-in '$work/try' /" --customize-hook='chroot "$1" bash /try/run' \
    "$VERSION_CODENAME" /dev/null || {
    # Where no mirror is to be reached, or nothing may be mounted, there is no clean Debian to try them in.
    [ -e "$work/made" ] || { echo "skipped: mmdebstrap makes no Debian here"; exit 77; }
    exit 1
}
