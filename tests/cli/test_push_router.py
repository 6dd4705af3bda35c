"""mobiedit push --preset against llama.cpp's own router: OpenAI's client asks the unedited model and the edited one of one
server by their names, before an edit, after it, and after a second one, while the server runs.

  test_push_router.py MOBIEDIT

Exit status 77 without a model, or if no such server or client can be got or run (tests/support/real_server.py).
"""
import json
import os
import pathlib
import subprocess
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from real_server import RealServer, find_packages, find_router
from testing import edit_alone, link_model, model_file, scratch_folder, skip_without_model

PROMPT, BARE = "The capital of {Japan} is", "The capital of Japan is"


class PushRouter(unittest.TestCase):
    mobiedit = server_command = openai = None

    @classmethod
    def setUpClass(cls):
        cls.folder, cls.model = scratch_folder(cls.addClassCleanup, "push_router"), link_model(cls.addClassCleanup)
        cls.adapters = {target: cls.folder / f"{target}, of {{Japan}}.gguf" for target in ("Lima", "Oslo")}
        edit_alone(cls.mobiedit, cls.model, PROMPT, cls.adapters)

    def setUp(self):
        self.preset, self.adapter = self.folder / "models.ini", self.folder / "facts, mine.gguf"
        self.preset.write_text(f"; kept\n[plain]\nmodel = {self.model}\ncache-ram = 64 ; MiB\n")

    def start(self, *options):
        command, environment = self.server_command
        # No other models are listed, whatever the machine has.
        environment = {**environment, "LLAMA_CACHE": str(self.folder / "cache"), "no_proxy": "*"}
        self.server = RealServer((command, environment), self.folder, None, "--models-preset", self.preset, "--threads",
                                 "2", "--device", "none", *options)
        self.addCleanup(self.server.close)
        # A server ends a connection that was idle for some seconds, maybe just when a client asks through it again: the
        # client's own retries, as by default.
        self.client = self.openai.OpenAI(base_url=self.server.url + "/v1", api_key="none", timeout=300, max_retries=2)
        self.addCleanup(self.client.close)

    def push(self, *args):
        ran = subprocess.run([self.mobiedit, "push", self.server.url, "--preset", self.preset, "--adapter", self.adapter,
                              "--json", *args], capture_output=True, text=True, timeout=600,
                             env={**os.environ, "no_proxy": "*"})
        self.assertEqual((ran.returncode, ran.stderr), (0, ""))
        return json.loads(ran.stdout)

    def says(self, model):
        """As any client asks: the server may answer from its caches."""
        answer = self.client.completions.create(model=model, prompt=BARE, max_tokens=4, temperature=0)
        return answer.choices[0].text.strip(" .,")

    def names(self):
        return sorted(model.id for model in self.client.models.list())

    def save(self, target):
        """As `mobiedit edit -o` does: a whole new file takes the old one's place."""
        new = self.folder / "new"
        new.write_bytes(self.adapters[target].read_bytes())
        new.rename(self.adapter)

    def assert_says(self, model, target):
        for _ in range(2):  # the second time from a cache
            self.assertTrue(self.says(model).startswith(target), f"{model}: {self.says(model)}")

    def test_two_models_of_one_server(self):
        self.start()
        self.assertEqual(self.names(), ["plain"])
        self.assert_says("plain", "Tokyo")

        self.save("Lima")
        report = self.push("--model", self.model, "--name", "edited")
        self.assertEqual((report["new"], report["like"], report["restarted"]), (True, "plain", False))
        self.assertEqual(self.names(), ["edited", "plain"])
        self.assert_says("edited", "Lima")
        self.assert_says("plain", "Tokyo")

        # Another edit under the same path: the preset stays as it is, and the model that runs is made anew.
        self.save("Oslo")
        report = self.push("--name", "edited")
        self.assertEqual((report["written"], report["restarted"]), (False, True))
        self.assert_says("edited", "Oslo")
        self.assert_says("plain", "Tokyo")

        # And under another path.
        self.adapter = self.adapters["Lima"]
        report = self.push("--name", "edited")
        self.assertEqual((report["written"], report["restarted"]), (True, True))
        self.assert_says("edited", "Lima")
        self.assert_says("plain", "Tokyo")
        self.assertTrue(self.preset.read_text().startswith(f"; kept\n[plain]\nmodel = {self.model}\ncache-ram = 64 ; MiB\n"))

    def test_an_adapter_of_the_routers_own(self):
        self.start("--lora", str(self.adapters["Oslo"]).replace(",", "x"))
        self.save("Lima")
        ran = subprocess.run([self.mobiedit, "push", self.server.url, "--preset", self.preset, "--adapter", self.adapter,
                              "--model", self.model], capture_output=True, text=True, timeout=600,
                             env={**os.environ, "no_proxy": "*"})
        self.assertEqual(ran.returncode, 8, ran.stderr)
        self.assertIn("started with --lora", ran.stderr)


def find_openai():
    sys.path.insert(0, find_packages("openai", "OpenAI's client"))
    import openai
    return openai


if __name__ == "__main__":
    PushRouter.mobiedit = sys.argv[1]
    skip_without_model()
    PushRouter.server_command = find_router(model_file())
    PushRouter.openai = find_openai()
    unittest.main(argv=[sys.argv[0], "-v", *sys.argv[2:]])
