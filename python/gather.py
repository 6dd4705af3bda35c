#!/usr/bin/env python3
"""gather.py LIBRARY OUTPUT [BUNDLE]: puts LIBRARY into the folder OUTPUT, with the libraries of the folder BUNDLE that it
needs.

On Debian the licences of the other libraries go along, which a wheel that is to run elsewhere brings (scripts/wheel.sh).

They find each other there, and have names of their own: the dynamic linker takes a library that is in the process already,
such as llama-cpp-python's libllama.so.0, for any other of that name. patchelf changes the names.
"""
import os
import shutil
import subprocess
import sys


def patchelf(*arguments):
    run = subprocess.run(["patchelf", *arguments], stdout=subprocess.PIPE, check=True, text=True)
    return run.stdout.split()


def own_name(soname):
    return f"{soname.split('.so')[0]}-mobiedit.so"


def gather(source, name, bundle, output, done):
    """Copies `source` as `name`, and what it needs of the bundle."""
    target = os.path.join(output, name)
    done.add(name)
    shutil.copyfile(source, target)
    os.chmod(target, 0o755)
    arguments = ["--set-soname", name, "--set-rpath", "$ORIGIN"]
    for needed in patchelf("--print-needed", source):
        found = bundle and os.path.join(bundle, needed)
        if found and os.path.exists(found):
            arguments += ["--replace-needed", needed, own_name(needed)]
            if own_name(needed) not in done:
                gather(found, own_name(needed), bundle, output, done)
    patchelf(*arguments, target)


def package_of(library):
    """The Debian package of an installed library; None: of none, or this is no Debian."""
    path = os.path.realpath(library)
    for name in (path, path.removeprefix("/usr")):  # as it was before /lib became a link
        run = subprocess.run(["dpkg-query", "--search", name], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        if run.returncode == 0:
            return run.stdout.split(":")[0]
    return None


def add_licences(output):
    """Those of all libraries that the gathered ones need from outside."""
    folder = os.path.join(output, "licenses")
    os.makedirs(folder)
    library = os.path.join(output, "libmobiedit.so")
    run = subprocess.run(["ldd", library], stdout=subprocess.PIPE, check=True, text=True)
    outside = [line.split()[2] for line in run.stdout.splitlines() if " => /" in line and output not in line]
    for package in filter(None, sorted({package_of(path) for path in outside}, key=str)):
        shutil.copyfile(f"/usr/share/doc/{package}/copyright", os.path.join(folder, package))


def main(library, output, bundle=None):
    shutil.rmtree(output, ignore_errors=True)
    os.makedirs(output)
    gather(library, "libmobiedit.so", bundle, output, set())
    if shutil.which("dpkg-query"):
        add_licences(output)


if __name__ == "__main__":
    main(*sys.argv[1:])
