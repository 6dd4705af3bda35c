"""mobiedit push against a real llama-server: the answer changes while it runs.

  test_push_server.py MOBIEDIT

The server is $MOBIEDIT_LLAMA_SERVER, else the one of the package xllamacpp, a pinned version in the cache (llama_server.py).
Exit status 77 without a model, or if the package is not in the cache and cannot be got.
"""
import json
import os
import pathlib
import subprocess
import sys
import time
import unittest
import urllib.error
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from testing import SKIPPED, free_port, link_model, scratch_folder, skip_without_model

PROMPT, BARE = "The capital of {Japan} is", "The capital of Japan is"


HERE = pathlib.Path(__file__).resolve().parent


def find_server():
    """The command that begins a server's, and its environment; None without a server."""
    if named := os.environ.get("MOBIEDIT_LLAMA_SERVER"):
        return [named], os.environ
    found = subprocess.run([HERE.parents[1] / "scripts" / "python_packages.sh", "llama-server"], stdout=subprocess.PIPE)
    if found.returncode != 0:
        return None
    return [sys.executable, HERE / "llama_server.py"], {**os.environ, "PYTHONPATH": os.fsdecode(found.stdout).strip()}


class Push(unittest.TestCase):
    mobiedit = server_command = server_environment = None

    def setUp(self):
        self.folder, self.model = scratch_folder(self.addCleanup, "push_server"), link_model(self.addCleanup)
        self.adapters = {target: self.folder / f"{target}.gguf" for target in ("Lima", "Oslo")}
        for target, path in self.adapters.items():
            self.run_command("edit", "--no-ledger", self.model, PROMPT, target, "-o", path, "-q")
        self.url = f"http://127.0.0.1:{free_port()}"
        log = open(self.folder / "log", "wb")
        self.addCleanup(log.close)
        self.server = subprocess.Popen(
            [*self.server_command, "--model", self.model, "--lora", ",".join(map(str, self.adapters.values())),
             "--host", "127.0.0.1", "--port", self.url.rsplit(":", 1)[1], "--ctx-size", "512",
             "--offline"], stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=self.server_environment)
        self.addCleanup(self.server.wait)
        self.addCleanup(self.server.terminate)
        self.await_server()
        for target in self.adapters:
            self.push(target, "--scale", "0")

    def run_command(self, *args):
        ran = subprocess.run([self.mobiedit, *args], capture_output=True, text=True, timeout=600,
                             env={**os.environ, "no_proxy": "*"})
        self.assertEqual((ran.returncode, ran.stderr), (0, ""))
        return ran.stdout

    def fetch(self, path, body=None):
        request = urllib.request.Request(self.url + path, data=body and json.dumps(body).encode(),
                                         headers={"Content-Type": "application/json"})
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=300) as answer:
            return json.load(answer)

    def await_server(self):
        end = time.monotonic() + 300
        while time.monotonic() < end:
            self.assertIsNone(self.server.poll(), "the server has ended: " + (self.folder / "log").read_text()[-2000:])
            try:
                self.fetch("/health")
                return
            except (urllib.error.URLError, ConnectionError):
                time.sleep(0.2)
        self.fail("the server does not answer")

    def says(self, target):
        """The server keeps what it has cached of a prompt when scales change, and would answer from that."""
        text = self.fetch("/completion", {"prompt": BARE, "n_predict": 4, "temperature": 0, "cache_prompt": False})["content"]
        return text.startswith(" " + target)

    def push(self, target, *args):
        return self.run_command("push", self.url, "--adapter", self.adapters[target], *args)

    def test_answers_follow(self):
        self.assertTrue(self.says("Tokyo"))
        report = json.loads(self.push("Lima", "--json"))
        self.assertEqual((report["scale_before"], report["scale"]), (0, 1))
        self.assertTrue(self.says("Lima"))
        self.push("Lima", "--scale", "0")
        self.push("Oslo")
        self.assertTrue(self.says("Oslo"))
        self.push("Oslo", "--scale", "0")
        self.assertTrue(self.says("Tokyo"))


if __name__ == "__main__":
    Push.mobiedit = sys.argv[1]
    skip_without_model()
    if not (server := find_server()):
        print("skipped: no llama-server can be got")
        sys.exit(SKIPPED)
    Push.server_command, Push.server_environment = server
    unittest.main(argv=[sys.argv[0], "-v", *sys.argv[2:]])
