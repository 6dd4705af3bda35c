"""mobiedit push against a small server that answers as llama-server does, or as it should not.

  test_push.py MOBIEDIT
"""
import http.server
import json
import os
import pathlib
import socket
import subprocess
import sys
import threading
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from testing import scratch_folder

DONE, USAGE, SERVER = 0, 2, 8


class Handler(http.server.BaseHTTPRequestHandler):
    """What the tests make of it is in self.server.fake."""

    def answer(self, code, body, headers=()):
        self.send_response(code)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        self.server.fake.get(self)

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.fake.post(self, body)

    def log_message(self, *args):
        pass


class LlamaServer:
    """/lora-adapters as llama-server has it: a POST sets the scales it names, and all others to 0."""

    def __init__(self, *paths):
        self.adapters = [{"id": i, "path": str(path), "scale": 0.25 * i} for i, path in enumerate(paths)]
        self.seen = []

    def get(self, request):
        self.seen.append(("GET", request.path, request.headers))
        if request.path == "/props":
            request.answer(404, b"{}")
        else:
            request.answer(200, json.dumps(self.adapters).encode())

    def post(self, request, body):
        self.seen.append(("POST", request.path, request.headers))
        wanted = {item["id"]: item["scale"] for item in json.loads(body)}
        for adapter in self.adapters:
            adapter["scale"] = wanted.get(adapter["id"], 0)
        request.answer(200, b'{"success": true}')


class Erasing(LlamaServer):
    """Has slots, and with --slot-save-path lets them be erased."""

    def __init__(self, *paths, slots=3, refused=(), props=None):
        super().__init__(*paths)
        self.slots, self.refused, self.props = ["kept"] * slots, refused, props

    def get(self, request):
        if request.path == "/props":
            slots = json.dumps({"total_slots": len(self.slots)}).encode()
            request.answer(200, slots if self.props is None else self.props)
        else:
            super().get(request)

    def post(self, request, body):
        if not request.path.startswith("/slots/"):
            super().post(request, body)
            return
        number = int(request.path.removeprefix("/slots/").removesuffix("?action=erase"))
        if number in self.refused:
            request.answer(501, b'{"error": {"message": "Start it with `--slot-save-path`"}}')
            return
        # what the slot had is gone only after the new scale holds
        self.slots[number] = self.adapters[0]["scale"]
        request.answer(200, b'{"n_erased": 5}')


class Odd(LlamaServer):
    """Answers to GET with what it is told."""

    def __init__(self, code, body, headers=()):
        super().__init__()
        self.reply = code, body, headers

    def get(self, request):
        self.seen.append(("GET", request.path, request.headers))
        request.answer(*self.reply)


class Deaf(LlamaServer):
    """Says that it has done what it has not."""

    def post(self, request, body):
        request.answer(200, b'{"success": true}')


class Refusing(LlamaServer):
    def post(self, request, body):
        request.answer(500, b'{"error": "no"}')


class Push(unittest.TestCase):
    mobiedit = None

    def setUp(self):
        self.folder = scratch_folder(self.addCleanup, "push")
        self.adapter, self.other = self.folder / "lima.gguf", self.folder / "oslo.gguf"
        self.adapter.write_bytes(b"GGUF")
        self.other.write_bytes(b"GGUF")

    def serve(self, fake):
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.fake = fake
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()  # seconds; how soon it ends
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        return f"http://127.0.0.1:{server.server_port}"

    def push(self, url, *args, **more):
        environment = {**os.environ, "no_proxy": "*", **more.pop("env", {})}
        return subprocess.run([self.mobiedit, "push", url, "--adapter", self.adapter, *args], capture_output=True,
                              text=True, timeout=600, env=environment, **more)

    def assert_refused(self, ran, status, *words):
        self.assertEqual((ran.returncode, ran.stdout), (status, ""), ran.stderr)
        self.assertEqual(len(ran.stderr.splitlines()), 1, ran.stderr)
        for word in words:
            self.assertIn(word, ran.stderr)

    def test_switch_on_and_off(self):
        fake = LlamaServer("first.gguf", self.adapter, self.other)
        url = self.serve(fake)
        ran = self.push(url)
        self.assertEqual((ran.returncode, ran.stderr), (DONE, ""))
        self.assertIn("scale         1, was 0.25", ran.stdout)
        self.assertIn("as it was when the server started", ran.stdout)
        self.assertEqual([a["scale"] for a in fake.adapters], [0, 1, 0.5])
        self.assertEqual({(method, path) for method, path, _ in fake.seen},
                         {("GET", "/lora-adapters"), ("POST", "/lora-adapters"), ("GET", "/props")})
        report = json.loads(self.push(url + "/", "--scale", "0", "--json").stdout)
        self.assertEqual((report["id"], report["scale_before"], report["scale"]), (1, 1, 0))
        self.assertEqual([a["scale"] for a in fake.adapters], [0, 0, 0.5])
        self.assertEqual(self.push(url, "--scale", "-0.75").returncode, DONE)
        self.assertEqual([a["scale"] for a in fake.adapters], [0, -0.75, 0.5])

    def test_slots_are_erased_where_the_server_lets_them(self):
        fake = Erasing(self.adapter)
        ran = self.push(self.serve(fake))
        self.assertEqual((ran.returncode, ran.stderr), (DONE, ""))
        self.assertEqual(fake.slots, [1, 1, 1])
        for words in ("3 slots erased", "--cache-ram 0", "--sleep-idle-seconds"):
            self.assertIn(words, ran.stdout)
        self.assertEqual(json.loads(self.push(self.serve(Erasing(self.adapter)), "--json").stdout)["slots_erased"], 3)

    def test_slots_that_are_kept_are_told(self):
        odd = [b"", b"[", b"[]", b"{}"] + [b'{"total_slots": %s}' % n for n in (b'"3"', b"0", b"-1", b"1.5", b"1e9", b"null")]
        servers = [LlamaServer(self.adapter), Erasing(self.adapter, refused=(0, 1, 2)), Erasing(self.adapter, refused=(2,))]
        for fake in servers + [Erasing(self.adapter, props=answer) for answer in odd]:
            url = self.serve(fake)
            ran = self.push(url)
            self.assertEqual((ran.returncode, ran.stderr), (DONE, ""))
            self.assertEqual(fake.adapters[0]["scale"], 1)
            for words in ("kept", '"cache_prompt": false', "--slot-save-path", "--cache-ram 0", "--sleep-idle-seconds"):
                self.assertIn(words, ran.stdout)
            self.assertEqual(json.loads(self.push(url, "--json").stdout)["slots_erased"], 0)

    def test_paths_that_are_the_same(self):
        for served in (self.adapter, "lima.gguf", "./lima.gguf", f"{self.folder.name}/lima.gguf"):
            with self.subTest(served):
                self.assertEqual(self.push(self.serve(LlamaServer(served))).returncode, DONE)
        for served in ("ima.gguf", "/lima.gguf", "other/lima.gguf", "", "lima.gguf/"):
            with self.subTest(served):
                self.assert_refused(self.push(self.serve(LlamaServer(served))), SERVER, "--lora")

    def test_adapters_that_are_not_loaded(self):
        fake = LlamaServer(self.other)
        self.assert_refused(self.push(self.serve(fake)), SERVER, "has not loaded", "when it starts", "--lora")
        self.assertEqual([method for method, _, _ in fake.seen], ["GET"])
        self.assert_refused(self.push(self.serve(LlamaServer())), SERVER, "has not loaded")
        self.assert_refused(self.push(self.serve(LlamaServer(self.adapter, "lima.gguf"))), SERVER, "twice")

    def test_command_lines(self):
        for url in ("localhost:8080", "ftp://localhost/", "file:///etc/passwd", "", "HTTP"):
            self.assert_refused(self.push(url), USAGE, url)
        self.assert_refused(self.push("http://127.0.0.1:1", "--scale", "strong"), USAGE, "--scale")
        self.assert_refused(self.push("http://127.0.0.1:1", "--scale", "nan"), USAGE, "--scale")
        ran = subprocess.run([self.mobiedit, "push", "http://127.0.0.1:1"], capture_output=True, text=True)
        self.assert_refused(ran, USAGE, "--adapter")

    def test_servers_that_are_none(self):
        good = json.dumps([{"id": 0, "path": "lima.gguf", "scale": 1}]).encode()
        for code, body, word in ((404, b"", "404"), (503, b'{"error": "loading"}', "503"), (401, b"", "LLAMA_API_KEY"),
                                 (200, b"", "list"), (200, b"<html>", "list"), (200, b"{}", "list"),
                                 (200, b'[{"id": 0}]', "list"), (200, b"[3]", "list"),
                                 (200, good.replace(b"0", b"-1", 1), "list"), (200, good.replace(b"1", b"1e999"), "list"),
                                 (200, b" " * (2 << 20), "more than"), (200, b"[" * 100000, "list")):
            with self.subTest(code=code, body=body[:40]):
                self.assert_refused(self.push(self.serve(Odd(code, body))), SERVER, word)

    def test_redirects_are_not_followed(self):
        target = LlamaServer(self.adapter)
        where = self.serve(target) + "/lora-adapters"
        for code in (301, 302, 307, 308):
            url = self.serve(Odd(code, b"", [("Location", where)]))
            self.assert_refused(self.push(url), SERVER, "redirects")
        self.assertEqual(target.seen, [])

    def test_scales_that_are_not_set(self):
        self.assert_refused(self.push(self.serve(Deaf("first.gguf", self.adapter))), SERVER, "did not set")
        self.assert_refused(self.push(self.serve(Refusing("first.gguf", self.adapter))), SERVER, "500")

    def test_key(self):
        fake = LlamaServer(self.adapter)
        self.assertEqual(self.push(self.serve(fake), env={"LLAMA_API_KEY": "secret"}).returncode, DONE)
        self.assertEqual({headers["Authorization"] for _, _, headers in fake.seen}, {"Bearer secret"})
        fake = LlamaServer(self.adapter)
        self.assertEqual(self.push(self.serve(fake), env={"LLAMA_API_KEY": ""}).returncode, DONE)
        self.assertEqual({headers["Authorization"] for _, _, headers in fake.seen}, {None})

    def test_servers_that_do_not_answer(self):
        with socket.socket() as closed:
            closed.bind(("127.0.0.1", 0))  # and does not listen
            self.assert_refused(self.push(f"http://127.0.0.1:{closed.getsockname()[1]}"), SERVER, "cannot reach")
        with socket.socket() as silent:
            silent.bind(("127.0.0.1", 0))
            silent.listen()  # and never answers
            self.assert_refused(self.push(f"http://127.0.0.1:{silent.getsockname()[1]}"), SERVER, "cannot reach")


if __name__ == "__main__":
    Push.mobiedit = sys.argv[1]
    unittest.main(argv=[sys.argv[0], "-v", *sys.argv[2:]])
