"""mobiedit push against a small server that answers as llama-server does, or as it should not.

  test_push.py MOBIEDIT
  test_push.py MOBIEDIT Silence    a server that takes half a minute to be given up
"""
import configparser
import fcntl
import http.server
import json
import os
import pathlib
import socket
import stat
import subprocess
import sys
import threading
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from testing import scratch_folder

DONE, USAGE, FILE, SERVER = 0, 2, 3, 8


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


class Router:
    """/models as a router has it: a reload reads the preset, and ends the models whose options have changed."""

    def __init__(self, preset, *running, lora=None, tells=True, ends=True):
        self.preset, self.running, self.lora, self.tells, self.ends = preset, set(running), lora, tells, ends
        self.seen, self.models, self.polls = [], {}, 0
        self.read()

    def read(self):
        parser = configparser.ConfigParser(delimiters="=", inline_comment_prefixes=("#", ";"), interpolation=None)
        if self.preset.exists():
            parser.read_string("[DEFAULT]\n" + self.preset.read_text())
        models = {name: dict(parser.items(name)) for name in parser.sections()}
        self.running = {name for name in self.running if name not in self.models or self.models[name] == models.get(name)}
        self.models = models

    def entry(self, name, options):
        status = {"value": "loaded" if name in self.running else "unloaded", "args": []}
        lora = self.lora or options.get("lora")
        if self.tells:
            status["preset"] = f"[{name}]\n" + (f"lora = {lora}\n" if lora else "") + f"model = {options.get('model')}\n\n"
        return {"id": name, "status": status}

    def get(self, request):
        self.seen.append(request.path)
        if request.path == "/models?reload=1":
            self.read()
        elif request.path != "/models":
            request.answer(404, b"{}")
            return
        self.polls += 1
        request.answer(200, json.dumps({"data": [self.entry(*item) for item in self.models.items()]}).encode())

    def post(self, request, body):
        name = json.loads(body)["model"]
        self.seen.append(f"{request.path} {name}")
        if request.path == "/models/unload" and self.ends:
            self.running.remove(name)
        elif request.path == "/models/load":
            self.running.add(name)
        request.answer(200, b'{"success": true}')


class Pushing(unittest.TestCase):
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

    def push(self, *args, **more):
        environment = {**os.environ, "no_proxy": "*", **more.pop("env", {})}
        return subprocess.run([self.mobiedit, "push", *args, "--adapter", self.adapter], capture_output=True,
                              text=True, timeout=600, env=environment, **more)

    def assert_refused(self, ran, status, *words):
        self.assertEqual((ran.returncode, ran.stdout), (status, ""), ran.stderr)
        self.assertEqual(len(ran.stderr.splitlines()), 1, ran.stderr)
        for word in words:
            self.assertIn(word, ran.stderr)


class Push(Pushing):
    """The scale of an adapter that the server has loaded."""

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
        ran = subprocess.run([self.mobiedit, "push", "--adapter", self.adapter], capture_output=True, text=True)
        self.assert_refused(ran, USAGE, "--preset")
        for option in ("--name", "--model", "-hf"):
            self.assert_refused(self.push("http://127.0.0.1:1", option, "x"), USAGE, "--preset")

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


class Silence(Pushing):
    def test_a_server_that_never_answers(self):
        with socket.socket() as silent:
            silent.bind(("127.0.0.1", 0))
            silent.listen()
            self.assert_refused(self.push(f"http://127.0.0.1:{silent.getsockname()[1]}"), SERVER, "cannot reach")


class Preset(Pushing):
    """push --preset: a model of its own for the edits."""

    def setUp(self):
        super().setUp()
        self.model, self.preset = self.folder / "qwen.gguf", self.folder / "models.ini"
        self.model.write_bytes(b"GGUF")

    def put(self, *args, url=None, preset=None, **more):
        where = ("--preset", preset or self.preset)
        return self.push(*([url] if url else []), *where, *args, **more)

    def sections(self):
        parser = configparser.ConfigParser(delimiters="=", interpolation=None)
        parser.read_string("[DEFAULT]\n" + self.preset.read_text())
        return {name: {key: parser[name][key] for key in parser[name] if key != "version"} for name in parser.sections()}

    def test_a_new_preset(self):
        ran = self.put("--model", self.model)
        self.assertEqual((ran.returncode, ran.stderr), (DONE, ""))
        self.assertIn("[qwen-edited] added", ran.stdout)
        self.assertEqual(self.sections(), {"qwen-edited": {"model": str(self.model), "lora": str(self.adapter)},
                                           "qwen": {"model": str(self.model)}})
        self.assertEqual(sorted(path.name for path in self.folder.iterdir()),
                         ["lima.gguf", "models.ini", "oslo.gguf", "qwen.gguf"])

    def test_names(self):
        self.assertEqual(self.put("-hf", "some/Qwen-GGUF:Q4_K_M").returncode, DONE)
        self.assertEqual(self.put("--model", self.model, "--name", "mine").returncode, DONE)
        self.assertEqual(self.sections(), {"Qwen-edited": {"hf": "some/Qwen-GGUF:Q4_K_M", "lora": str(self.adapter)},
                                           "mine": {"model": str(self.model), "lora": str(self.adapter)},
                                           "qwen": {"model": str(self.model)}})
        part = self.folder / "big-00001-of-00002.gguf"
        part.write_bytes(b"GGUF")
        self.assertEqual(json.loads(self.put("--model", part, "--json").stdout)["name"], "big-edited")

    def test_relative_paths_become_absolute_and_links_stay(self):
        link = self.folder / "current.gguf"
        link.symlink_to(self.adapter)
        ran = subprocess.run([self.mobiedit, "push", "--adapter", "current.gguf", "--model", "qwen.gguf", "--preset",
                              "models.ini"], cwd=self.folder, capture_output=True, text=True, timeout=600)
        self.assertEqual((ran.returncode, ran.stderr), (DONE, ""))
        self.assertEqual(self.sections()["qwen-edited"], {"model": str(self.model), "lora": str(link)})

    def test_the_file_keeps_its_mode_and_its_link(self):
        there = self.folder / "there.ini"
        there.write_text("[a]\nmodel = /a.gguf\napi-key = secret\n")
        there.chmod(0o600)
        self.preset.symlink_to("there.ini")
        self.assertEqual(self.put("--model", self.model).returncode, DONE)
        self.assertTrue(self.preset.is_symlink())
        self.assertEqual(stat.S_IMODE(there.stat().st_mode), 0o600)
        self.assertTrue(there.read_text().startswith("[a]\nmodel = /a.gguf\napi-key = secret\n"))

    def test_nothing_is_written_twice(self):
        self.assertTrue(json.loads(self.put("--model", self.model, "--json").stdout)["written"])
        before = self.preset.stat()
        ran = self.put("--name", "qwen-edited")
        self.assertIn("as it was", ran.stdout)
        after = self.preset.stat()
        self.assertEqual((after.st_ino, after.st_mtime_ns), (before.st_ino, before.st_mtime_ns))

    def begin(self, name):
        command = [self.mobiedit, "push", "--preset", self.preset, "--model", self.model, "--name", name, "--adapter", self.adapter]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        self.addCleanup(process.stderr.close)
        self.addCleanup(process.kill)
        return process

    def test_several_at_once_lose_nothing(self):
        names = [f"edited-{i}" for i in range(12)]
        for process in [self.begin(name) for name in names]:
            self.assertEqual((process.wait(600), process.stderr.read()), (DONE, ""))
        self.assertEqual(set(self.sections()), {"qwen", *names})

    def test_one_waits_for_another(self):
        folder = os.open(self.folder, os.O_RDONLY)
        self.addCleanup(os.close, folder)
        fcntl.flock(folder, fcntl.LOCK_EX)
        process = self.begin("mine")
        self.assertRaises(subprocess.TimeoutExpired, process.wait, 1)
        self.preset.write_text("[theirs]\nmodel = /a.gguf\n")
        fcntl.flock(folder, fcntl.LOCK_UN)
        self.assertEqual((process.wait(600), process.stderr.read()), (DONE, ""))
        self.assertEqual(set(self.sections()), {"theirs", "mine", "qwen"})

    def test_files_that_are_refused(self):
        for text, status, word in (("[a]\nc\n", FILE, "line 2"), ("x" * (2 << 20), FILE, "1 MiB"),
                                   ("[qwen-edited]\nmodel=x\nlora=a,b\n", USAGE, "other adapters")):
            self.preset.write_text(text)
            self.assert_refused(self.put("--model", self.model), status, word)
            self.assertEqual(self.preset.read_text(), text)
        self.assert_refused(self.put("--model", self.model, preset=self.folder), FILE, "not a regular file")

    def test_command_lines_of_presets(self):
        self.assert_refused(self.put(), USAGE, "--model")
        self.assert_refused(self.put("--name", "a"), USAGE, "there is no [a]")
        self.assert_refused(self.put("--model", self.model, "--name", "a:b"), USAGE, "a:b")
        self.assert_refused(self.put("--model", self.model, "-hf", "a/b"), USAGE, "-hf")
        self.assert_refused(self.put("--model", self.model, "--scale", "0.5"), USAGE, "--scale")
        self.assert_refused(self.put("--model", self.folder / "none.gguf"), FILE, "none.gguf")
        self.assert_refused(self.put("--model", self.adapter.with_suffix(".txt")), FILE, "lima.txt")
        self.assert_refused(self.put("--model", self.model, preset=self.adapter), USAGE, "same file")
        self.other.write_bytes(b"text")
        self.assert_refused(self.put("--model", self.other), FILE, "not a GGUF")
        self.assertFalse(self.preset.exists())

    def test_a_router_reads_the_preset_again(self):
        router = Router(self.preset)
        url = self.serve(router)
        ran = self.put("--model", self.model, url=url)
        self.assertEqual((ran.returncode, ran.stderr), (DONE, ""))
        self.assertIn("when it is first asked", ran.stdout)
        self.assertEqual(router.seen, ["/models", "/models?reload=1"])

    def test_a_model_that_runs_is_loaded_again(self):
        self.assertEqual(self.put("--model", self.model).returncode, DONE)
        for changed in (True, False):  # another path, which the router sees; another content, which it does not
            with self.subTest(changed=changed):
                router = Router(self.preset, "qwen-edited", "qwen")
                url = self.serve(router)
                if changed:
                    self.adapter, self.other = self.other, self.adapter
                report = json.loads(self.put("--name", "qwen-edited", "--json", url=url).stdout)
                self.assertEqual((report["written"], report["restarted"]), (changed, True))
                self.assertEqual("/models/unload qwen-edited" in router.seen, not changed)
                self.assertEqual(router.seen[-1], "/models/load qwen-edited")
                self.assertEqual(router.running, {"qwen-edited", "qwen"})
                self.assertEqual(router.models["qwen-edited"]["lora"], str(self.adapter))

    def test_routers_that_serve_something_else(self):
        other = self.folder / "other.ini"
        other.write_text("[b]\nmodel = b\n")
        self.assert_refused(self.put("--model", self.model, url=self.serve(Router(other))), SERVER, "does not list",
                            "--models-preset")
        url = self.serve(Router(self.preset, lora="/theirs.gguf"))
        self.assert_refused(self.put("--model", self.model, url=url), SERVER, "/theirs.gguf", "--lora")
        self.assertEqual(self.put("--model", self.model, url=self.serve(Router(self.preset, tells=False))).returncode, DONE)

    def test_servers_that_are_no_routers(self):
        for body in (b"", b"[]", b'{"data": 3}', b'{"data": [{"id": "qwen"}]}', b'{"data": [{"id": "a", "status": {}}]}',
                     b'{"data": [{"id": 1, "status": {"value": "loaded"}}]}'):
            with self.subTest(body):
                self.assert_refused(self.put("--model", self.model, url=self.serve(Odd(200, body))), SERVER, "router")
        self.assert_refused(self.put("--model", self.model, url="http://127.0.0.1:1"), SERVER, "cannot reach")
        self.assertFalse(self.preset.exists())


if __name__ == "__main__":
    Pushing.mobiedit = sys.argv[1]
    unittest.main(argv=[sys.argv[0], "-v", *(sys.argv[2:] or ["Push", "Preset"])])
