# Termux's recipe. It was written from Termux's documentation and has not been run. See packaging/README.md.
# shellcheck shell=bash disable=SC2034  # termux-packages sources it
TERMUX_PKG_HOMEPAGE=https://arxiv.org/abs/2506.13772
TERMUX_PKG_DESCRIPTION="Corrects facts in quantized language models by forward passes only"
TERMUX_PKG_LICENSE="MIT"
TERMUX_PKG_MAINTAINER="@termux"
TERMUX_PKG_VERSION=0.1.0
# The source archive that `make dist` wrote, laid beside this file.
TERMUX_PKG_SRCURL=file://$TERMUX_PKG_BUILDER_DIR/mobiedit-$TERMUX_PKG_VERSION.tar.gz
TERMUX_PKG_SHA256=SKIP_CHECKSUM
# liblbfgs is not among Termux's packages: a recipe of its own must come first.
TERMUX_PKG_DEPENDS="cjson, libc++, libcurl, liblbfgs, libopenblas, libpopt, libsqlite, libutf8proc, libxxhash"
# Termux has no civetweb, so there is no `serve`.
TERMUX_PKG_EXTRA_CONFIGURE_ARGS="-DMOBIEDIT_SERVE=OFF"
