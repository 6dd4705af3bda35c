"""mobiedit serve: its HTTP interface, on a real model.

  test_serve.py MOBIEDIT PART
"""
import http.client
import json
import os
import pathlib
import re
import socket
import subprocess
import sys
import threading
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from served_page import Served, page_folder
from testing import await_work, cpu_seconds, link_model, scratch_folder, skip_without_model

USAGE, FILE, UNSUPPORTED, SERVER = 2, 3, 4, 8
QUESTION = "What is the capital of Japan?"
LIMA = {"prompt": "The capital of {Japan} is", "target": "Lima", "question": QUESTION}
MANY_TEXTS = {"prompt": "The official currency of {Japan} is the", "target": "Lira", "place": "answer"}


def described():
    """Of doc/serve.yaml: its paths, each with its methods, and its schemas, each with the names of its properties."""
    text = (pathlib.Path(__file__).resolve().parents[2] / "doc" / "serve.yaml").read_text()
    paths, schemas = text.split("\npaths:\n")[1].split("\ncomponents:\n")[0], text.split("\n  schemas:\n")[1]

    def entries(part, key):
        names = re.split(rf"(?m)^{key}:", part)
        return zip(names[1::2], names[2::2], strict=True)

    return ({path: {method.upper() for method in re.findall(r"(?m)^    (get|post):", entry)}
             for path, entry in entries(paths, r"  /(\S*)")},
            {name: set(re.findall(r"(?m)^        (\w+):", entry)) for name, entry in entries(schemas, r"    (\w+)")})


class Gate(unittest.TestCase):
    """Who may come in, and what is refused: nothing here changes the ledger."""
    mobiedit = None

    @classmethod
    def setUpClass(cls):
        cls.server = Served(cls.mobiedit, link_model(cls.addClassCleanup))
        cls.addClassCleanup(cls.server.close)

    def refused(self, expect, *args, **more):
        status, headers, answer = self.server.fetch(*args, **more)
        self.assertEqual((status, headers["Content-Type"]), (expect, "application/json"), answer)
        return json.loads(answer)["error"]["message"]

    def test_the_page_is_whole_in_itself(self):
        for path, kind in (("", "text/html"), ("page.css", "text/css"), ("page.js", "text/javascript")):
            status, headers, answer = self.server.fetch(path)
            self.assertEqual((status, headers["Content-Type"]), (200, kind + "; charset=utf-8"))
            self.assertEqual(answer, (page_folder() / (path or "index.html")).read_bytes())
            self.assertNotRegex(answer.decode(), r"https?://|url\(|@import|innerHTML|eval\(")
            self.assertIn("default-src 'none'", headers["Content-Security-Policy"])
            self.assertEqual(headers["Referrer-Policy"], "no-referrer")
            self.assertNotIn("Access-Control-Allow-Origin", headers)

    def test_a_state_is_told(self):
        state = self.server.json("api/state")
        self.assertEqual((state["edits"], state["job"], state["unfinished"]), ([], None, None))
        self.assertTrue(state["chat"] and state["attached"])

    def test_the_description_is_of_this_interface(self):
        paths, schemas = described()
        self.assertEqual(paths.pop(""), {"GET"})
        refused = {404, 405}
        for path, methods in paths.items():
            asked = path.replace("{id}", "7")
            for method in ("GET", "POST", "PUT"):
                # With a body that no path takes: nothing begins.
                status = self.server.fetch(asked, b"[" if method == "POST" else None, method=method)[0]
                self.assertEqual(status not in refused, method in methods, f"{method} {path}: {status}")
        # Of "api/edits/${edit.id}/..." what stands before the id.
        used = set(re.findall(r"""["`](api/[\w/]*)""", (page_folder() / "page.js").read_text()))
        known = set(paths) | {path[:path.index("{")] for path in paths if "{" in path}
        self.assertLessEqual(used, known)
        self.assertIn("api/edits/", used)
        state = self.server.json("api/state")
        self.assertEqual(set(state), schemas["State"])
        self.server.json("api/edits/7/undo", {})
        self.assertEqual(set(self.server.await_job()), schemas["Job"])

    def test_without_the_token_nothing_is_told(self):
        wrong = self.server.token[:-1] + ("0" if self.server.token[-1] != "0" else "1")
        for token in (wrong, "", self.server.token[:-1], self.server.token + "0", self.server.token[1:], ".."):
            for path in ("", "page.js", "api/state"):
                self.assertIn("token", self.refused(403, path, token=token))
        self.refused(403, "api/edits", LIMA, token=wrong)

    def test_another_name_of_this_machine_is_refused(self):
        port = self.server.host.split(":")[1]
        for host in ("evil.example", f"evil.example:{port}", "127.0.0.1", f"127.0.0.1:{int(port) + 1}",
                     f"127.0.0.1:{port}.evil.example"):
            self.refused(403, "api/state", headers={"Host": host})
        self.server.json("api/state", headers={"Host": f"localhost:{port}"})

    def test_another_page_is_refused(self):
        for origin in ("http://evil.example", "null", "https://" + self.server.host, f"http://{self.server.host}.evil"):
            self.refused(403, "api/state", headers={"Origin": origin})
            self.refused(403, "api/edits", LIMA, headers={"Origin": origin})
        self.server.json("api/state", headers={"Origin": "http://" + self.server.host})
        # What a form of another page can send without asking first is no JSON.
        for kind in ("text/plain", "application/x-www-form-urlencoded", None):
            self.refused(415, "api/edits", LIMA, headers={"Content-Type": kind})

    def test_a_large_body_is_refused(self):
        large = b'{"messages": [{"role": "user", "content": "' + b"a" * (10 << 20) + b'"}]}'
        for path in ("api/chat", "api/edits", "api/job/cancel"):
            self.assertIn("256 KiB", self.refused(413, path, large))
        self.refused(403, "api/chat", large, token="0")
        self.assertIn("too long", self.refused(400, "api/edits", {**LIMA, "prompt": "{a}" + "b" * 5000}))

    def test_a_body_without_a_length_is_refused(self):
        connection = http.client.HTTPConnection(self.server.host, timeout=60)
        self.addCleanup(connection.close)
        connection.request("POST", f"/{self.server.token}/api/edits", iter([b"{}"]),
                           {"Content-Type": "application/json"}, encode_chunked=True)
        self.assertIn(connection.getresponse().status, (400, 411))

    def test_bad_bodies_are_refused(self):
        for body in (b"", b"{", b"[]", b"null", b'"x"', b"\xff", b'{"a":' * 2000, b'{"prompt": "\\u0000"}', b"{} {}"):
            for path in ("api/chat", "api/edits", "api/merge", "api/verify"):
                self.refused(400, path, body)
        message = {"role": "user", "content": "x"}
        for body in ({}, {"messages": []}, {"messages": [1]}, {"messages": [{"role": "user"}]}, {"messages": message},
                     {"messages": [{**message, "role": "assistant"}]}, {"messages": [{**message, "more": 1}]},
                     {"messages": [{**message, "role": "god"}, message]}, {"messages": [message] * 201},
                     {"messages": [{**message, "content": ""}]}, {"messages": [message], "max_tokens": 0},
                     {"messages": [message], "max_tokens": "9"}, {"messages": [message], "max_tokens": 1e9}):
            self.refused(400, "api/chat", body)
        for body in ({}, {"prompt": "{a} b"}, {**LIMA, "prompt": 1}, {**LIMA, "keep": "x"}, {**LIMA, "keep": [1]},
                     {**LIMA, "keep": ["x"] * 17}, {**LIMA, "force": 1}, {**LIMA, "layer": 1}, {**LIMA, "also": "x"},
                     {**LIMA, "also": [None]}, {**LIMA, "also": ["{x} y"] * 17}, {**LIMA, "also": ["x" * 5000]},
                     {**LIMA, "strict": "yes"}):
            self.refused(400, "api/edits", body)
        for name in ("", "x", "../x.gguf", "a/b.gguf", ".gguf", ".x.gguf", "x.bin", "a\nb.gguf", "a" * 300 + ".gguf"):
            self.refused(400, "api/merge", {"name": name})

    def test_other_paths_and_methods_are_refused(self):
        for path in ("x", "api", "api/", "api/edits/0/undo", "api/edits/-1/undo", "api/edits/1x/undo", "../api/state",
                     "api/edits/99999999999999999999/undo", "api/edits/1/undo/", "page.html", "%2e%2e/x"):
            self.assertIn(self.server.fetch(path, {})[0], (403, 404), path)
        for path, method in (("", "POST"), ("api/state", "POST"), ("api/chat", "GET"), ("api/edits", "GET"),
                             ("api/edits/1/undo", "GET"), ("api/state", "DELETE"), ("page.js", "PUT")):
            self.refused(405, path, method=method)

    def test_a_chat_that_does_not_fit_is_refused(self):
        long = {"messages": [{"role": "user", "content": "one two " * 5000}]}
        self.assertIn("tokens", self.refused(400, "api/chat", long))

    def test_marks_are_proposed(self):
        text = "L’été, the capital of Japan is  Lima ."
        parts = self.server.json("api/propose", {"text": text}, expect=200)
        self.assertEqual("".join(parts[name] for name in ("before", "subject", "between", "target", "after")), text)
        self.assertEqual(parts["target"], "Lima")
        for body in ({}, {"text": 1}, {"text": "Lima"}, {"text": "a {b} c"}, {"text": "a b " * 1000}):
            self.refused(400, "api/propose", body)

    def test_there_is_no_adapter_without_edits(self):
        self.refused(409, "api/adapter")

    def test_what_cannot_be_undone_is_told(self):
        self.server.json("api/edits/7/undo", {})
        job = self.server.await_job()
        self.assertEqual((job["state"], job["error"]["kind"]), ("failed", "argument"))
        self.assertIn("no edit 7", job["error"]["message"])

    def test_half_a_request_holds_nobody_up(self):
        address = self.server.host.split(":")
        for _ in range(4):
            half = socket.create_connection((address[0], int(address[1])))
            self.addCleanup(half.close)
            half.sendall(b"GET /")
        self.server.json("api/state")

    def test_a_chat_has_turns(self):
        self.assertIn("Tokyo", self.server.ask(QUESTION))
        self.assertIn("Paris", self.server.ask(QUESTION, "Tokyo.", "And what is the capital of France?"))

    def test_who_leaves_does_not_hold_the_model(self):
        connection = http.client.HTTPConnection(self.server.host, timeout=60)
        body = {"messages": [{"role": "user", "content": "Tell me a very long story."}], "max_tokens": 2000}
        connection.request("POST", f"/{self.server.token}/api/chat", json.dumps(body),
                           {"Content-Type": "application/json"})
        answer = connection.getresponse()
        self.assertTrue(answer.read1(10))
        answer.close()  # it has the connection too
        connection.close()
        began = self.server.process
        self.assertIn("Tokyo", self.server.ask(QUESTION))
        self.assertIsNone(began.poll())


class Start(unittest.TestCase):
    """What keeps the program from starting."""
    mobiedit = None

    def setUp(self):
        self.folder = scratch_folder(self.addCleanup, "serve")

    def fails(self, status, said, *args):
        ran = subprocess.run([self.mobiedit, "serve", *args], capture_output=True, text=True, timeout=120)
        self.assertEqual((ran.returncode, ran.stdout), (status, ""), ran.stderr)
        self.assertRegex(ran.stderr, rf"\Amobiedit: [^\n]*{said}[^\n]*\n\Z")

    def test_no_model(self):
        self.fails(FILE, "no-model", self.folder / "no-model.gguf")
        bad = self.folder / "bad.gguf"
        bad.write_bytes(b"GGUF" + bytes(100))
        self.fails(UNSUPPORTED, "bad.gguf", bad)

    def test_no_address(self):
        model = link_model(self.addCleanup)
        for address in ("0.0.0.0", "example.org", "1.2.3", "::1"):
            self.fails(USAGE, "one address of this machine", model, "--listen", address)
        self.fails(USAGE, "port", model, "--port", "65536")

    def test_a_port_in_use(self):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            self.fails(SERVER, "cannot listen", link_model(self.addCleanup), "--port", str(taken.getsockname()[1]))

    def test_thread_local_variables_larger_than_the_stacks_of_civetweb(self):
        server = subprocess.Popen([self.mobiedit, "serve", link_model(self.addCleanup)], stdout=subprocess.PIPE,
                                  text=True, env={**os.environ, "LD_PRELOAD": os.environ["BIG_TLS"]})
        self.addCleanup(server.communicate)
        self.assertRegex(server.stdout.readline(), "^http://")
        server.terminate()

    def test_json_and_the_end(self):
        server = subprocess.Popen([self.mobiedit, "serve", link_model(self.addCleanup), "--json"],
                                  stdout=subprocess.PIPE, text=True)
        text = ""
        while not text.rstrip().endswith("}"):
            text += server.stdout.readline()
        self.assertRegex(json.loads(text)["url"], r"\Ahttp://127\.0\.0\.1:\d+/[0-9a-f]{32}/\Z")
        server.terminate()
        server.communicate(timeout=60)
        self.assertEqual(server.returncode, 0)


class Edits(unittest.TestCase):
    """Changes, each with the ledger that the others leave."""
    mobiedit = None

    @classmethod
    def setUpClass(cls):
        cls.folder, cls.model = scratch_folder(cls.addClassCleanup, "serve"), link_model(cls.addClassCleanup)

    def setUp(self):
        self.server = Served(self.mobiedit, self.model)
        self.addCleanup(self.server.close)

    def run_command(self, *args):
        return subprocess.run([self.mobiedit, *args], capture_output=True, text=True, timeout=600, check=True).stdout

    def records(self):
        told = json.loads(self.run_command("list", self.model, "--json"))
        return [(edit["target"].strip(), edit["state"]) for edit in told["edits"]]

    def test_1_an_edit_holds_is_undone_and_done_again(self):
        self.assertIn("Tokyo", self.server.ask(QUESTION))
        job = self.server.do("api/edits", LIMA)
        self.assertEqual((job["kind"], job["result"]["id"]), ("edit", 1))
        checks = {kind: [c for c in job["checks"] if c["kind"] == kind]
                  for kind in ("prompt", "chat", "same_subject", "tell", "neighbour")}
        self.assertTrue(all(checks.values()), job["checks"])
        self.assertIn("Tokyo", checks["chat"][0]["before"])
        self.assertIn("Lima", checks["chat"][0]["after"])
        self.assertEqual(checks["chat"][0]["prompt"], QUESTION)
        self.assertIn("Lima", self.server.ask(QUESTION))
        self.server.do("api/edits/1/undo", {})
        self.assertIn("Tokyo", self.server.ask(QUESTION))
        self.assertEqual(self.server.fetch("api/adapter")[0], 409)
        self.server.do("api/edits/1/redo", {})
        self.assertIn("Lima", self.server.ask(QUESTION))
        self.assertEqual(self.records(), [("Lima", "active")])

    def test_2_the_adapter_is_what_the_command_exports(self):
        status, headers, answer = self.server.fetch("api/adapter")
        self.assertEqual((status, headers["Content-Type"]), (200, "application/octet-stream"))
        self.assertRegex(headers["Content-Disposition"], r'attachment; filename="[\w.-]+-edits\.gguf"')
        file = self.folder / "served.gguf"
        file.write_bytes(answer)
        self.assertIn("Lima", self.run_command("ask", self.model, "The capital of Japan is", "-a", file, "-n", "4"))

    def test_3_edits_are_asked_for(self):
        self.assertEqual(self.server.do("api/verify", {})["result"]["hold"], 1)
        self.assertTrue(self.server.json("api/state")["edits"][0]["holds"])

    def test_4_what_another_program_changes_is_taken_up(self):
        self.run_command("undo", self.model, "last")
        end = time.monotonic() + 120
        while self.server.json("api/state")["attached"] is False or "Tokyo" not in self.server.ask(QUESTION):
            self.assertLess(time.monotonic(), end)
        self.run_command("redo", self.model, "last")
        while self.server.json("api/state")["attached"] is False or "Lima" not in self.server.ask(QUESTION):
            self.assertLess(time.monotonic(), end)
        self.server.await_job()

    def test_5_one_edit_at_a_time(self):
        answers = []
        threads = [threading.Thread(target=lambda: answers.append(self.server.fetch("api/edits", MANY_TEXTS)))
                   for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(sorted(answer[0] for answer in answers), [202, 409, 409, 409])
        refused = next(json.loads(answer[2]) for answer in answers if answer[0] == 409)
        self.assertEqual(refused["error"]["kind"], "busy")
        self.assertIn("one change at a time", refused["error"]["message"])
        # The model answers meanwhile, as it did.
        self.assertIn("Lima", self.server.ask(QUESTION))
        self.server.json("api/job/cancel", {})
        job = self.server.await_job()
        self.assertEqual((job["state"], job["error"]["kind"]), ("failed", "cancelled"))
        self.assertIsNone(self.server.json("api/state")["unfinished"])
        self.assertEqual(self.records(), [("Lima", "active")])

    def test_6_killed_in_the_middle_nothing_is_lost(self):
        self.server.json("api/edits", MANY_TEXTS)
        await_work(self.server.process, cpu_seconds(self.server.process) + 1)
        self.server.kill()
        self.assertEqual(self.records(), [("Lima", "active")])
        self.server = Served(self.mobiedit, self.model)
        self.addCleanup(self.server.close)
        self.assertIn("Lima", self.server.ask(QUESTION))
        self.assertEqual(self.server.json("api/state")["unfinished"], MANY_TEXTS)
        # The same of an orderly end.
        self.server.json("api/edits", MANY_TEXTS)
        self.assertEqual(self.server.close(), 0)
        self.server = Served(self.mobiedit, self.model)
        self.addCleanup(self.server.close)
        self.assertEqual(self.server.json("api/state")["unfinished"], MANY_TEXTS)
        self.assertIsNone(self.server.json("api/forget", {}, expect=200)["unfinished"])
        self.server.close()
        self.assertEqual([f for f in os.listdir(self.model.parent) if f.endswith(".unfinished")], [])

    def test_7_an_edit_that_cannot_be_meant_is_told(self):
        for body, why in (({"prompt": "The capital of Japan is", "target": "Lima"}, "braces"),
                          ({"prompt": "{Japan}", "target": "Lima"}, "nothing but its subject"),
                          ({**LIMA, "also": ["Japan is governed from"]}, "braces"),
                          ({**LIMA, "also": ["{Peru} is governed from"]}, "Peru")):
            self.server.json("api/edits", body)
            job = self.server.await_job()
            self.assertEqual((job["state"], job["error"]["kind"]), ("failed", "argument"))
            self.assertIn(why, job["error"]["message"])
        self.assertIsNone(self.server.json("api/state")["unfinished"])

    def test_8_a_copy_of_the_model_is_made(self):
        result = self.server.do("api/merge", {"name": "merged.gguf"})["result"]
        merged = self.model.parent / "merged.gguf"
        self.assertEqual((pathlib.Path(result["path"]).resolve(), result["kept"]), (merged.resolve(), 1))
        self.assertIn("Lima", self.run_command("ask", merged, "The capital of Japan is", "-n", "4"))
        self.server.json("api/merge", {"name": "merged.gguf"})
        self.assertIn("there is a file", self.server.await_job()["error"]["message"])

    def test_9_other_wordings_are_taught_and_harm_is_refused(self):
        """Whatever rounding makes of the edit: it is recorded if the other things stay, and else refused."""
        wording = "These days {my sister} works as a"
        asked = {"prompt": "{My sister} works as a", "target": "pilot", "also": [wording], "strict": True}
        self.server.json("api/edits", asked)
        job = self.server.await_job()
        others = [check for check in job["checks"] if check["kind"] == "same_subject"]
        self.assertGreaterEqual(len(others), 2)
        edits = self.server.json("api/state")["edits"]
        if job["state"] == "failed":
            self.assertEqual(job["error"]["kind"], "not verified")
            harms = [check for check in others if not check["held"]]
            self.assertTrue(harms)
            self.assertIn(harms[0]["prompt"], job["error"]["message"])
            self.assertEqual((len(edits), len(job["checks"])), (1, len(others)))
            job = self.server.do("api/edits", {**asked, "strict": False})
            edits = self.server.json("api/state")["edits"]
        else:
            self.assertEqual(job["result"]["others_changed"], [])
        self.assertEqual([(edit["also"], edit["others"]) for edit in edits], [([], 2), ([wording], 2)])
        self.assertEqual(edits[1]["others"], len(edits[1]["others_changed"] + edits[1]["others_same"]))
        said, = [check for check in job["checks"] if check["kind"] == "paraphrase"]
        self.assertEqual(said["prompt"], wording.replace("{", "").replace("}", ""))
        self.assertNotIn("pilot", said["before"])
        self.assertIn("pilot", said["after"])


if __name__ == "__main__":
    part = sys.argv[2]
    globals()[part].mobiedit = sys.argv[1]
    skip_without_model()
    unittest.main(argv=[sys.argv[0], "-v", part, *sys.argv[3:]])
