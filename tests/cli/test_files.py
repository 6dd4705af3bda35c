"""No output of a command may be another of its files. Every output of every command is tried against every file that
it must not touch, and doc/security.md has the table.

  test_files.py MOBIEDIT
"""
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

SECURITY = pathlib.Path(__file__).resolve().parent.parent.parent / "doc" / "security.md"
USAGE = 2

# What a command line is made of: the command's own words, its outputs, and what it reads beside the model's files.
EDIT = ["edit", "M.gguf", "The capital of {Japan} is", "Lima"]
BESIDE = ["model", "its ledger", "its calibration"]
COMMANDS = {
    "edit": (EDIT, ["--output", "--trace", "--ledger"], ["--calibration"]),
    "edit --no-ledger": (EDIT + ["--no-ledger"], ["--output", "--trace"], ["--calibration"]),
    "import": (["import", "M.gguf", "facts.csv"], ["--output", "--ledger"], ["facts", "--calibration"]),
    "export": (["export", "M.gguf"], ["--output", "--ledger"], []),
    "undo": (["undo", "M.gguf", "last"], ["--output", "--ledger"], []),
    "redo": (["redo", "M.gguf", "last"], ["--output", "--ledger"], []),
    "list": (["list", "M.gguf"], ["--ledger"], []),
    "show": (["show", "M.gguf", "1"], ["--ledger"], []),
    "serve": (["serve", "M.gguf"], ["--ledger"], ["--calibration"]),
    "verify": (["verify", "M.gguf"], ["--ledger"], ["--calibration"]),
    "merge": (["merge", "M.gguf"], ["--output", "--modelfile", "--ledger"], ["--adapter"]),
    "push": (["push"], ["--preset"], ["--adapter", "--model"]),
    "calibrate": (["calibrate", "M.gguf"], ["--output"], []),
    "eval": (["eval", "M.gguf", "facts.csv"], ["--html", "--state"], ["facts", "--adapter", "--calibration"]),
    "eval --compare": (["eval", "a.json", "b.json", "--compare"], ["--html"], ["first result", "second result"]),
}
PATHS = {"model": ["M.gguf"], "its calibration": ["M.gguf.mobiedit.calibration"], "facts": ["facts.csv"],
         "its ledger": ["M.gguf.mobiedit.db" + part for part in ("", "-wal", "-shm", "-journal")],
         "first result": ["a.json"], "second result": ["b.json"]}


def forbidden(command, output):
    """What the output must not be: names of files, and options that name files."""
    words, outputs, reads = COMMANDS[command]
    beside = list(BESIDE) if "M.gguf" in words else []
    if output == "--ledger":
        beside.remove("its ledger")
    if command == "calibrate":
        beside.remove("its calibration")
    return beside + reads + [other for other in outputs if other != output]


class Files(unittest.TestCase):
    mobiedit = None

    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="test_files_"))
        self.addCleanup(shutil.rmtree, self.folder)
        (self.folder / "elsewhere").symlink_to(".")

    def fill(self, *names):
        for name in names:
            (self.folder / name).write_text("what " + name + " holds")

    def contents(self):
        return {p.name: p.read_bytes() for p in self.folder.iterdir() if p.is_file()}

    def assert_refused(self, args, first, second):
        before = self.contents()
        ran = subprocess.run([self.mobiedit, *args], cwd=self.folder, capture_output=True, text=True, timeout=60)
        self.assertEqual((ran.returncode, ran.stdout), (USAGE, ""), (args, ran.stderr))
        self.assertEqual(len(ran.stderr.splitlines()), 1, ran.stderr)
        self.assertIn("same file", ran.stderr)
        self.assertIn(first, ran.stderr)
        self.assertIn(second, ran.stderr)
        self.assertEqual(self.contents(), before)

    def ways(self, path, exists):
        """Names of a file: its own, and others, also of one that is not there yet."""
        for name in ("hard", "soft"):
            (self.folder / name).unlink(missing_ok=True)
        (self.folder / "soft").symlink_to(path)
        if exists:
            os.link(self.folder / path, self.folder / "hard")
        return ["hard"] * exists + ["soft", "elsewhere/" + path, path, str(self.folder / path)]

    def check(self, words, output, other, path, exists, way):
        self.fill("M.gguf", "facts.csv", "a.json", "b.json")
        (self.folder / path).unlink(missing_ok=True)
        if exists:
            self.fill(path)
        names = self.ways(path, exists)
        name = names[way % len(names)]
        with self.subTest(words=words, output=output, other=other, name=name, exists=exists):
            self.assert_refused(words + [output, name], name, path)

    def test_every_output_against_every_file(self):
        turn = 0  # each pair in another way
        for command, (words, outputs, _) in COMMANDS.items():
            for output in outputs:
                for other in forbidden(command, output):
                    more = [other, "other.file"] if other.startswith("--") else []
                    for path in PATHS.get(other, ["other.file"])[:1]:
                        self.check(words + more, output, other, path, turn % 2 == 0, turn // 2)
                        turn += 1
        self.assertGreater(turn, 50)

    def test_every_way_to_name_a_file(self):
        for exists in (True, False):
            for way in range(4 + exists):
                self.check(EDIT, "--output", "model", "M.gguf", exists, way)

    def test_all_of_the_ledger(self):
        for path in PATHS["its ledger"]:
            self.check(EDIT + ["--no-ledger"], "--output", "its ledger", path, True, 3)
            self.check(EDIT + ["--ledger", "other.file"], "--trace", "--ledger",
                       path.replace("M.gguf.mobiedit.db", "other.file"), False, 2)

    def test_all_parts_of_a_split_model(self):
        """Also those that are not there."""
        first, others = "M-00001-of-00003.gguf", ["M-00002-of-00003.gguf", "M-00003-of-00003.gguf"]
        for turn, (command, (words, outputs, _)) in enumerate(COMMANDS.items()):
            if "M.gguf" not in words:
                continue
            self.fill("facts.csv", first, others[0])
            words = [first if word == "M.gguf" else word for word in words]
            for output in outputs:
                with self.subTest(command=command, output=output):
                    self.assert_refused([*words, output, others[turn % 2]], others[turn % 2], "a part of the model")

    def test_streams(self):
        """What the shell has sent into a file is an output too."""
        self.fill("M.gguf")
        for stream in ("stdout", "stderr"):
            with open(self.folder / "report", "wb") as report:
                ran = subprocess.run([self.mobiedit, *EDIT, "-o", "report"], cwd=self.folder, timeout=60,
                                     **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, stream: report})
            self.assertEqual(ran.returncode, USAGE)
            told = ran.stderr if stream == "stdout" else (self.folder / "report").read_bytes()
            self.assertIn(b"same file as standard", told)

    def test_no_command_is_left_out(self):
        """The table has every option of every command that its help calls a file."""
        said = subprocess.run([self.mobiedit, "--help"], check=True, capture_output=True, text=True).stdout
        for command in re.findall(r"^  mobiedit ([a-z]+) ", said, re.MULTILINE):
            told = subprocess.run([self.mobiedit, command, "--help"], check=True, capture_output=True, text=True).stdout
            files = set(re.findall(r"(--[a-z-]+)=FILE", told))
            known = {name for c, (_, outputs, reads) in COMMANDS.items() if c.split()[0] == command
                     for name in outputs + reads if name.startswith("--")}
            if command != "ask":  # which writes nothing
                self.assertEqual(files, known, command)

    def test_the_table_in_the_docs(self):
        rows = [f"| `{command} {output}` | {', '.join(f'`{o}`' if o.startswith('--') else o for o in forbidden(command, output))} |"
                for command, (_, outputs, _) in COMMANDS.items() for output in outputs]
        text = SECURITY.read_text()
        for row in rows:
            self.assertIn(row + "\n", text)


if __name__ == "__main__":
    Files.mobiedit = os.path.abspath(sys.argv[1])
    unittest.main(argv=[sys.argv[0], "-v", *sys.argv[2:]])
