"""mobiedit push against a real llama-server: the answer changes while it runs.

  test_push_server.py MOBIEDIT

Exit status 77 without a model, or if no server can be got (tests/support/real_server.py).
"""
import json
import os
import pathlib
import subprocess
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from real_server import RealServer, find_server
from testing import edit_alone, link_model, scratch_folder, skip_without_model

PROMPT, BARE = "The capital of {Japan} is", "The capital of Japan is"


class Push(unittest.TestCase):
    mobiedit = server_command = None

    @classmethod
    def setUpClass(cls):
        cls.folder, cls.model = scratch_folder(cls.addClassCleanup, "push_server"), link_model(cls.addClassCleanup)
        cls.adapters = {target: cls.folder / f"{target}.gguf" for target in ("Lima", "Oslo")}
        edit_alone(cls.mobiedit, cls.model, PROMPT, cls.adapters)

    def start(self, *options):
        """A server that has both adapters loaded, at scale 0."""
        self.server = RealServer(self.server_command, self.folder, self.model, "--lora",
                                 ",".join(map(str, self.adapters.values())), *options)
        self.addCleanup(self.server.close)
        for target in self.adapters:
            self.push(target, "--scale", "0")

    def push(self, target, *args):
        ran = subprocess.run([self.mobiedit, "push", self.server.url, "--adapter", self.adapters[target], *args],
                             capture_output=True, text=True, timeout=600, env={**os.environ, "no_proxy": "*"})
        self.assertEqual((ran.returncode, ran.stderr), (0, ""))
        return ran.stdout

    def says(self, target, **more):
        """Asked as a client asks by default: the server may answer from its caches."""
        answer = self.server.fetch("/completion", {"prompt": BARE, "n_predict": 4, "temperature": 0, **more})
        return answer["content"].startswith(" " + target)

    def test_a_prompt_just_asked_is_answered_anew_where_the_slots_are_erased(self):
        self.start("--slot-save-path", str(self.folder), "--cache-ram", "0")
        self.assertTrue(self.says("Tokyo"))
        self.assertTrue(self.says("Tokyo"))  # from the cache
        report = json.loads(self.push("Lima", "--json"))
        self.assertEqual((report["scale_before"], report["scale"]), (0, 1))
        self.assertGreater(report["slots_erased"], 0)
        self.assertTrue(self.says("Lima"))
        self.push("Lima", "--scale", "0")
        self.assertIn("slots erased", self.push("Oslo"))
        self.assertTrue(self.says("Oslo"))
        self.push("Oslo", "--scale", "0")
        self.assertTrue(self.says("Tokyo"))

    def test_elsewhere_push_says_how_to_ask(self):
        self.start()
        self.assertTrue(self.says("Tokyo"))
        told = self.push("Lima")
        self.assertRegex(told, r"(?m)^cache +kept$")
        for way in ('"cache_prompt": false', "--slot-save-path", "--cache-ram 0"):
            self.assertIn(way, told.replace("\n", " "))
        self.assertTrue(self.says("Lima", cache_prompt=False))


if __name__ == "__main__":
    Push.mobiedit = sys.argv[1]
    skip_without_model()
    Push.server_command = find_server()
    unittest.main(argv=[sys.argv[0], "-v", *sys.argv[2:]])
