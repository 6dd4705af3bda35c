# Homebrew's recipe, for Linux. It was written from Homebrew's documentation and has not been run. See packaging/README.md.
class Mobiedit < Formula
  desc "Corrects facts in quantized language models by forward passes only"
  homepage "https://arxiv.org/abs/2506.13772"
  # The source archive that `make dist` wrote: HOMEBREW_MOBIEDIT_ARCHIVE=/path/mobiedit-0.1.0.tar.gz
  url "file://#{ENV.fetch("HOMEBREW_MOBIEDIT_ARCHIVE")}"
  license "MIT"

  depends_on "cmake" => :build
  depends_on "pkgconf" => :build
  depends_on "python@3.13" => :build # its pip gets llama.cpp's pinned source
  depends_on "simde" => :build
  depends_on "cjson"
  depends_on "curl"
  depends_on "liblbfgs"
  depends_on :linux # getrandom, fallocate, /proc
  depends_on "openblas" # with LAPACKE
  depends_on "popt"
  depends_on "sqlite"
  depends_on "utf8proc"
  depends_on "xxhash"

  def install
    ENV["MOBIEDIT_CACHE"] = buildpath/"cache"
    # Homebrew has no civetweb, so there is no `serve`.
    system "cmake", "-S", ".", "-B", "build", "-DMOBIEDIT_SERVE=OFF", *std_cmake_args
    system "cmake", "--build", "build", "--target", "mobiedit", "mobiedit_shared", "mobiedit_static", "completion"
    system "cmake", "--install", "build"
  end

  test do
    assert_match version.to_s, shell_output("#{bin}/mobiedit --version")
    assert_match "scalar", shell_output("#{bin}/mobiedit devices --json")
  end
end
