"""Edits come and go in a model that llama-cpp-python has loaded: it says then what `Model.ask` says.

  test_llama_cpp.py PACKAGE LIB_DIR    LIB_DIR: where the libllama is that llama-cpp-python shall use

Exit status 77 where the real model is not there, or llama-cpp-python cannot be set up.
"""
import os
import pathlib
import subprocess
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from testing import SKIPPED, link_model, skip_without_model

ROOT = pathlib.Path(__file__).resolve().parents[2]
# No more tokens than the edit answers for: a prompt whose state is kept goes on in a batch of another size, which rounds
# otherwise.
PLAIN, TOKENS = "The capital of Japan is", 2


class Attach(unittest.TestCase):
    def setUp(self):
        self.path = link_model(self.addCleanup)
        self.model = mobiedit.Model(self.path)
        self.addCleanup(self.model.close)
        self.llama = llama_cpp.Llama(str(self.path), verbose=False)
        self.addCleanup(self.llama.close)

    def said(self):
        return self.llama(PLAIN, max_tokens=TOKENS, temperature=0)["choices"][0]["text"]

    def test_edits_come_and_go(self):
        adapter = self.path.parent / "lima.gguf"
        plain = self.model.ask(PLAIN, max_tokens=TOKENS)
        self.model.edit("The capital of {Japan} is", "Lima", output=adapter, max_after_tokens=TOKENS)
        edited = self.model.ask(PLAIN, adapter=adapter, max_tokens=TOKENS)
        self.assertNotEqual(edited, plain)
        self.assertEqual(self.said(), plain)
        for edits, wanted in ((self.model.ledger, edited), (None, plain), (adapter, edited), (str(adapter), edited)):
            attach(self.llama, edits)
            self.assertEqual(self.said(), wanted, edits)
        self.assertRaises(RuntimeError, attach, self.llama, self.path.parent / "none.gguf")
        self.assertEqual(self.said(), edited)
        self.llama.set_cache(llama_cpp.LlamaRAMCache())
        self.assertEqual(self.said(), edited)
        attach(self.llama, None)
        self.assertEqual(self.said(), plain)
        attach(self.llama, adapter)  # it is freed with the model

    def test_it_takes_the_place_of_lora_path(self):
        adapter = self.path.parent / "none.gguf"
        self.model.ledger.export(adapter)
        llama = llama_cpp.Llama(str(self.path), lora_path=str(adapter), verbose=False)
        attach(llama, None)
        attach(llama, adapter)
        llama.close()


if __name__ == "__main__":
    package, os.environ["LLAMA_CPP_LIB_PATH"] = sys.argv.pop(1), sys.argv.pop(1)
    skip_without_model()
    script = subprocess.run([ROOT / "scripts" / "llama_cpp_python.sh"], stdout=subprocess.PIPE, text=True)
    if script.returncode != 0:
        print("skipped: llama-cpp-python cannot be set up")
        sys.exit(SKIPPED)
    sys.path[:0] = [package, script.stdout.strip()]
    import llama_cpp

    import mobiedit
    from mobiedit.llama_cpp import attach
    unittest.main()
