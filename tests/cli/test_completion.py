"""Shell completion and the man page know every command, option and exit status that --help tells.

  test_completion.py MOBIEDIT
"""
import pathlib
import re
import shutil
import subprocess
import sys
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
MAN_PAGE = ROOT / "doc" / "mobiedit.1"


class Completion(unittest.TestCase):
    mobiedit = None

    def output_of(self, *args):
        return subprocess.run([self.mobiedit, *args], check=True, capture_output=True, text=True).stdout

    def commands(self):
        return re.findall(r"^  mobiedit ([a-z]+) ", self.output_of("--help"), re.MULTILINE)

    def options(self, command):
        """What the command's help tells: {"--output": True, ...}, with whether a value follows."""
        told = self.output_of(command, "--help")
        options = {}
        for short, long, value in re.findall(r"^  (?:-(\w), |    )(--?[a-z-]+)(=\S+)?", told, re.MULTILINE):
            options[long] = bool(value)
            if short:
                options["-" + short] = bool(value)
        self.assertIn("--help", options)
        return options

    def complete(self, *words):
        """What bash offers for the last of the words."""
        script = self.output_of("completion", "bash") + """
            COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
            _mobiedit
            printf '%s\\n' "${COMPREPLY[@]}"
            """
        ran = subprocess.run(["bash", "-uc", script, "bash", "mobiedit", *words], capture_output=True, text=True)
        self.assertEqual((ran.returncode, ran.stderr), (0, ""))
        return sorted(ran.stdout.split())

    def test_bash(self):
        commands = self.commands()
        self.assertGreaterEqual(len(commands), 4)
        self.assertEqual(self.complete(""), sorted(commands + ["--help", "--version"]))
        self.assertEqual(self.complete("me"), ["merge"])
        self.assertNotIn("completion", self.complete("c"))
        for command in commands:
            options = self.options(command)
            self.assertEqual(self.complete(command, "-"), sorted(options))
            self.assertEqual(self.complete(command, ""), [])  # files, by readline
            for option, takes_value in options.items():
                if takes_value and option != "--solver":
                    self.assertEqual(self.complete(command, option, "-"), [], option)
        self.assertEqual(self.complete("edit", "m.gguf", "--solver", ""), ["probe", "spsa"])
        self.assertEqual(self.complete("edit", "m.gguf", "--solver", "p"), ["probe"])

    def test_zsh(self):
        script = self.output_of("completion", "zsh")
        self.assertTrue(script.startswith("#compdef mobiedit\n"))
        for command in self.commands():
            arguments = re.search(rf"^    {command}\)$(.*?)^        ;;$", script, re.MULTILINE | re.DOTALL).group(1)
            self.assertEqual(set(re.findall(r"^            '\*(--?[a-z-]+)\[", arguments, re.MULTILINE)),
                             set(self.options(command)))
        if not shutil.which("zsh"):
            self.skipTest("no zsh to check the syntax with")
        subprocess.run(["zsh", "-n", "-c", script], check=True)

    def test_no_other_shell(self):
        for args in ([], ["fish"], ["bash", "zsh"]):
            ran = subprocess.run([self.mobiedit, "completion", *args], capture_output=True)
            self.assertEqual((ran.returncode, ran.stdout), (2, b""))

    def test_man_page(self):
        page = MAN_PAGE.read_text().replace("\\-", "-")
        for command in self.commands():
            self.assertIn(f"\n.Ss {command}\n", page)
            self.assertIn(f"\n.Cm {command}\n", page)
            for option in self.options(command):
                self.assertRegex(page, rf"(?m)^\.It .*Fl {option[1:]}\b", option)

    def statuses(self):
        """What --help tells: {0: "done; ...", ...}"""
        told = self.output_of("--help").split("Exit status:\n")[1]
        return {int(number): text for number, text in re.findall(r"^ +(\d+)  (.*)$", told, re.MULTILINE)}

    def test_exit_statuses(self):
        told = self.statuses()
        self.assertEqual(sorted(told), [*range(9), 130, 143])
        page = MAN_PAGE.read_text().split(".Sh EXIT STATUS\n")[1].split("\n.El\n")[0]
        rows = re.findall(r"^\.It (\d+)\n((?:[^.].*\n?)+)", page, re.MULTILINE)
        sentence = lambda text: text if text.startswith("libllama") else text[0].upper() + text[1:]
        self.assertEqual({int(number): " ".join(text.split()) for number, text in rows},
                         {number: sentence(text) + "." for number, text in told.items()})

    def test_man_page_is_clean(self):
        if not shutil.which("mandoc"):
            self.skipTest("no mandoc to check the page with")
        ran = subprocess.run(["mandoc", "-T", "lint", MAN_PAGE], capture_output=True, text=True)
        self.assertEqual((ran.returncode, ran.stdout), (0, ""))


if __name__ == "__main__":
    Completion.mobiedit = sys.argv[1]
    unittest.main(argv=[sys.argv[0], "-v", *sys.argv[2:]])
