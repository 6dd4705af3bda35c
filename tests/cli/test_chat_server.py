"""A chat's tokens are those that a real llama-server makes of the same messages: of every model in the cache.

  test_chat_server.py CHAT_PROMPT

Exit status 77 without a model, or if no server can be got (tests/support/real_server.py).
"""
import pathlib
import subprocess
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from real_server import RealServer, find_server
from testing import model_file, scratch_folder, skip_without_model

SYSTEM = {"role": "system", "content": "Answer in one word."}
QUESTION = {"role": "user", "content": "What is the capital of Perú?"}
ANSWER = {"role": "assistant", "content": "Lima."}
NEXT = {"role": "user", "content": "  And of <b>Chile</b>? \n"}
TALKS = [[QUESTION], [SYSTEM, QUESTION], [QUESTION, ANSWER, NEXT], [SYSTEM, QUESTION, ANSWER, NEXT],
         [{"role": "system", "content": ""}, QUESTION]]
LARGEST = 800 << 20  # bytes: larger models take long to load


class Chat(unittest.TestCase):
    chat_prompt = server_command = None

    def ours(self, model, talk):
        """The numbers of the tokens, or None if the model has no template."""
        messages = [text for message in talk for text in (message["role"], message["content"])]
        ran = subprocess.run([self.chat_prompt, model, *messages], capture_output=True, text=True, timeout=120)
        if ran.returncode != 0:
            self.assertIn("no chat template", ran.stderr)
            return None
        return [int(number) for number in ran.stdout.split()]

    def theirs(self, server, talk):
        text = server.fetch("/apply-template", {"messages": talk})["prompt"]
        return server.fetch("/tokenize", {"content": text, "add_special": True, "parse_special": True})["tokens"]

    def test_tokens_are_the_servers(self):
        compared = 0
        for model in sorted(model_file().parent.glob("*.gguf")):
            if model.stat().st_size > LARGEST or self.ours(model, TALKS[0]) is None:
                continue
            server = RealServer(self.server_command, scratch_folder(self.addCleanup, "chat_server"), model)
            self.addCleanup(server.close)
            for talk in TALKS:
                with self.subTest(model=model.name, talk=talk):
                    self.assertEqual(self.ours(model, talk), self.theirs(server, talk))
                    compared += 1
        self.assertGreaterEqual(compared, len(TALKS))


if __name__ == "__main__":
    Chat.chat_prompt = sys.argv[1]
    skip_without_model()
    Chat.server_command = find_server()
    unittest.main(argv=[sys.argv[0], "-v", *sys.argv[2:]])
