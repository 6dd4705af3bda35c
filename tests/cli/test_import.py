"""Which facts of a file `mobiedit import` takes, and what it says of the others.

  test_import.py MOBIEDIT Import     most of it
  test_import.py MOBIEDIT Example    the file that is installed with the program, fact by fact: takes a minute

Exit status 77 where the real model is not there.
"""
import json
import pathlib
import subprocess
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from testing import link_model, scratch_folder, skip_without_model

DONE, NOT_EDITED, USAGE, FILE = range(4)


class Case(unittest.TestCase):
    mobiedit = None

    def setUp(self):
        self.folder = scratch_folder(self.addCleanup, "import")
        self.model = link_model(self.addCleanup)

    def run_import(self, name, content, *more):
        path = self.folder / name
        path.write_text(content)
        return subprocess.run([self.mobiedit, "import", self.model, path, "--ledger", self.folder / "ledger.db", *more],
                              stdin=subprocess.DEVNULL, capture_output=True, timeout=900)


class Example(Case):
    def test_the_example_is_imported_and_holds(self):
        example = pathlib.Path(__file__).resolve().parents[2] / "examples" / "facts.csv"
        ran = self.run_import("facts.csv", example.read_text(), "--json")
        self.assertEqual(ran.returncode, DONE, ran.stderr)
        report = json.loads(ran.stdout)
        n = len(example.read_text().splitlines()) - 1
        self.assertEqual((len(report["facts"]), report["active"], report["hold"]), (n, n, n))
        again = json.loads(self.run_import("facts.csv", example.read_text(), "--json").stdout)
        self.assertEqual([fact["outcome"] for fact in again["facts"]], ["known"] * n)


class Import(Case):
    def test_a_fact_that_cannot_be_edited_stops_no_other(self):
        # The model says Paris by itself, so that no fact here takes an edit.
        rows = ["Prompt; Target", "The capital of France is;Paris", "The capital of {France} is;Lima",
                "The capital of {} is;Lima", f"{'long ' * 1500}{{France}} is;x", "The capital of {France} is;Paris"]
        ran = self.run_import("FACTS.CSV", "\n".join(rows), "--json")
        self.assertEqual(ran.returncode, NOT_EDITED, ran.stderr)
        report = json.loads(ran.stdout)
        self.assertEqual([fact["outcome"] for fact in report["facts"]],
                         ["unusable", "unusable", "replaced", "failed", "already said"])
        bare, empty, replaced, long, _ = (fact["message"] for fact in report["facts"])
        self.assertTrue(bare.startswith("line 2: the prompt has no subject in braces"), bare)
        self.assertTrue(empty.startswith("line 4: there is no subject for the braces"), empty)
        self.assertIn('"Paris"', replaced)
        self.assertRegex(long, r"the prompt has \d+ tokens, but at most")
        self.assertEqual([report[count] for count in ("recorded", "known", "said", "failed", "replaced", "unusable")],
                         [0, 0, 1, 1, 1, 2])

    def test_lines_tell_of_each_fact(self):
        facts = [{"subject": "Gaul", "src": "What is France?", "alt": "x"},
                 {"prompt": "The capital of {} is", "subject": "France", "target": "Li\x1b[2Jma"},
                 {"prompt": "The capital of {} is", "subject": "France", "target_new": {"str": "Paris"}}]
        ran = self.run_import("facts", json.dumps(facts))
        self.assertEqual(ran.returncode, NOT_EDITED, ran.stderr)
        out = ran.stdout.decode()
        self.assertRegex(out, r'unusable +case 0: the subject "Gaul" does not occur in the prompt "What is France\?"')
        self.assertNotIn("\x1b", out)
        self.assertRegex(out, r'1/2  replaced .* -> Li\\x1b\[2Jma \(the file gives it the target "Paris" later\)')
        self.assertRegex(out, r"2/2  already said ")
        self.assertRegex(out, r"(?m)^replaced +1, by later facts of the file$")
        self.assertRegex(out, r"(?m)^unusable +1$")

    def test_what_the_model_says_is_recorded_and_known(self):
        first, second = (json.loads(self.run_import("f.csv", "prompt,target\nThe capital of {France} is,Paris", "--json").stdout)
                         for _ in range(2))
        self.assertEqual([first["facts"][0]["outcome"], second["facts"][0]["outcome"]], ["already said", "known"])
        self.assertEqual((first["active"], first["said_by_itself"], first["hold"]), (1, 1, 1))
        self.assertEqual(first["facts"][0]["id"], second["facts"][0]["id"])

    def test_a_long_prompt_is_cut(self):
        prompt = "long " * 100 + "The capital of {France} is"
        ran = self.run_import("f.csv", f"prompt,target\n{prompt},Paris\n{prompt},Lima\n")
        line = next(line for line in ran.stdout.decode().splitlines() if "replaced" in line)
        self.assertRegex(line, r"long long .*\.\.\. -> Paris \(the file gives")
        self.assertLess(len(line.split("(")[0]), 202)

    def test_a_file_without_facts_is_refused_with_what_is_missing(self):
        for name, content, word in (("facts.csv", "prompt;goal\n{a} is;b\n", "line 1: the header names no column target"),
                                    ("facts.json", '[{"prompt": "{a} is", "target": "b\\u0000c"}]', "zero character"),
                                    ("facts.csv", "prompt,target\na is,b\n", "line 2: ")):
            ran = self.run_import(name, content)
            self.assertEqual(ran.returncode, FILE, ran.stderr)
            self.assertIn(word, ran.stderr.decode())


if __name__ == "__main__":
    skip_without_model()
    Case.mobiedit = sys.argv.pop(1)
    unittest.main()
