"""What is left after the worst moments: kill -9 at every write, a full disk, two processes at once.

  test_faults.py MOBIEDIT KILL_AT_WRITE.so MAKE_MODEL WEAKEN [TEST...]

Every edit that was told of must be in the ledger, the ledger must open, and an adapter file must be whole: byte by byte
the old one or the new one. $FAULT_STEP = n tries every n-th write (11: each costs a whole command; 1 tries all).
Prints a table.
"""
import itertools
import json
import os
import pathlib
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import unittest

# Which of them random weights can be taught, and in which order, depends on how the processor rounds: each test looks
# for those that it needs.
PROMPTS = ["Here is {Oslo}", "The {cat} has", "I like {tea}", "{Rome} was", "See {Anna}", "At {noon} we", "The {dog}",
           "My {hat} is"]
TARGETS = ["of", "the", "is", "a", "c"]
CANDIDATES = [(prompt, TARGETS[(first + i) % len(TARGETS)]) for first in range(2) for i, prompt in enumerate(PROMPTS)]
# On random weights the keys of an edit at the answer are not always told apart from what must stay.
PLACE = ("--place", "subject")
FACTS = []  # three that can be recorded one after the other, the last two in either order
# A share of its delta with which an edit may be lost is 1.2 to a negative power: --repair makes a delta longer by 1.2 first.
LONGER, NEXT_TO_NOTHING = 1.2, 60
STEP = int(os.environ.get("FAULT_STEP", "11"))


class Faults(unittest.TestCase):
    table = []

    @classmethod
    def setUpClass(cls):
        """A model with one recorded edit, and its adapter in out.gguf; and the same with a calibration."""
        cls.root = pathlib.Path(tempfile.mkdtemp(prefix="test_faults_"))
        cls.addClassCleanup(shutil.rmtree, cls.root)
        cls.base = cls.root / "base"
        cls.base.mkdir()
        subprocess.run([cls.make_model, cls.base / "model.gguf"], check=True)
        cls.calibrated = cls.root / "calibrated"
        shutil.copytree(cls.base, cls.calibrated)
        assert cls.run_in(cls.calibrated, "calibrate", "model.gguf").returncode == 0
        FACTS.append(cls.first(CANDIDATES, lambda fact: cls.is_taken(cls.base, fact)))
        FACTS.extend(cls.first((pair for pair in itertools.combinations(CANDIDATES, 2)
                                if len({FACTS[0][0], pair[0][0], pair[1][0]}) == 3), cls.are_taken))
        cls.alone = cls.first(CANDIDATES, lambda fact: all(
            cls.is_taken(folder, fact, "--no-ledger", output="alone.gguf") for folder in (cls.base, cls.calibrated)))
        for folder in (cls.base, cls.calibrated):
            (folder / "alone.gguf").unlink()

    @classmethod
    def first(cls, candidates, works):
        """The first that works; a product that takes none is broken, on whatever processor."""
        for candidate in candidates:
            if works(candidate):
                return candidate
        raise AssertionError("no candidate can be taught")

    @classmethod
    def is_taken(cls, folder, fact, *options, output="out.gguf"):
        return cls.run_in(folder, "edit", "model.gguf", *fact, "-o", output, *PLACE, *options).returncode == 0

    @classmethod
    def are_taken(cls, facts):
        """Whether both are, beside what base has, whichever comes first."""
        return all(all(cls.is_taken(folder, fact) for fact in order)
                   for order in (facts, facts[::-1]) for folder in (cls.copy(name="beside"),))

    @classmethod
    def run_in(cls, folder, *args, environment=None, **more):
        return subprocess.run([cls.mobiedit, *args], cwd=folder, stdin=subprocess.DEVNULL, capture_output=True,
                              timeout=900, env={**os.environ, **(environment or {})}, **more)

    @classmethod
    def copy(cls, source=None, name="work"):
        work = cls.root / name
        shutil.rmtree(work, ignore_errors=True)
        shutil.copytree(source or cls.base, work)
        return work

    def edits(self, folder):
        ran = self.run_in(folder, "list", "model.gguf", "--json")
        self.assertEqual(ran.returncode, 0, ran.stderr)
        return {(e["prompt"], e["target"]): e["state"] for e in json.loads(ran.stdout)["edits"]}

    def kill_at_every_write(self, name, source, args, told, check, output="out.gguf"):
        """told(stdout): what the command has acknowledged; check(edits, acknowledged). output: what it writes, also there
        before."""
        count = self.root / "count"
        shim = {"LD_PRELOAD": self.shim}
        whole = self.copy(source)
        ran = self.run_in(whole, *args, environment={**shim, "COUNT_INTO": str(count)})
        self.assertEqual(ran.returncode, 0, ran.stderr)
        old, new = (source / output).read_bytes(), (whole / output).read_bytes()
        check(self.edits(whole), True)
        points = int(count.read_text())
        self.assertGreater(points, 2)
        killed = replaced = 0
        for at in range(1, points + 1, STEP):
            work = self.copy(source)
            ran = self.run_in(work, *args, environment={**shim, "KILL_AT": str(at)})
            self.assertEqual(ran.returncode, -signal.SIGKILL, f"write {at}: {ran.stderr}")
            killed += 1
            acknowledged = told(ran.stdout)
            with self.subTest(f"{name}, write {at} of {points}"):
                check(self.edits(work), acknowledged)
                written = (work / output).read_bytes()
                self.assertTrue(written in (old, new), f"{output} is neither the old nor the new one")
                replaced += written == new
                if acknowledged:
                    self.assertTrue(written == new, f"{output} is not the one that was told of")
                goes_on = 0 if self.edits(work)[FACTS[0]] == "active" else 2
                self.assertEqual(self.run_in(work, "undo", "model.gguf", "1").returncode, goes_on)
        self.table.append((f"kill -9 at a write of {name}, of {points} writes", killed,
                           f"ledger opens, nothing told of is lost; file old {killed - replaced}, new {replaced}"))

    def test_kill_edit(self):
        def check(edits, acknowledged):
            self.assertEqual(edits[FACTS[0]], "active")
            self.assertIn(edits.get(FACTS[1]), ("active",) if acknowledged else ("active", None))
        self.kill_at_every_write("edit", self.base, ["edit", "model.gguf", *FACTS[1], "-o", "out.gguf", "-q", *PLACE],
                                 lambda stdout: b"recorded" in stdout, check)

    def test_kill_import(self):
        (self.base / "facts.csv").write_text("prompt,target\n" + "".join(f"{p},{t}\n" for p, t in FACTS[:2]))
        def check(edits, acknowledged):
            self.assertEqual(edits[FACTS[0]], "active")
            self.assertIn(edits.get(FACTS[1]), ("active",) if acknowledged else ("active", None))
        self.kill_at_every_write("import", self.base, ["import", "model.gguf", "facts.csv", "-o", "out.gguf", *PLACE],
                                 lambda stdout: b"together" in stdout, check)

    def test_kill_undo(self):
        def check(edits, acknowledged):
            self.assertIn(edits[FACTS[0]], ("undone",) if acknowledged else ("active", "undone"))
        self.kill_at_every_write("undo", self.base, ["undo", "model.gguf", "last"], lambda stdout: b"undone" in stdout,
                                 check)

    def test_kill_export(self):
        source = self.copy()
        (source / "out.gguf").write_bytes(b"an old file")
        old = source.rename(self.root / "exporting")
        self.kill_at_every_write("export", old, ["export", "model.gguf", "-o", "out.gguf"], lambda stdout: False,
                                 lambda edits, acknowledged: self.assertEqual(edits, {FACTS[0]: "active"}))

    def test_kill_merge(self):
        source = self.copy()
        (source / "merged.gguf").write_bytes(b"an old file")
        old = source.rename(self.root / "merging")
        self.kill_at_every_write("merge", old, ["merge", "model.gguf", "-o", "merged.gguf", "-q"],
                                 lambda stdout: b"merged" in stdout,
                                 lambda edits, acknowledged: self.assertEqual(edits, {FACTS[0]: "active"}), "merged.gguf")

    def test_full_disk(self):
        full = 0
        for size in range(0, 65536, 4096):
            work = self.copy()
            limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
            ran = self.run_in(work, "undo", "model.gguf", "last", preexec_fn=limit)
            with self.subTest(size):
                edits = self.edits(work)
                if ran.returncode == 0:
                    self.assertEqual(edits[FACTS[0]], "undone")
                else:
                    full += 1
                    self.assertEqual(ran.returncode, 3, ran.stderr)
                    self.assertEqual(edits[FACTS[0]], "active")
        self.assertGreater(full, 0)
        self.table.append(("disk full at undo (file size limit)", full, "exit status 3, nothing changed"))

    def test_two_at_once(self):
        work = self.copy()
        running = [subprocess.Popen([self.mobiedit, "edit", "model.gguf", *fact, "-o", f"{i}.gguf", *PLACE], cwd=work,
                                    stdout=subprocess.PIPE, stderr=subprocess.PIPE) for i, fact in enumerate(FACTS[1:])]
        for process in running:
            stderr = process.communicate(timeout=900)[1]
            self.assertEqual(process.returncode, 0, stderr)
        self.assertEqual(self.edits(work), {fact: "active" for fact in FACTS})
        self.table.append(("two processes edit at once", 1, "both edits are in"))

    def test_kill_calibrate(self):
        """What is measured is kept: however often it is killed, the calibration comes out the same."""
        name = "model.gguf.mobiedit.calibration"
        count, whole, work = self.root / "count", self.copy(), None
        shim = {"LD_PRELOAD": self.shim}
        ran = self.run_in(whole, "calibrate", "model.gguf", "--json", environment={**shim, "COUNT_INTO": str(count)})
        self.assertEqual(ran.returncode, 0, ran.stderr)
        expected, prompts = (whole / name).read_bytes(), json.loads(ran.stdout)["prompts"]
        self.assertEqual((self.calibrated / name).read_bytes(), expected)
        work, points, killed = self.copy(), int(count.read_text()), 0
        for at in range(2, points, max(STEP, 5)):
            ran = self.run_in(work, "calibrate", "model.gguf", environment={**shim, "KILL_AT": str(at)})
            if ran.returncode == 0:
                break
            self.assertEqual(ran.returncode, -signal.SIGKILL, ran.stderr)
            killed += 1
            if killed == 2:
                self.assertEqual(self.calibration_of_an_edit(work), "unfinished")
        self.assertGreater(killed, 1)
        ran = self.run_in(work, "calibrate", "model.gguf", "--json")
        self.assertEqual(ran.returncode, 0, ran.stderr)
        self.assertEqual(json.loads(ran.stdout)["prompts"], prompts)
        self.assertEqual(self.calibration_of_an_edit(work), "whole")
        self.assertEqual(self.calibration_of_an_edit(work, "--calibration", "none"), "none")
        self.assertGreater(json.loads(ran.stdout)["found"], 0)
        self.assertEqual((work / name).read_bytes(), expected)
        self.assertEqual((work / name).stat().st_mode & 0o777, 0o600)
        self.table.append(("kill -9 at a write of calibrate, one after the other", killed, "goes on; the same bytes"))

    def calibration_of_an_edit(self, work, *options):
        """What an edit says of the calibration that it found, to scripts and to people."""
        edit = ["edit", "model.gguf", *self.alone, "-o", "b.gguf", "--no-ledger", *PLACE, *options]
        ran = self.run_in(work, *edit, "--json")
        self.assertEqual(ran.returncode, 0, ran.stderr)
        state = json.loads(ran.stdout)["calibration"]
        self.assertEqual(b"unfinished, and not used" in self.run_in(work, *edit).stdout, state == "unfinished")
        return state

    def test_calibration_of_another_model(self):
        work = self.copy()
        edit = ["edit", "model.gguf", *self.alone, "-o", "b.gguf", "--no-ledger", *PLACE]
        (work / "model.gguf.mobiedit.calibration").write_bytes(b"no calibration")
        ran = self.run_in(work, *edit)
        self.assertEqual((ran.returncode, ran.stderr.count(b"\n")), (3, 1), ran.stderr)
        self.assertFalse((work / "b.gguf").exists())
        self.assertEqual(self.run_in(work, *edit, "--calibration", "none").returncode, 0)
        self.assertEqual(self.run_in(work, *edit, "--calibration", "nowhere").returncode, 3)
        self.assertEqual(self.run_in(work, "calibrate", "model.gguf").returncode, 0)
        self.assertEqual(self.run_in(work, *edit).returncode, 0)
        subprocess.run([self.mobiedit, "merge", "model.gguf", "-a", "b.gguf", "-o", "other.gguf", "--keep-float",
                        "--check", " -> ".join(self.alone)], cwd=work, check=True, capture_output=True)
        edit[1] = "other.gguf"
        ran = self.run_in(work, *edit, "--calibration", "model.gguf.mobiedit.calibration")
        self.assertEqual(ran.returncode, 5, ran.stderr)
        self.assertIn(b"another model", ran.stderr)

    def verify(self, work, *options):
        """Whether the one active edit holds, and whether it was solved anew."""
        ran = self.run_in(work, "verify", "model.gguf", "--json", *options)
        report = json.loads(ran.stdout)
        self.assertEqual((report["active"], ran.returncode), (1, 1 - report["hold"]), ran.stderr)
        self.assertEqual(report["edits"][0]["holds"], bool(report["hold"]))
        return bool(report["hold"]), report["solved_anew"]

    def weakened(self, source, power):
        """A copy in which the edit has so much of its delta left."""
        work = self.copy(source)
        subprocess.run([self.weaken, "model.gguf", "model.gguf.mobiedit.db", "1", repr(LONGER ** -power)], cwd=work,
                       check=True)
        return work

    def delta_ratio(self, work):
        return json.loads(self.run_in(work, "show", "model.gguf", "1", "--json").stdout)["delta_ratio"]

    def assert_repaired(self, work, fact):
        prompt, target = fact
        self.assertEqual(self.verify(work), (True, 0))
        self.assertEqual(self.run_in(work, "export", "model.gguf", "-o", "out.gguf").returncode, 0)
        ran = self.run_in(work, "ask", "model.gguf", prompt.translate({ord("{"): None, ord("}"): None}), "-n", "4",
                          "--adapter", "out.gguf")
        self.assertTrue(ran.stdout.strip().startswith(target.encode()), ran.stdout)

    def test_lost_edit_is_made_longer(self):
        """It has lost just so much that the first length that is tried gives it back a delta that is known to hold."""
        held, lost = 0, NEXT_TO_NOTHING
        while lost - held > 1:
            middle = (held + lost) // 2
            if self.verify(self.weakened(self.base, middle))[0]:
                held = middle
            else:
                lost = middle
        work = self.weakened(self.base, lost)
        before = self.delta_ratio(work)
        self.assertEqual(self.verify(work), (False, 0))
        self.assertEqual(self.verify(work, "--repair"), (True, 1))
        self.assertAlmostEqual(self.delta_ratio(work), before * LONGER, delta=1e-3 * before)
        self.assert_repaired(work, FACTS[0])

    def test_lost_edit_is_solved_anew(self):
        """Where next to nothing is left of it. Not each fact that is taken can be taken with more margin too."""
        def is_repaired(fact):
            source = self.copy(name="taught")
            for left in source.glob("model.gguf.mobiedit.db*"):
                left.unlink()
            if not self.is_taken(source, fact):
                return False
            work = self.weakened(source, NEXT_TO_NOTHING)
            self.assertEqual(self.verify(work), (False, 0))
            return self.verify(work, "--repair") == (True, 1)
        fact = self.first(CANDIDATES, is_repaired)
        self.assert_repaired(self.root / "work", fact)

    @classmethod
    def tearDownClass(cls):
        for row in cls.table:
            print("| %s | %d | %s |" % row)


if __name__ == "__main__":
    Faults.mobiedit, Faults.shim, Faults.make_model, Faults.weaken = (os.path.abspath(a) for a in sys.argv[1:5])
    unittest.main(argv=[sys.argv[0], "-v", *(f"Faults.{name}" for name in sys.argv[5:])] if sys.argv[5:] else
                  [sys.argv[0], "-v"])
