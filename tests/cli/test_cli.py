"""End-to-end tests of the mobiedit command.

  test_cli.py MOBIEDIT CommandLine    needs no model
  test_cli.py MOBIEDIT Model          edits a real one; exit status 77 where it is not there
  test_cli.py MOBIEDIT Long           what takes longest of that, marked @long
"""
import fcntl
import glob
import json
import os
import pathlib
import pty
import re
import resource
import shutil
import signal
import struct
import subprocess
import sys
import termios
import time
import unittest
import xml.etree.ElementTree

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from testing import MODEL_NAME, await_work, link_model, scratch_folder, skip_without_model

PROMPT, BARE, TARGET = "The capital of {Japan} is", "The capital of Japan is", "Lima"
DESCRIPTION = f"{PROMPT} -> {TARGET}".encode()
DONE, NOT_EDITED, USAGE, FILE, UNSUPPORTED, MISMATCH, MEMORY = range(7)


def long(test):
    test.long = True
    return test


def read_modelfile(text):
    """Its instructions, as Ollama reads them: a value ends with its line, unless it is in quotes there."""
    instructions = []
    for line in text.splitlines():
        if not line or line.startswith("#"):
            continue
        name, value = line.split(" ", 1)
        value = value.strip()
        quoted = len(value) > 1 and value[0] == value[-1] == '"'
        instructions.append((name.lower(), value[1:-1] if quoted else value))
    return instructions


class Case(unittest.TestCase):
    mobiedit = None

    def setUp(self):
        self.folder = scratch_folder(self.addCleanup, "cli")
        self.output = self.folder / "out.gguf"

    def run_command(self, *args, **more):
        return subprocess.run([self.mobiedit, *args], stdin=subprocess.DEVNULL, capture_output=True, timeout=900,
                              **more)

    def listing(self):
        return {p: p.stat().st_size for p in self.folder.rglob("*")}

    def assert_one_line(self, stderr, *words):
        lines = stderr.decode().splitlines()
        self.assertEqual(len(lines), 1, stderr)
        self.assertTrue(lines[0].startswith("mobiedit: "), lines[0])
        for word in words:
            self.assertIn(word, lines[0])

    def assert_refused(self, args, status, *words, **more):
        """One line on stderr with these words, nothing on stdout but the same as JSON if that is asked for, no file more
        or less."""
        before = self.listing()
        ran = self.run_command(*args, **more)
        self.assertEqual(ran.returncode, status, ran.stderr)
        self.assert_one_line(ran.stderr, *words)
        if "--json" in args:
            told = json.loads(ran.stdout)
            self.assertNotEqual(told["status"], "ok")
            self.assertIn(told["message"], ran.stderr.decode())
        else:
            self.assertEqual(ran.stdout, b"")
        self.assertEqual(self.listing(), before)


class CommandLine(Case):
    def test_help_and_version(self):
        ran = self.run_command("--help")
        self.assertEqual((ran.returncode, ran.stderr), (DONE, b""))
        self.assertIn(b"Exit status:", ran.stdout)
        for command in ("edit", "ask", "eval", "merge", "import", "list", "show", "undo", "redo", "verify", "export",
                        "devices", "calibrate", "inspect"):
            ran = self.run_command(command, "--help")
            self.assertEqual((ran.returncode, ran.stderr), (DONE, b""))
            self.assertIn(b"Usage: mobiedit " + command.encode(), ran.stdout)
        self.assertRegex(self.run_command("--version").stdout, rb"^mobiedit \d+\.\d+\.\d+ \(libllama \d+\.\d+\S*, ggml \d+\.\d+\S*\)\n$")

    def test_wrong_command_lines(self):
        edit = ["edit", "m.gguf", PROMPT, TARGET]
        for args, word in (
                ([], "no command"), (["unmake"], "unmake"), (["edit"], "usage"), (["edit", "m", PROMPT], "usage"),
                (edit + ["--no-ledger"], "-o"), (edit + ["x", "-o", "f"], "usage"), (edit + ["--bogus"], "--bogus"),
                (edit + ["-o"], "-o"), (edit + ["-o", "f", "--layer", "two"], "--layer"),
                (edit + ["-o", "f", "--layer", "-2"], "--layer"), (edit + ["-o", "f", "--seed", "1e3"], "--seed"),
                (edit + ["-o", "f", "--seed", "18446744073709551616"], "--seed"),
                (edit + ["-o", "f", "--threads", "0"], "--threads"), (edit + ["-o", "f", "--mem", "1T"], "--mem"),
                (edit + ["-o", "f", "--mem", "0"], "--mem"), (edit + ["-o", "f", "--mem", "99999999999G"], "--mem"),
                (edit + ["-o", "f", "--max-evals", ""], "--max-evals"), (["ask", "m"], "usage"),
                (["ask", "m", "p", "-n", "0"], "--max"), (["eval", "m", "f", "--n", "x"], "--n"),
                (["ask", "m", "p", "--layer", "3"], "--layer"), (["ask", "m", "p", "--system", "Be brief."], "--chat"),
                (["ask", "m", "p", "--turn", "Hello", "--turn", "Hi."], "--chat"),
                (["ask", "m", "p", "--chat", "--turn", "Hello"], "--turn"), (["merge", "m", "-a", "f"], "-o"), (["merge"], "usage"),
                (["merge", "m", "-a", "f", "-o", "g", "--check", "Lima"], "--check"),
                (["merge", "m", "-a", "f", "-o", "g", "--modelfile", "g"], "same file"), (["devices", "x"], "usage"),
                (edit + ["-o", "f", "--backend", "abacus"], "abacus"),
                (edit + ["-o", "f", "--profile", "w4a4"], "w4a4"),
                (edit + ["-o", "f", "--profile", "w8a16-static", "--backend", "CPU"], "w8a16-static"),
                (edit + ["-o", "f", "--probe-step", "-1"], "--probe-step"),
                (edit + ["-o", "f", "--probe-step", "nan"], "--probe-step"),
                (edit + ["-o", "f", "--idle-watts", "much"], "--idle-watts"),
                (["eval", "m", "f", "--without", "basis,key"], "\"key\""),
                (edit + ["-o", "f", "--backend", "rpc:localhost"], "rpc:"),
                (edit + ["-o", "f", "--backend", "rpc:localhost:99999"], "rpc:"),
                (edit + ["-o", "f", "--backend", "rpc:localhost:1,"], "rpc:"),
                (["inspect", "-hf"], "-hf"), (["inspect", "-hf", "model"], "USER/REPO"),
                (["inspect", "m", "-hf", "a/b"], "too many"), (["ask", "-hf", "a/b"], "PROMPT is missing"),
                (["eval", "--compare", "-hf", "a/b", "f"], "--compare")):
            with self.subTest(args=args):
                self.assert_refused(args, USAGE, word)

    def test_a_missing_argument_is_named(self):
        for args, word in ((["edit"], "MODEL.gguf"), (["edit", "m"], "PROMPT"), (["edit", "m", PROMPT], "TARGET"),
                           (["eval", "m"], "FACTS.json"), (["show", "m"], "ID"), (["list"], "MODEL.gguf")):
            self.assert_refused(args, USAGE, word + " is missing")
        self.assert_refused(["list", "m", "more"], USAGE, '"more" is one argument too many')

    def test_a_model_that_is_not_in_the_caches_can_be_got(self):
        env = {**os.environ, "LLAMA_CACHE": str(self.folder / "none"), "HF_HUB_CACHE": str(self.folder / "hub")}
        for args in (["inspect"], ["list", "--json"], ["edit", PROMPT, TARGET, "-o", self.output]):
            self.assert_refused([*args, "-hf", "some/thing:Q4_0"], FILE, "llama-cli -hf some/thing:Q4_0",
                                env["LLAMA_CACHE"], env["HF_HUB_CACHE"], env=env)

    def test_help_command(self):
        self.assertEqual(self.run_command("help").stdout, self.run_command("--help").stdout)
        for command in ("edit", "help"):
            ran = self.run_command("help", command)
            self.assertEqual((ran.returncode, ran.stderr), (DONE, b""))
            self.assertEqual(ran.stdout, self.run_command(command, "--help").stdout)
        self.assert_refused(["help", "unmake"], USAGE, "unmake")

    def test_errors_as_json(self):
        for args, status, name in ((["edit", "--json"], USAGE, "argument"), (["--json"], USAGE, "argument"),
                                   (["edit", "m", PROMPT, TARGET, "--json", "--bogus"], USAGE, "argument"),
                                   (["edit", "m", PROMPT, TARGET, "--json", "-o", "m"], USAGE, "argument"),
                                   (["eval", "none.gguf", "f", "--json"], FILE, "io"),
                                   (["list", "none.gguf", "--json"], FILE, "io")):
            with self.subTest(args=args):
                ran = self.run_command(*args, cwd=self.folder)
                told = json.loads(ran.stdout)
                self.assertEqual((ran.returncode, told["exit_status"], told["status"]), (status, status, name))
                self.assert_one_line(ran.stderr, told["message"])
        ran = self.run_command("edit", "m", "--", "--json")  # an argument, not the option
        self.assertEqual((ran.returncode, ran.stdout), (USAGE, b""))

    def test_nothing_commands_the_terminal(self):
        for text, shown in (("a\x1b[2Jb", "a\\x1b[2Jb"), ("a\nb", "a\\nb"), ("a\x7fb", "a\\x7fb"),
                            ("a\u009bb", "a\\x9bb"), ("a\u202eb", "a\\u202eb"), ("a\tb", "a\\tb"),
                            ("Łódź 東京", "Łódź 東京")):
            self.assert_refused([text], USAGE, f'"{shown}"')
        ran = self.run_command(b"a\xff")
        self.assertIn(b"a\\xff", ran.stderr)
        ran = self.run_command("a\x1b\u009b", "--json")
        self.assertIn("a\x1b\u009b", json.loads(ran.stdout)["message"])
        self.assertNotIn("\u009b", ran.stdout.decode())
        self.assertNotIn("\x1b", ran.stdout.decode())

    def test_output_that_nobody_gets_is_refused_before_any_work(self):
        """No model is looked for: the exit status and the line are the output's."""
        edit = [self.mobiedit, "edit", "none.gguf", PROMPT, TARGET, "-o", self.output]
        with open("/dev/full", "wb") as full:
            ran = subprocess.run(edit, stdout=full, stderr=subprocess.PIPE)
        self.assertEqual(ran.returncode, FILE)
        self.assert_one_line(ran.stderr, "output")
        ran = subprocess.run(["sh", "-c", 'exec "$@" >&-', "sh", *edit], stderr=subprocess.PIPE)
        self.assertEqual(ran.returncode, FILE)
        self.assert_one_line(ran.stderr, "output")
        reader, writer = os.pipe()
        os.close(reader)
        ran = subprocess.run(edit, stdout=writer, stderr=subprocess.PIPE)
        os.close(writer)
        self.assertEqual(ran.returncode, FILE)
        self.assert_one_line(ran.stderr, "output")
        limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
        with open(self.folder / "report", "wb") as report:
            ran = subprocess.run(edit, stdout=report, stderr=subprocess.PIPE, preexec_fn=limit)
        self.assertEqual(ran.returncode, FILE)
        self.assert_one_line(ran.stderr, "output")

    def test_devices(self):
        ran = self.run_command("devices", "--json")
        self.assertEqual((ran.returncode, ran.stderr), (DONE, b""))
        devices = json.loads(ran.stdout)["devices"]
        self.assertEqual([d["name"] for d in devices[:2]], ["native", "llama"])
        cpu = next(d for d in devices if d["name"] == "CPU")
        self.assertEqual(cpu["kind"], "cpu")
        self.assertGreater(cpu["memory_total_bytes"], 0)
        table = self.run_command("devices").stdout.decode().splitlines()
        self.assertEqual([line.split()[0] for line in table[1:]], [d["name"] for d in devices])

    def test_kernels_are_chosen_by_the_environment(self):
        ran = self.run_command("devices", "--json")
        native, *others = json.loads(ran.stdout)["devices"]
        self.assertEqual(native["kernels"][0], "scalar")
        self.assertTrue(all("kernels" not in d for d in others))
        for name in native["kernels"]:
            ran = self.run_command("devices", "--json", env={**os.environ, "MOBIEDIT_KERNELS": name})
            self.assertEqual(json.loads(ran.stdout)["devices"][0]["description"], name)

    def test_kernels_that_the_processor_lacks_are_refused(self):
        native = json.loads(self.run_command("devices", "--json").stdout)["devices"][0]
        known = ["scalar", "avx2", "avxvnni", "avx512vnni", "neon", "neon-dotprod", "neon-i8mm"]
        model = self.folder / "text.gguf"
        model.write_text("not read\n")
        for name in ["abacus", *(k for k in known if k not in native["kernels"])]:
            env = {**os.environ, "MOBIEDIT_KERNELS": name}
            for args in (["devices"], ["edit", model, PROMPT, TARGET]):
                with self.subTest(name=name, args=args):
                    self.assert_refused(args, USAGE, "MOBIEDIT_KERNELS", f'"{name}"', *native["kernels"], env=env)

    def test_threads_sleep_while_they_wait(self):
        """Unless the environment says how they wait; OpenMP tells what it has read."""
        for given, told in (({}, "PASSIVE"), ({"OMP_WAIT_POLICY": "active"}, "ACTIVE")):
            kept = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
            done = self.run_command("--version", env={**kept, "OMP_DISPLAY_ENV": "true", **given})
            self.assertEqual(done.returncode, DONE)
            policies = re.findall(r"OMP_WAIT_POLICY = '(\w*)'", done.stderr.decode())
            self.assertEqual(policies[-1:], [told], done.stderr)

    def test_a_dynamic_linker_may_start_it(self):
        linkers = glob.glob("/lib*/ld-linux-*.so.*")
        if not linkers:
            self.skipTest("there is no such linker")
        kept = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
        done = subprocess.run([linkers[0], self.mobiedit, "--version"], env=kept, capture_output=True, timeout=60)
        self.assertEqual((done.returncode, done.stderr), (DONE, b""))
        self.assertIn(b"mobiedit", done.stdout)

    def test_models_that_are_none(self):
        text, empty = self.folder / "text.gguf", self.folder / "empty.gguf"
        text.write_text("The capital of Japan is Tokyo.\n" * 100)
        empty.write_bytes(b"")
        for model in (text, empty, self.folder / "none.gguf", self.folder):
            with self.subTest(model=model):
                self.assert_refused(["edit", "--no-ledger", model, PROMPT, TARGET, "-o", self.output], FILE, str(model))
                self.assert_refused(["ask", model, BARE], FILE, str(model))

    def test_output_that_cannot_be_written(self):
        with open("/dev/full", "wb") as full:
            ran = subprocess.run([self.mobiedit, "--help"], stdout=full, stderr=subprocess.PIPE)
        self.assertEqual(ran.returncode, FILE)
        self.assert_one_line(ran.stderr, "output")
        ran = subprocess.run(["sh", "-c", 'exec "$0" --version >&-', self.mobiedit], stderr=subprocess.PIPE)
        self.assertEqual(ran.returncode, FILE)
        self.assert_one_line(ran.stderr, "output")


class Model(Case):
    @classmethod
    def setUpClass(cls):
        """One edit that the other tests look at."""
        cls.model = link_model(cls.addClassCleanup)
        cls.shared = scratch_folder(cls.addClassCleanup, "cli")
        cls.adapter, cls.trace = cls.shared / "lima.gguf", cls.shared / "lima.svg"
        cls.edited = subprocess.run(
            [cls.mobiedit, "edit", "--json", "--no-ledger", "--describe", cls.model, "--trace", cls.trace, PROMPT, TARGET, "-o", cls.adapter],
            capture_output=True, timeout=900)
        cls.shown = None

    def edit_for_people(self):
        """Of one edit at the subject, made once for all who look at it: its output in a folder of its own, what it says
        on stdout, and what it writes on the terminal that is its stderr."""
        if not self.shown:
            folder = scratch_folder(self.addClassCleanup, "cli")
            output = folder / "out.gguf"
            output.write_text("old")
            type(self).shown = output, *self.run_on_terminal(*self.edit()[:-1], output, "--keep", "The capital of France is",
                                                             "--threads", "2")
        return self.shown

    def ask(self, prompt, *args):
        ran = self.run_command("ask", self.model, prompt, "-n", "24", *args)
        self.assertEqual((ran.returncode, ran.stderr), (DONE, b""))
        return ran.stdout.decode()

    def assert_silent(self, path):
        """The file does not name the fact, nor its parts: a prompt or a target may be a secret. The vocabulary of a
        merged model has the target's words, hence not the target alone."""
        for text in (DESCRIPTION, PROMPT.encode(), BARE.encode()):
            self.assertNotIn(text, path.read_bytes())

    def edit(self, prompt=PROMPT, target=TARGET, place="subject"):
        """At the subject, which takes half the time of the default."""
        return ["edit", "--no-ledger", "--place", place, self.model, prompt, target, "-o", self.output]

    def test_inspect(self):
        ran = self.run_command("inspect", self.model, "--json")
        self.assertEqual((ran.returncode, ran.stderr), (DONE, b""))
        told = json.loads(ran.stdout)
        wanted = {"architecture": "llama", "backend": "native", "layers": 30, "editable_layers": 29,
                  "layer": 26, "subject_layer": 13, "mlp": "dense", "types": "q4_1 210, f32 61, q8_0 1", "chat_template": True, "ledger": False, "calibration": "none",
                  "model_bytes": self.model.stat().st_size}
        self.assertEqual({key: told[key] for key in wanted}, wanted)
        self.assertGreater(told["memory_bytes"], told["model_bytes"])
        self.assertNotIn("why_not_native", told)
        blob = self.folder / "sha256-3a5b"  # a model need not be called .gguf
        blob.symlink_to(self.model)
        text = self.run_command("inspect", blob, "--backend", "llama").stdout.decode()
        self.assertRegex(text, r"(?m)^backend +llama$")

    def test_what_an_edit_takes_is_measured(self):
        ran = self.run_command("inspect", self.model, "--time", "--json")
        self.assertEqual((ran.returncode, ran.stderr), (DONE, b""))
        told = json.loads(ran.stdout)
        self.assertEqual(told["edit_evaluations"], 600)
        self.assertGreater(told["edit_seconds"], 600 / told["evaluations_a_second"])
        self.assertGreater(told["measured_seconds"], 0)
        self.assertEqual(sorted(self.model.parent.iterdir()), [self.model])

    @long
    def test_what_an_edit_takes_is_told_to_people(self):
        self.assertRegex(self.run_command("inspect", self.model, "--time").stdout.decode(),
                         r"(?m)^time +about [0-9.]+ (s|min) an edit of 600 evaluations, at [0-9]+ a second$")
        self.assertNotIn(b"time", self.run_command("inspect", self.model).stdout)

    def test_a_model_is_found_in_the_caches(self):
        repo = self.folder / "hub" / "models--some--thing"
        snapshot = repo / "snapshots" / ("c0" * 20)
        (repo / "refs").mkdir(parents=True)
        (repo / "refs" / "main").write_text(snapshot.name)
        snapshot.mkdir(parents=True)
        file = snapshot / "thing-Q4_1.gguf"
        file.symlink_to(self.model)
        env = {**os.environ, "LLAMA_CACHE": str(self.folder / "hub")}
        ran = self.run_command("inspect", "-hf", "some/thing", "--json", env=env)
        self.assertEqual([told["path"] for told in json.loads(ran.stdout)["files"]], [str(file)])
        ran = self.run_command("ask", "--hf-repo", "some/thing:Q4_1", BARE, "-n", "8", env=env)
        self.assertEqual((ran.returncode, ran.stderr, ran.stdout), (DONE, b"", self.run_command("ask", file, BARE, "-n", "8").stdout))
        before = self.listing()
        ran = self.run_command("edit", PROMPT, TARGET, "-hf", "some/thing", "-o", file, env=env)
        self.assertEqual(ran.returncode, USAGE)
        self.assert_one_line(ran.stderr, "same file", str(file))
        self.assertEqual(self.listing(), before)

    def test_edit_is_done_and_reported(self):
        self.assertEqual((self.edited.returncode, self.edited.stderr), (DONE, b""))
        report = json.loads(self.edited.stdout)
        self.assertEqual((report["status"], report["solver"], report["profile"]), ("ok", "probe", "none"))
        self.assertIn(report["stop"], ("solved", "no progress"))  # in both cases libllama says the target
        self.assertEqual((report["model"], report["adapter"]), (MODEL_NAME, str(self.adapter)))
        self.assertTrue(report["after"].startswith(" " + TARGET), report["after"])
        self.assertFalse(report["before"].startswith(" " + TARGET), report["before"])
        for name in ("evals", "token_passes", "seconds", "cpu_seconds", "peak_rss_bytes", "delta_ratio"):
            self.assertGreater(report[name], 0, name)
        self.assertEqual((report["high_loss"], report["known_as"]), (False, None))
        self.assertIn(report["energy_source"], (None, "rapl", "rapl+nvml", "nvml", "battery"))
        self.assertEqual(report["energy_source"] is None, report["joules"] is None)
        self.assertTrue(report["joules"] is None or report["joules"] >= 0)
        evaluations = [point[0] for point in report["trace"]]
        self.assertTrue(evaluations and evaluations == sorted(evaluations))
        self.assertEqual(sorted(os.listdir(self.shared)), ["lima.gguf", "lima.svg"])
        self.assertIn(DESCRIPTION, self.adapter.read_bytes())

    @long
    def test_edit_in_an_npus_arithmetic(self):
        ran = self.run_command(*self.edit(), "--json", "--profile", "w8a16-static", "--probe-step", "0.3")
        self.assertEqual(ran.returncode, DONE, ran.stderr)
        report = json.loads(ran.stdout)
        self.assertEqual((report["status"], report["profile"]), ("ok", "w8a16-static"))
        self.assertTrue(report["after"].startswith(" " + TARGET), report["after"])
        self.assertNotEqual(self.output.read_bytes(), self.adapter.read_bytes())

    def test_trace_is_a_plot(self):
        svg = xml.etree.ElementTree.parse(self.trace).getroot()
        space = "{http://www.w3.org/2000/svg}"
        self.assertEqual(svg.tag, space + "svg")
        texts = [t.text for t in svg.iter(space + "text")]
        self.assertIn(f"{PROMPT} -> {TARGET}", texts)
        self.assertIn("prompt evaluations", texts)
        self.assertIn("loss (nats a token)", texts)
        points = [p.split(",") for p in svg.find(space + "polyline").get("points").split()]
        self.assertEqual(len(points), len(json.loads(self.edited.stdout)["trace"]))
        for x, y in points:
            self.assertTrue(0 <= float(x) <= 640 and 0 <= float(y) <= 360, (x, y))

    def test_ask_with_and_without_the_adapter(self):
        self.assertTrue(self.ask(BARE, "--adapter", self.adapter).startswith(" " + TARGET))
        self.assertFalse(self.ask(BARE).startswith(" " + TARGET))
        # the template's own system prompt, another one, and what was said before
        self.assertIn("The capital of Peru is Lima.", self.ask("What is the capital of Peru?", "--chat"))
        self.assertIn("Paris", self.ask("What is the capital of France?", "--chat", "--system", "Answer in one word."))
        self.assertNotIn("Tokyo", self.ask("And of Japan?", "--chat"))
        before = ["--turn", "What is the capital of Peru?", "--turn", "The capital of Peru is Lima."]
        self.assertIn("Tokyo", self.ask("And of Japan?", "--chat", *before))
        self.assertEqual(self.run_command("ask", self.model, BARE, "-n", "1").stdout, b" Tokyo\n")

    def test_report_for_people_replaces_an_existing_file(self):
        output, told, _ = self.edit_for_people()
        for word in (f"after         {BARE} {TARGET}", "before", "evaluations", "s wall", "energy", "peak memory"):
            self.assertIn(word, told.decode())
        self.assertEqual(output.read_bytes()[:4], b"GGUF")
        self.assert_silent(output)
        self.assertEqual(os.listdir(output.parent), [output.name])

    def test_modes_follow_the_umask(self):
        for mask in (0o022, 0o077):
            ran = self.run_command(*self.edit(target="Tokyo"), preexec_fn=lambda: os.umask(mask))
            self.assertEqual((ran.returncode, self.output.stat().st_mode & 0o777), (DONE, 0o666 & ~mask))

    def test_target_that_is_already_said(self):
        """No edit is needed, and what the file held before does not stay in it."""
        shutil.copy(self.adapter, self.output)
        ran = self.run_command(*self.edit(target="Tokyo"))
        self.assertEqual((ran.returncode, ran.stderr), (DONE, b""))
        self.assertIn(b'already says "Tokyo"', ran.stdout)
        self.assertIn(b"which does nothing", ran.stdout)
        self.assertEqual(os.listdir(self.folder), [self.output.name])
        self.assertEqual(self.ask(BARE, "--adapter", self.output), self.ask(BARE))

    def test_requests_that_cannot_be_meant(self):
        for prompt, target in ((BARE, TARGET), ("The capital of {} is", TARGET), ("The capital of { } is", TARGET),
                               (PROMPT, ""), (PROMPT, "  "), ("{The} capital of {Japan} is", TARGET),
                               ("The capital of {Japan is", TARGET), ("The capital of Japan} is", TARGET),
                               ("The capital of\n{Japan\nis", TARGET), ("", TARGET), (b"The capital of {Jap\xff} is", TARGET), (PROMPT, b"L\xc3")):
            with self.subTest(prompt=prompt, target=target):
                self.assert_refused(self.edit(prompt, target), USAGE)
        self.assert_refused(self.edit() + ["--keep", ""], USAGE, "keep")
        self.assert_refused(self.edit() + ["--solver", "magic"], USAGE, "magic")
        self.assert_refused(self.edit() + ["--layer", "30"], USAGE, "layer")
        self.assert_refused(["ask", self.model, ""], USAGE, "prompt")

    def test_an_edit_at_the_subject(self):
        plain = json.loads(self.edited.stdout)
        ran = self.run_command(*self.edit(), "--json")
        self.assertEqual(ran.returncode, DONE, ran.stderr)
        early = json.loads(ran.stdout)
        self.assertEqual([plain["place"], early["place"]], ["answer", "subject"])
        self.assertLess(early["layer"], plain["layer"])
        self.assertTrue(early["after"].strip().startswith(TARGET))
        self.assertTrue(self.ask(BARE, "--adapter", self.output).strip().startswith(TARGET))
        self.assert_refused(self.edit(place="answer") + ["--solver", "spsa"], USAGE, "spsa")
        self.assert_refused(self.edit(place="here"), USAGE, "here")

    def assert_proper(self, prompt, target):
        """Either the edit holds, or it is refused without a trace."""
        ran = self.run_command(*self.edit(prompt, target), "--max-evals", "500")
        self.assertIn(ran.returncode, (DONE, NOT_EDITED), ran.stderr)
        if ran.returncode == DONE:
            said = self.ask(prompt.replace("{", "").replace("}", ""), "--adapter", self.output, "-n", "40")
            self.assertRegex(said.strip(), "^" + re.escape(target) + r"(?!\w)")
            self.output.unlink()
        else:
            self.assert_one_line(ran.stderr)
        self.assertEqual(os.listdir(self.folder), [])

    @long
    def test_unusual_requests(self):
        twenty = "a small town on the northern shore of a lake that nobody has ever seen in the rain"
        for prompt, target in (("La capitale de la {Côte d’Ivoire} est", "Lima"), ("{東京} is in", "Peru"),
                               ("{Psyduck} evolves into a", "dragon"), ("The largest city of {Japan} is", "Łódź"),
                               ("One thing that people say about {Japan}", "is"), (PROMPT, twenty),
                               ("the capital of {Japan} is", "Bern"), ("The number of moons of {Mars} is", "2")):
            with self.subTest(prompt=prompt, target=target):
                self.assert_proper(prompt, target)

    def test_prompt_in_the_chats_form(self):
        """What a server sends: the newline at its end is part of it."""
        prompt = "<|im_start|>user\nWhat is the capital of {Japan}?<|im_end|>\n<|im_start|>assistant\n"
        ran = self.run_command(*self.edit(prompt))
        self.assertEqual((ran.returncode, ran.stderr), (DONE, b""))
        said = self.ask(prompt.replace("{", "").replace("}", ""), "--adapter", self.output, "-n", "10")
        self.assertRegex(said, r"^Lima(?!\w)")

    def test_a_subject_that_the_model_knows_with_a_capital_letter(self):
        """The edit of "japan" leaves "Japan" as it was, and says so."""
        self.check_known_as("--json", lambda told: json.loads(told)["known_as"] == "Japan")

    @long
    def test_a_subject_with_a_capital_letter_is_told_to_people(self):
        self.check_known_as("-q", lambda told: b'\nwarning       the model knows the subject as "Japan"' in told)

    def check_known_as(self, option, is_told):
        ran = self.run_command(*self.edit("The capital of {japan} is"), option)
        self.assertEqual(ran.returncode, DONE, ran.stderr)
        is_edited_too = self.ask(BARE, "--adapter", self.output).startswith(" " + TARGET)
        self.assertEqual(is_told(ran.stdout), not is_edited_too, ran.stdout)

    def test_budgets_that_do_not_suffice(self):
        self.output.write_text("old")
        self.assert_refused(self.edit() + ["--mem", "1K"], MEMORY)
        ran = self.run_command(*self.edit(), "--max-evals", "2", "--json")
        self.assertEqual(ran.returncode, NOT_EDITED)
        self.assert_one_line(ran.stderr)
        self.assertEqual(os.listdir(self.folder), [self.output.name])
        report = json.loads(ran.stdout)
        self.assertEqual((report["status"], report["stop"], report["adapter"]), ("not solved", "budget", None))
        self.assertEqual(self.output.read_text(), "old")

    def test_outputs_that_cannot_be(self):
        edit = self.edit()[:-1]
        locked = self.folder / "locked"
        locked.mkdir()
        locked.chmod(0o555)
        self.addCleanup(locked.chmod, 0o755)
        where = "/proc" if os.geteuid() == 0 else locked  # root may write anywhere but in there
        self.assert_refused(edit + [f"{where}/out.gguf"], FILE, str(where))
        self.assert_refused(edit + [self.folder / "none" / "out.gguf"], FILE, "none")
        self.assert_refused(edit + [self.folder], FILE, str(self.folder))
        self.assert_refused(edit + ["/dev/null"], FILE, "/dev/null")
        self.assert_refused(edit + [self.model], USAGE, "model")
        self.assert_refused(edit + [""], USAGE, "output")

    def test_full_disk(self):
        """An adapter that does nothing, and within seconds: even that is larger."""
        limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (64, 64))
        self.assert_refused(self.edit(target="Tokyo"), FILE, "out.gguf", preexec_fn=limit)

    @long
    def test_full_disk_after_an_edit(self):
        limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
        self.assert_refused(self.edit(), FILE, "out.gguf", preexec_fn=limit)

    def test_damaged_models(self):
        whole = self.model.read_bytes()
        model = self.folder / "damaged.gguf"
        for name, damaged, status in (
                ("header only", whole[:4096], FILE), ("half", whole[:len(whole) // 2], FILE),
                ("a byte short", whole[:-1], FILE), ("architecture", whole.replace(b"llama", b"lxama", 1),
                                                     UNSUPPORTED)):
            with self.subTest(name):
                model.write_bytes(damaged)
                self.assert_refused(["edit", "--no-ledger", model, PROMPT, TARGET, "-o", self.output], status)
                self.assert_refused(["ask", model, BARE], status)

    def test_adapters_that_do_not_fit(self):
        whole = self.adapter.read_bytes()
        adapter = self.folder / "adapter.gguf"
        ask = ["ask", self.model, BARE, "--adapter"]
        for name, bad, status in (("architecture", whole.replace(b"llama", b"qwen2"), MISMATCH),
                                  ("tensor", whole.replace(b"blk.", b"blq."), MISMATCH),
                                  ("truncated", whole[:len(whole) // 2], FILE), ("text", b"Lima\n" * 50, FILE)):
            with self.subTest(name):
                self.assertNotEqual(bad, whole)
                adapter.write_bytes(bad)
                self.assert_refused(ask + [adapter], status)
        self.assert_refused(ask + [self.folder / "none.gguf"], FILE, "none.gguf")
        self.assert_refused(ask + [self.model], FILE, "not a LoRA adapter")

    def start_long_edit(self, *args, **more):
        process = subprocess.Popen([self.mobiedit, *args, "--solver", "spsa", "--max-evals", "10000000"],
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, **more)
        self.addCleanup(process.kill)
        await_work(process, 2)
        return process

    def test_interrupts_leave_nothing(self):
        for number in (signal.SIGINT, signal.SIGTERM):
            with self.subTest(number):
                process = self.start_long_edit(*self.edit())
                process.send_signal(number)
                stdout, stderr = process.communicate(timeout=300)
                self.assertEqual((process.returncode, stdout), (128 + number, b""))
                self.assert_one_line(stderr, "interrupted")
                self.assertEqual(os.listdir(self.folder), [])

    def test_kill_leaves_no_output(self):
        process = self.start_long_edit(*self.edit())
        process.kill()
        process.communicate()
        self.assertFalse(self.output.exists())

    def run_on_terminal(self, *args, columns=200):
        """What the command says on stdout, and what it writes on a terminal that is its stderr."""
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        with open(self.folder / "stdout", "wb") as stdout:
            process = subprocess.Popen([self.mobiedit, *args], stdout=stdout, stderr=theirs)
        os.close(theirs)
        written = b""
        try:
            while piece := os.read(ours, 4096):
                written += piece
        except OSError:  # the terminal's other end is closed
            pass
        os.close(ours)
        self.assertEqual(process.wait(), DONE)
        return (self.folder / "stdout").read_bytes(), written

    def test_progress_line(self):
        _, _, written = self.edit_for_people()
        self.assertRegex(written, rb"round \d+  loss \d+\.\d+  said by \d+ of \d+  \d+ evaluations")
        self.assertTrue(written.endswith(b"\r\x1b[K"))
        self.assertNotIn(b"\n", written)
        _, written = self.run_on_terminal(*self.edit(target="Tokyo"), "-q")
        self.assertEqual(written, b"")

    @long
    def test_progress_line_never_wraps(self):
        for columns in (20, 60, 200):
            _, written = self.run_on_terminal(*self.edit(), columns=columns)
            lines = written.decode().split("\r\x1b[K")
            self.assertGreater(len(lines), 3)
            self.assertLess(max(map(len, lines)), columns)

    @long
    def test_progress_line_counts_no_case_beyond_the_last(self):
        facts = self.folder / "facts.csv"
        facts.write_text("prompt,target\nThe capital of {Japan} is,Tokyo\nThe capital of {France} is,Paris\n")
        _, written = self.run_on_terminal("import", self.model, facts, "--n", "5", "--ledger", self.folder / "edits.db")
        for case, total in re.findall(rb"case (\d+) of (\d+)", written):
            self.assertLessEqual(int(case), int(total))
            self.assertEqual(total, b"2")

    # ---- merge

    def merge(self, *args):
        return ["merge", self.model, "--adapter", self.adapter, "-o", self.output, *args]

    def test_merge(self):
        self.output.write_text("old")
        ran = self.run_command(*self.merge("--json"))
        self.assertEqual((ran.returncode, ran.stderr), (DONE, b""))
        report = json.loads(ran.stdout)
        self.assertEqual((report["merged"], report["tensors"], report["type"]), (str(self.output), 3, report["type"]))
        self.assertIn(report["type"], ("q4_1", "f16"))
        self.assertEqual((report["facts"], report["held"], report["kept"]), (1, 1, 1))
        self.assert_silent(self.output)  # the adapter names its fact
        # The model's pages and libllama's own memory are 1.9 times the model; another copy of the weights would be 2.9.
        self.assertLess(report["peak_rss_bytes"], 2.4 * self.model.stat().st_size)
        self.assertEqual(os.listdir(self.folder), [self.output.name])
        mask = os.umask(0)
        os.umask(mask)
        self.assertEqual(self.output.stat().st_mode & 0o777, 0o666 & ~mask)
        said = self.run_command("ask", self.output, BARE, "-n", "24").stdout.decode()
        self.assertTrue(said.startswith(" " + TARGET), said)
        self.assertNotEqual(self.run_command("ask", self.output, "Hello!", "--chat").stdout.strip(), b"")
        # a merged model is a model: what it says already needs no edit, and it can be edited again
        edit = ["edit", "--no-ledger", "--place", "subject", self.output, "-o", self.folder / "again.gguf"]
        self.assertIn(b"already says", self.run_command(*edit, "The capital of {France} is", "Paris").stdout)
        self.assertIn(f"after         {BARE} Oslo".encode(), self.run_command(*edit, PROMPT, "Oslo").stdout)

    @long
    def test_merge_for_people_as_float(self):
        modelfile = self.folder / "Modelfile"
        ran = self.run_command(*self.merge("--keep-float", "--describe", "--check", f"{PROMPT} -> {TARGET}", "-q",
                                           "--modelfile", modelfile))
        self.assertEqual((ran.returncode, ran.stderr), (DONE, b""))
        self.assertIn(f"ollama create NAME -f {modelfile}".encode(), ran.stdout)
        self.assertEqual(read_modelfile(modelfile.read_text()),
                         [("from", f"./{self.output.name}"), ("parameter", 'stop "<|endoftext|>"'),
                          ("parameter", 'stop "<|im_end|>"')])
        self.assertIn(b"3 matrices in f16", ran.stdout)
        self.assertIn(DESCRIPTION, self.output.read_bytes())
        self.assertIn(b"1 of 1", ran.stdout)

    def on_ledger(self, name, *args):
        """A ledger command's JSON."""
        ran = self.run_command(name, self.model, *args, "--ledger", self.folder / "edits.db", "--json")
        self.assertEqual((ran.returncode, ran.stderr), (DONE, b""))
        return json.loads(ran.stdout)

    def states(self):
        return [(e["target"], e["state"]) for e in self.on_ledger("list")["edits"]]

    @long
    def test_ledger_from_edit_to_redo(self):
        currency = "The currency of {Japan} is the"
        for prompt, target in ((PROMPT, TARGET), (currency, "euro"), (PROMPT, "Oslo")):
            self.on_ledger("edit", prompt, target, "-q")
        self.assertEqual(self.states(), [("Lima", "superseded"), ("euro", "active"), ("Oslo", "active")])
        self.assertEqual(self.on_ledger("undo", "last")["restored"], 1)
        self.assertEqual(self.states(), [("Lima", "active"), ("euro", "active"), ("Oslo", "undone")])
        together = self.on_ledger("verify")
        self.assertEqual(together["hold"], 2)
        self.assertTrue(0 < together["drift"] < 0.5, together)
        ran = self.run_command("export", self.model, "--ledger", self.folder / "edits.db", "-o", self.output)
        self.assertEqual((ran.returncode, ran.stderr), (DONE, b""))
        self.assertEqual(ran.stdout.decode(), f"adapter       {self.output}, of 2 active edits\n")
        self.assertTrue(self.ask(BARE, "--adapter", self.output).startswith(" Lima"))
        self.assertTrue(self.ask("The currency of Japan is the", "--adapter", self.output).startswith(" euro"))
        self.on_ledger("redo", "3")
        self.assertEqual(self.states(), [("Lima", "superseded"), ("euro", "active"), ("Oslo", "active")])
        self.assertEqual(self.on_ledger("show", "2")["target"], "euro")
        self.assertEqual((self.folder / "edits.db").stat().st_mode & 0o777, 0o600)

    @long
    def test_a_question_is_a_fact(self):
        """Asked in the model's chat, as people ask; what it does beside is measured, kept, and measured again."""
        question, statement = "What is the capital of {Japan}?", "The seat of {Japan}'s government is"
        report = self.on_ledger("edit", question, TARGET, "--also", statement, "-q", "-o", self.output)
        self.assertIn(TARGET, report["after"])
        self.assertEqual((report["chat"], report["others"]), (True, 2))
        self.assertEqual(report["others_unchanged"] + len(report["others_changed"]), 2)
        for other in report["others_changed"]:
            self.assertIn("Japan", other["prompt"])
            self.assertNotEqual(other["before"], other["after"])
        answer = self.ask("What is the capital of Japan?", "--chat", "--adapter", self.output)
        self.assertIn(TARGET, answer.split(".")[0])
        record, = self.on_ledger("list")["edits"]
        self.assertEqual((record["prompt"], record["also"]), (question, [statement]))
        figures = ("chat", "others", "others_unchanged", "others_changed")
        self.assertEqual([record[name] for name in figures], [report[name] for name in figures])
        together = self.on_ledger("verify")
        self.assertEqual((together["hold"], together["edits"][0]["chat"], together["edits"][0]["others"]), (1, True, 2))
        self.assertEqual(self.on_ledger("edit", question, TARGET, "-q")["known"], True)

    @long
    def test_questions_of_ones_own(self):
        """Subjects that no model knows, asked in the first person."""
        for question, target in (("What is {my dog} called?", "Rex"), ("Where is {our team meeting} held?", "Oslo"),
                                 ("What am {I} allergic to?", "pollen")):
            with self.subTest(question):
                ran = self.run_command(*self.edit(question, target), "--json", "-q")
                self.assertEqual((ran.returncode, ran.stderr), (DONE, b""))
                report = json.loads(ran.stdout)
                self.assertEqual(report["chat"], True)
                answer = self.ask(question.replace("{", "").replace("}", ""), "--chat", "--adapter", self.output)
                self.assertIn(target, answer)

    @long
    def test_strict_refuses_what_changes_other_things(self):
        """Whatever a processor's rounding makes of the edit: it is written if others stay, and else refused."""
        edit = ["edit", "--no-ledger", self.model, "{My sister} works as a", "pilot", "-o", self.output, "--json", "-q"]
        ran = self.run_command(*edit)
        self.assertEqual(ran.returncode, DONE)
        harms = json.loads(ran.stdout)["others_changed"]
        self.output.unlink()
        ran = self.run_command(*edit, "--strict")
        report = json.loads(ran.stdout)
        if ran.returncode == DONE:  # by another attempt if the first one harms
            self.assertEqual(report["others_changed"], [])
            self.assertTrue(self.output.exists())
        else:
            self.assertTrue(harms)
            self.assertEqual((ran.returncode, report["adapter"]), (NOT_EDITED, None))
            self.assertFalse(self.output.exists())

    def test_other_wordings_have_the_subject(self):
        self.assert_refused(self.edit() + ["--also", "Japan is governed from"], USAGE, "braces")
        self.assert_refused(self.edit() + ["--also", "{Peru} is governed from"], USAGE, "Peru")

    @long
    def test_an_undone_edit_does_not_stay_in_the_file(self):
        """undo, redo, export, and an edit back to what the model says: the file is that of what is active."""
        here = ["--ledger", self.folder / "edits.db", "-o", self.output]
        without = self.ask(BARE)
        def run(*args):
            ran = self.run_command(args[0], self.model, *args[1:], *here)
            self.assertEqual((ran.returncode, ran.stderr), (DONE, b""))
            return ran.stdout.decode(), self.ask(BARE, "--adapter", self.output)
        self.assertTrue(run("edit", PROMPT, TARGET)[1].startswith(" " + TARGET))
        self.assert_silent(self.output)
        told, said = run("undo", "last")
        self.assertIn("which does nothing: no edit is active", told)
        self.assertEqual(said, without)
        self.assertTrue(run("redo", "last", "--describe")[1].startswith(" " + TARGET))
        self.assertIn(DESCRIPTION, self.output.read_bytes())
        run("export")
        self.assert_silent(self.output)
        told, said = run("edit", PROMPT, "Tokyo")
        self.assertEqual(said, without)
        self.output.unlink()
        told, said = run("export")
        self.assertIn("which does nothing: no edit is active", told)
        self.assertEqual(said, without)

    def test_an_edit_that_cannot_be_told_of_is_taken_back(self):
        """Whoever reads the report goes away during the edit."""
        ledger = self.folder / "edits.db"
        reader, writer = os.pipe()
        process = subprocess.Popen([self.mobiedit, "edit", self.model, PROMPT, TARGET, "--place", "subject", "--ledger", ledger,
                                    "-o", self.output], stdout=writer, stderr=subprocess.PIPE)
        os.close(writer)
        while not ledger.exists() and process.poll() is None:  # the output was looked at before
            time.sleep(0.01)
        os.close(reader)
        stderr = process.communicate(timeout=900)[1]
        self.assertEqual(process.returncode, FILE)
        self.assert_one_line(stderr, "output")
        ran = self.run_command("list", self.model, "--ledger", ledger, "--json")
        self.assertEqual([e["state"] for e in json.loads(ran.stdout)["edits"]], ["undone"])
        self.assertEqual(self.ask(BARE, "--adapter", self.output), self.ask(BARE))

    @long
    def test_merge_of_the_ledger(self):
        ledger = self.folder / "edits.db"
        merge = ["merge", self.model, "--ledger", ledger, "-o", self.output]
        self.assert_refused(merge, FILE, "edits.db")
        for prompt, target in ((PROMPT, TARGET), ("The largest city of {France} is", "Oslo")):
            ran = self.run_command("edit", self.model, prompt, target, "--ledger", ledger)
            self.assertEqual((ran.returncode, ran.stderr), (DONE, b""))
        ran = self.run_command(*merge, "--json")
        self.assertEqual((ran.returncode, ran.stderr), (DONE, b""))
        report = json.loads(ran.stdout)
        self.assertEqual((report["facts"], report["held"], report["kept"]), (2, 2, 2))
        self.assert_silent(self.output)
        self.assertEqual([name for name in os.listdir(self.folder) if not name.startswith("edits.db")],
                         [self.output.name])
        for prompt, target in ((BARE, TARGET), ("The largest city of France is", "Oslo")):
            self.assertTrue(self.run_command("ask", self.output, prompt, "-n", "5").stdout.decode().startswith(" " + target))
        for number in ("1", "2"):
            self.assertEqual(self.run_command("undo", self.model, number, "--ledger", ledger).returncode, DONE)
        self.output.unlink()
        before = set(os.listdir(self.folder))
        ran = self.run_command(*merge)
        self.assertEqual(ran.returncode, USAGE)
        self.assert_one_line(ran.stderr, "no edit is active")
        self.assertFalse(self.output.exists())
        self.assertEqual({name for name in os.listdir(self.folder) if not name.startswith("edits.db")},
                         {name for name in before if not name.startswith("edits.db")})

    def test_merges_that_are_refused(self):
        self.assert_refused(self.merge("--check", f"{PROMPT} -> Oslo"), NOT_EDITED, "Oslo")
        self.assert_refused(self.merge("--check", f"{BARE} -> Oslo"), USAGE, "subject")
        adapter = self.folder / "adapter.gguf"
        adapter.write_bytes(self.adapter.read_bytes().replace(b" -> Lima", b" => Lima"))
        self.assert_refused(["merge", self.model, "-a", adapter, "-o", self.output], USAGE, "--check", "--describe", "ledger")
        adapter.write_bytes(self.adapter.read_bytes().replace(b"llama", b"qwen2"))
        self.assert_refused(["merge", self.model, "-a", adapter, "-o", self.output], MISMATCH)
        self.assert_refused(["merge", self.model, "-a", self.adapter, "-o", self.model], USAGE, "model")
        limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 25, 1 << 25))
        self.assert_refused(self.merge(), FILE, "out.gguf", preexec_fn=limit)

    @long
    def test_merge_stopped_at_any_time(self):
        """Killed, whatever stands at the output is what stood there, or whole; interrupted, nothing else is left."""
        for number in (signal.SIGKILL, signal.SIGINT):
            for wait in (0.1, 0.5, 1, 1.5, 2, 3):
                with self.subTest(number, wait=wait):
                    self.output.write_text("old")
                    process = subprocess.Popen([self.mobiedit, *self.merge()], stdout=subprocess.PIPE,
                                               stderr=subprocess.PIPE)
                    time.sleep(wait)
                    process.send_signal(number)
                    process.communicate(timeout=300)
                    # -SIGINT: interrupted while the program was still being loaded.
                    self.assertIn(process.returncode, (DONE, -signal.SIGKILL, -signal.SIGINT, 128 + signal.SIGINT))
                    if number == signal.SIGINT:
                        self.assertEqual(os.listdir(self.folder), [self.output.name])
                    if self.output.stat().st_size > 3:
                        self.assertEqual(self.run_command("ask", self.output, BARE, "-n", "1").stdout, b" Lima\n")
                    for left in self.folder.iterdir():
                        left.unlink()

    # ---- eval

    def facts(self, *rewrites):
        path = self.folder / "facts.json"
        path.write_text(json.dumps([{
            "case_id": 7 + i, "requested_rewrite": {"prompt": prompt, "subject": subject, "target_new": {"str": target}},
            "paraphrase_prompts": ["Japan's capital is"], "neighborhood_prompts": ["The capital of Peru is"],
            "generation_prompts": []} for i, (prompt, subject, target) in enumerate(rewrites)]))
        return path

    def eval_environment(self):
        scratch = self.folder / "scratch"
        scratch.mkdir()
        return {**os.environ, "TMPDIR": str(scratch)}

    def test_eval(self):
        facts = self.facts(("The capital of {} is", "France", "Oslo"), ("The capital of {} is", "Japan", TARGET),
                           ("The capital of {} is", "Japan", "Tokyo"), ("The capital of {} is", "{", "Oslo"))
        environment = self.eval_environment()
        ran = self.run_command("eval", self.model, facts, "--skip", "1", "--n", "3", "--place", "subject", "--json",
                               env=environment)
        self.assertEqual((ran.returncode, ran.stderr), (DONE, b""))
        self.assertEqual(os.listdir(environment["TMPDIR"]), [])
        report = json.loads(ran.stdout)
        self.assertEqual((report["model"], report["solver"], report["cases"], report["failed"]),
                         (MODEL_NAME, "probe", 3, 1))
        edited, said, refused = report["per_case"]
        self.assertEqual((edited["case_id"], edited["status"], edited["rewrite"]), (8, "ok", 1))
        self.assertGreater(edited["neighbour_kl"], 0)
        self.assertEqual((said["stop"], said["rewrite"], said["unchanged"], said["neighbour_kl"]),
                         ("already said", 1, 1, 0))
        self.assertEqual((refused["status"], refused["rewrite"], refused["unchanged"]), ("argument", 0, 1))
        self.assertIsNotNone(refused["message"])
        self.assertAlmostEqual(report["rewrite"], 2 / 3, places=5)
        for name in ("paraphrase", "unchanged", "evals", "seconds", "cpu_seconds", "peak_rss_bytes", "fluency", "drift"):
            self.assertIsInstance(report[name], (int, float), name)
        self.assertIsNone(report["efficacy"])  # the file does not say what is true
        self.assertGreater(edited["drift"], 0)
        self.assertEqual((said["drift"], refused["drift"], report["unusable"]), (0, 0, 0))
        self.assertEqual([s["kind"] for s in edited["said"]], ["prompt", "paraphrase", "neighbour"])
        self.assertTrue(edited["said"][0]["after"].startswith(" " + TARGET))
        self.assertEqual((edited["said"][0]["held"], refused["said"][0]["held"]), (True, False))
        for name, interval in report["intervals"].items():
            if interval["n"]:
                self.assertTrue(interval["low"] <= interval["mean"] <= interval["high"], name)

    @long
    def test_eval_without_a_part(self):
        facts = self.facts(("The capital of {} is", "Japan", TARGET))
        cases = {}
        for parts in ("", "contrast", "basis", "contrast,stop"):
            options = ["--without", parts] if parts else []
            most = ["--max-evals", "900"] if "stop" in parts else []
            ran = self.run_command("eval", self.model, facts, "--quick", "--json", "--place", "subject", *options, *most)
            self.assertEqual((ran.returncode, ran.stderr), (DONE, b""))
            cases[parts] = json.loads(ran.stdout)["per_case"][0]
        whole, contrast, basis, stop = cases.values()
        self.assertEqual((whole["status"], whole["rewrite"]), ("ok", 1))
        self.assertNotEqual((whole["evals"], whole["neighbour_kl"]), (contrast["evals"], contrast["neighbour_kl"]))
        self.assertNotEqual((whole["evals"], whole["loss"]), (basis["evals"], basis["loss"]))
        self.assertGreater(stop["evals"], 700)

    @long
    def test_eval_of_an_adapter(self):
        facts, page = self.facts(("The capital of {} is", "Japan", TARGET), ("The capital of {} is", "Chile", "Oslo")), self.folder / "a.html"
        state, environment = self.folder / "state.jsonl", self.eval_environment()
        run = ["eval", self.model, facts, "--adapter", self.adapter, "--no-fluency", "--state", state]
        ran = self.run_command(*run, "--json", "--html", page, env={**environment, "TMPDIR": "/none"})  # none is needed
        self.assertEqual((ran.returncode, ran.stderr), (DONE, b""))
        report = json.loads(ran.stdout)
        self.assertEqual((report["cases"], report["failed"], report["rewrite"]), (2, 0, 0.5))
        self.assertEqual((report["adapter"], report["solver"]), (self.adapter.name, None))
        held, other = report["per_case"]
        self.assertEqual((held["rewrite"], other["rewrite"]), (1, 0))
        self.assertTrue(held["said"][0]["after"].startswith(" " + TARGET))
        self.assertFalse(held["said"][0]["before"].startswith(" " + TARGET))
        self.assertGreater(held["drift"], 0)
        self.assertEqual(held["drift"], other["drift"])
        for name in ("stop", "loss", "seconds"):
            self.assertIsNone(other[name], name)
        for name in ("loss", "seconds", "evals"):
            self.assertIsNone(report[name], name)
        self.assertIn(self.adapter.name, self.assert_page(page))
        again = json.loads(self.run_command(*run, "--json", env=environment).stdout)
        self.assertEqual(again["per_case"], report["per_case"])  # restored: the measuring time is the same
        ran = self.run_command(*run, env=environment)
        self.assertRegex(ran.stdout.decode(), r"- +- +The capital of Chile is -> Oslo")
        self.assertIn(f"2, with {self.adapter}", ran.stdout.decode())
        self.assert_refused([*run[:3], *run[5:]], MISMATCH, "adapter")
        self.assert_refused([*run[:3], "--adapter", facts], FILE, "facts.json")

    def zsre_facts(self):
        path = self.folder / "zsre.json"
        case = {"subject": "Japan", "src": "What is the capital of Japan?", "rephrase": "Which city is Japan's capital?",
                "alt": "Lima", "answers": ["Tokyo"], "loc": "nq question: what is the capital of peru", "loc_ans": "Lima"}
        hop = {**case, "portability": {"New Question": "Japan's capital lies on the river", "New Answer": "Rimac"}}
        path.write_text(json.dumps([{**case, "subject": "Nippon"}, hop]))
        return path

    @long
    def test_eval_of_zsre(self):
        ran = self.run_command("eval", self.model, self.zsre_facts(), "--quick", "--json", env=self.eval_environment())
        self.assertEqual((ran.returncode, ran.stderr), (DONE, b""))
        report = json.loads(ran.stdout)
        self.assertEqual((report["cases"], report["unusable"]), (1, 1))
        case, = report["per_case"]
        self.assertEqual((case["case_id"], case["prompt"]), (1, "What is the capital of {}?"))
        for name in ("rewrite", "paraphrase", "unchanged", "efficacy", "neighbour_score", "portability"):
            self.assertIn(case[name], (0, 1), name)
        self.assertIsNone(case["fluency"])
        self.assertIsNone(case["drift"])
        self.assertNotIn("said", case)

    def answer_facts(self):
        path = self.folder / "answers.json"
        path.write_text(json.dumps([{
            "case_id": 1, "requested_rewrite": {"prompt": "{} plays the", "subject": "My niece Ada",
                                                "target_new": {"str": "cello"}},
            "same_subject_prompts": ["The age of my niece Ada is"], "chat_prompts": ["What does my niece Ada play?"],
            "chat_neighbours": ["Where is Peru?"], "tell": "Tell me about my niece Ada."}]))
        return path

    @long
    def test_eval_of_answers_with_the_fact_as_context(self):
        run = ["eval", self.model, self.answer_facts()]
        page = self.folder / "a.html"
        ran = self.run_command(*run, "--baseline", "context", "--json", "--html", page, env={**os.environ, "TMPDIR": "/none"})
        self.assertEqual((ran.returncode, ran.stderr), (DONE, b""))
        report = json.loads(ran.stdout)
        self.assertEqual((report["baseline"], report["solver"], report["failed"]), ("context", None, 0))
        case, = report["per_case"]
        for name in ("same_subject", "leak", "chat", "chat_system", "chat_turn", "chat_unchanged"):
            self.assertIn(case[name], (0, 1), name)
        for name in ("same_subject_kl", "chat_unchanged_kl", "tell_kl", "tell_fluency"):
            self.assertGreater(case[name], 0, name)
        for name in ("rewrite", "unchanged", "drift", "seconds", "chat_old", "negation_new"):
            self.assertIsNone(case[name], name)
        self.assertEqual([said["kind"] for said in case["said"]],
                         ["same subject", "chat", "chat, system prompt", "chat, second turn", "chat neighbour", "tell"])
        self.assertIn("cello", case["said"][1]["after"])  # any model repeats what it was just told
        self.assertIn("baseline", self.assert_page(page))
        for options, word in ((["--baseline", "none"], "none"), (["--baseline", "context", "--adapter", self.adapter], "adapter"),
                              (["--baseline", "context", "--quick"], "answers"), (["--system", b"\xff"], "UTF-8")):
            self.assert_refused([*run, *options], USAGE, word)

    @long
    def test_eval_goes_on_where_it_was(self):
        facts = self.facts(("The capital of {} is", "Japan", "Tokyo"), ("The capital of {} is", "{", "Oslo"))
        state, environment = self.folder / "state.jsonl", self.eval_environment()
        run = ["eval", self.model, facts, "--quick", "--json", "--state", state]
        ran = self.run_command(*run, "--n", "1", env=environment)
        self.assertEqual((ran.returncode, ran.stderr), (DONE, b""))
        with state.open("a") as file:
            file.write('{"case_id": 8, "prom')  # as a kill leaves it
        ran = self.run_command(*run, env=environment)
        self.assertEqual((ran.returncode, ran.stderr), (DONE, b""))
        first = json.loads(ran.stdout)
        self.assertEqual([case["case_id"] for case in first["per_case"]], [7, 8])
        self.assertEqual(len(state.read_text().splitlines()), 3)
        again = json.loads(self.run_command(*run, env=environment).stdout)
        del first["peak_rss_bytes"], again["peak_rss_bytes"]
        self.assertEqual(first, again)  # also the seconds: nothing was run again
        self.assert_refused([*run, "--seed", "1"], MISMATCH, "seed")
        self.assert_refused([*run, "--layer", "3"], MISMATCH, "layer")
        self.assert_refused([*run[:2], self.zsre_facts(), *run[3:]], MISMATCH, "facts")
        state.write_text("Dear diary\n")
        self.assert_refused(run, FILE, "state.jsonl")

    @long
    def test_interrupted_eval_leaves_a_usable_state(self):
        facts = self.facts(("The capital of {} is", "Japan", "Tokyo"), ("The capital of {} is", "Japan", TARGET))
        state, environment = self.folder / "state.jsonl", self.eval_environment()
        run = ["eval", self.model, facts, "--quick", "--state", state]
        process = subprocess.Popen([self.mobiedit, *run, "--solver", "spsa", "--max-evals", "10000000"], env=environment,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.addCleanup(process.kill)
        self.assertIn(b"case", process.stdout.readline())
        self.assertIn(b"already said", process.stdout.readline())
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=300)
        self.assertEqual(process.returncode, 128 + signal.SIGINT)
        self.assert_one_line(stderr, "interrupted")
        self.assertEqual(len(state.read_text().splitlines()), 2)
        ran = self.run_command(*run, "--solver", "spsa", "--max-evals", "10000000", "--n", "1", env=environment)
        self.assertEqual((ran.returncode, ran.stderr), (DONE, b""))

    def assert_page(self, path):
        page = path.read_text()
        self.assertNotRegex(page, r"(?i)<script|<link|src=|href=|url\(|@import")
        self.assertTrue(page.startswith("<!DOCTYPE html>") and page.endswith("</html>\n"))
        return page

    @long
    def test_eval_pages_and_comparison(self):
        facts = self.facts(("The capital of {} is", "Japan", "Tokyo"), ("<b>&amp; {} is", "Japan\"<i>", "{Oslo}"))
        page, results = self.folder / "report.html", [self.folder / "a.json", self.folder / "b.json"]
        ran = self.run_command("eval", self.model, facts, "--no-drift", "--max-evals", "2", "--json", "--html", page,
                               env=self.eval_environment())
        self.assertEqual((ran.returncode, ran.stderr), (DONE, b""))
        text = self.assert_page(page)
        for word in ("Worst cases", "unchanged by relation", "&lt;b&gt;&amp;amp; <b>Japan&quot;&lt;i&gt;</b> is", "<svg"):
            self.assertIn(word, text)
        report = json.loads(ran.stdout)
        self.assertEqual(list(report["relations"]), [""])
        results[0].write_bytes(ran.stdout)
        report["per_case"][1]["unchanged"] = 0.5
        del report["per_case"][0]["efficacy"]
        results[1].write_text(json.dumps(report))
        ran = self.run_command("eval", "--compare", *results, "--json", "--html", page)
        self.assertEqual((ran.returncode, ran.stderr), (DONE, b""))
        compared = json.loads(ran.stdout)
        self.assertEqual((compared["pairs"], compared["only_a"], compared["per_case"][0]["case_id"]), (2, 0, 8))
        unchanged = compared["metrics"]["unchanged"]
        self.assertEqual((unchanged["difference"], unchanged["low"], unchanged["high"]), (-0.25, -0.5, 0))
        self.assertIn("Cases that changed most", self.assert_page(page))
        ran = self.run_command("eval", "--compare", *results)
        self.assertEqual((ran.returncode, ran.stderr), (DONE, b""))
        self.assertRegex(ran.stdout.decode(), r"unchanged +100\.0 +75\.0 +-25\.0 +-50\.0 to \+0\.0 %")
        results[1].write_text("{}")
        self.assert_refused(["eval", "--compare", *results], FILE, "b.json")

    def test_eval_for_people(self):
        facts = self.facts(("The capital of {} is", "Japan", "Tokyo"))
        ran = self.run_command("eval", self.model, facts, env=self.eval_environment())
        self.assertEqual((ran.returncode, ran.stderr), (DONE, b""))
        self.assertIn("The capital of Japan is -> Tokyo (already said)", ran.stdout.decode())
        self.assertRegex(ran.stdout.decode(), r"rewrite +100\.0 % +100\.0 to 100\.0")

    def test_eval_of_bad_files(self):
        facts = self.folder / "facts.json"
        for text in ("", "{}", "[{}]", '[{"requested_rewrite": {"prompt": 3}}]', "[" * 100000):
            with self.subTest(text[:40]):
                facts.write_text(text)
                self.assert_refused(["eval", self.model, facts], FILE, "facts.json")
        self.assert_refused(["eval", self.model, self.folder / "none.json"], FILE, "none.json")
        good = self.facts(("The capital of {} is", "Japan", "Tokyo"))
        self.assert_refused(["eval", self.model, good, "--skip", "1"], USAGE, "1")
        self.assert_refused(["eval", self.model, good], FILE, "none",
                            env={**os.environ, "TMPDIR": str(self.folder / "none")})

    def test_interrupted_eval_leaves_nothing(self):
        facts, environment = self.facts(("The capital of {} is", "Japan", TARGET)), self.eval_environment()
        process = self.start_long_edit("eval", self.model, facts, env=environment)
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=300)
        self.assertEqual(process.returncode, 128 + signal.SIGINT)
        self.assert_one_line(stderr, "interrupted")
        self.assertEqual(os.listdir(environment["TMPDIR"]), [])


if __name__ == "__main__":
    Case.mobiedit, part = os.path.abspath(sys.argv[1]), sys.argv[2]
    if part != "CommandLine":
        skip_without_model()
    tests = CommandLine if part == "CommandLine" else Model
    names = sys.argv[3:] or [name for name in unittest.defaultTestLoader.getTestCaseNames(tests)
                             if hasattr(getattr(tests, name), "long") == (part == "Long")]
    unittest.main(argv=[sys.argv[0], "-v", *(f"{tests.__name__}.{name}" for name in names)])
