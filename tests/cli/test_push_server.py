"""mobiedit push against a real llama-server: the answer changes while it runs.

  test_push_server.py MOBIEDIT

The server is $MOBIEDIT_LLAMA_SERVER, else llama-server on PATH; exit status 77 where there is none, or no model.
"""
import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.error
import urllib.request

from test_cli import find_model

PROMPT, BARE = "The capital of {Japan} is", "The capital of Japan is"


def find_server():
    return shutil.which(os.environ.get("MOBIEDIT_LLAMA_SERVER") or "llama-server")


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Push(unittest.TestCase):
    mobiedit = None

    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="test_push_server_")).resolve()
        self.addCleanup(shutil.rmtree, self.folder)
        self.adapters = {target: self.folder / f"{target}.gguf" for target in ("Lima", "Oslo")}
        for target, path in self.adapters.items():
            self.run_command("edit", "--no-ledger", find_model(), PROMPT, target, "-o", path, "-q")
        self.url = f"http://127.0.0.1:{free_port()}"
        log = open(self.folder / "log", "wb")
        self.addCleanup(log.close)
        self.server = subprocess.Popen(
            [find_server(), "--model", find_model(), "--lora", ",".join(map(str, self.adapters.values())),
             "--host", "127.0.0.1", "--port", self.url.rsplit(":", 1)[1], "--ctx-size", "512",
             "--offline"], stdout=log, stderr=log)
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
    for name, there in (("llama-server", find_server()), (str(find_model()), find_model().is_file())):
        if not there:
            print(f"skipped: {name} is not there")
            sys.exit(77)
    unittest.main(argv=[sys.argv[0], "-v", *sys.argv[2:]])
