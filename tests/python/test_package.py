"""The Python package on a real model: what it gives is what the library gives, and what fails is an exception.

  test_package.py PACKAGE Failures    without a model
  test_package.py PACKAGE Edits       an edit with its ledger, and its merge
  test_package.py PACKAGE Asking
  test_package.py PACKAGE Measuring

Exit status 77 where the real model is not there.
"""
import json
import math
import pathlib
import sys
import threading
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from testing import link_model, scratch_folder, skip_without_model

PROMPT, TARGET = "The capital of {Japan} is", "Lima"
PLAIN = "The capital of Japan is"
FEW = 40  # evaluations of an edit that is not to be solved


class Failures(unittest.TestCase):
    def setUp(self):
        self.folder = scratch_folder(self.addCleanup, "python")

    def test_errors_have_the_librarys_message_and_are_pythons_too(self):
        with self.assertRaises(mobiedit.FileError) as caught:
            mobiedit.Model(self.folder / "none.gguf")
        self.assertIn("none.gguf", str(caught.exception))
        self.assertEqual(caught.exception.status, mobiedit.Status.E_IO)
        self.assertIsInstance(caught.exception, OSError)
        damaged = self.folder / "damaged.gguf"
        damaged.write_bytes(b"no GGUF at all, but long enough")
        with self.assertRaises(mobiedit.FormatError) as caught:
            mobiedit.Model(damaged)
        self.assertIsInstance(caught.exception, mobiedit.MobiEditError)

    def test_every_status_has_its_class(self):
        for status in mobiedit.Status:
            if status != mobiedit.Status.OK:
                error = errors.error_of(status, "text")
                self.assertEqual((error.status, str(error)), (status, "text"))

    def test_what_the_library_would_not_see_is_refused(self):
        self.assertRaises(ValueError, mobiedit.Model, "a\0b")
        self.assertRaises(ValueError, mobiedit.Model, self.folder / "none.gguf", threads=1 << 40)
        self.assertRaises(mobiedit.ArgumentError, mobiedit.Model, self.folder / "none.gguf", backend="a\tb")

    def test_a_bar_shows_edits_and_steps(self):
        class Bar:
            n = total = text = None

            def set_description_str(self, desc=None, refresh=True):
                self.text = desc

            def set_postfix_str(self, s="", refresh=True):
                self.text += f" {s}"

            def refresh(self):
                self.shown = (self.n, self.total, self.text)

        bar = Bar()
        progress = mobiedit.bar_progress(bar)
        self.assertIsNone(progress(3, 10))
        self.assertEqual(bar.shown, (3, 10, None))
        bar = Bar()
        mobiedit.bar_progress(bar)(mobiedit.Progress(mobiedit.Stage.SOLVE, 13, 2, 0.5, 3, 9, 120, 1.0))
        self.assertEqual(bar.shown, (120, None, "solve, layer 13 loss 0.500, 3 of 9 texts"))

    def test_the_machine_is_told(self):
        devices = mobiedit.devices()
        self.assertEqual([device.name for device in devices[:2]], ["native", "llama"])
        self.assertIn("scalar", devices[0].kernels)
        self.assertEqual(mobiedit.solvers(), ("probe", "spsa"))
        self.assertRegex(mobiedit.llama_version(), r"^\d+\.\d+\.")
        self.assertRegex(mobiedit.ggml_version(), r"^\d+\.\d+\.")
        self.assertIsInstance(mobiedit.idle_watts(0.01), float)


class WithModel(unittest.TestCase):
    def setUp(self):
        skip_without_model()
        self.path = link_model(self.addCleanup)
        self.folder = self.path.parent
        self.model = mobiedit.Model(self.path)
        self.addCleanup(self.model.close)


class Edits(WithModel):
    def test_an_edit_from_its_making_to_its_merge(self):
        adapter, merged = self.folder / "lima.gguf", self.folder / "merged.gguf"
        seen = []
        result = self.model.edit(PROMPT, TARGET, output=adapter, progress=seen.append, layer=13, max_after_tokens=8)
        self.check_edit(result, seen)
        self.assertIn(TARGET, self.model.ask(PLAIN, adapter=adapter, max_tokens=8))
        self.check_ledger(result)
        merge = self.model.ledger.merge(merged, modelfile=self.folder / "Modelfile")
        self.assertEqual((merge.facts, merge.held, merge.kept), (1, 1, 1))
        self.assertIn("FROM ./merged.gguf\n", (self.folder / "Modelfile").read_text())
        with mobiedit.Model(merged) as other:
            self.assertIn(TARGET, other.ask(PLAIN, max_tokens=8))
        self.check_import()

    def check_edit(self, result, seen):
        self.assertIn(TARGET, result.after)
        self.assertNotIn(TARGET, result.before)
        self.assertEqual((result.solve.layer, result.solve.stop), (13, mobiedit.Stop.SOLVED))
        self.assertEqual(result.trace[-1].evaluations <= result.solve.evaluations, True)
        self.assertAlmostEqual(min(point.loss for point in result.trace), result.solve.loss, places=5)
        self.assertEqual((result.change.id, result.change.known), (1, False))
        self.assertEqual(len(result.asides.others), 2)
        self.assertIs(type(result.asides.chat), bool)
        self.assertEqual(seen[0].stage, mobiedit.Stage.PREPARE)
        self.assertEqual(seen[-1].stage, mobiedit.Stage.VERIFY)
        self.assertTrue(math.isnan(seen[0].loss))

    def check_ledger(self, result):
        ledger = self.model.ledger
        [record] = ledger.list()
        self.assertEqual((record.prompt, record.target, record.state), (PROMPT, TARGET, mobiedit.RecordState.ACTIVE))
        self.assertEqual((record.before, record.after, record.solve.layer), (result.before, result.after, 13))
        self.assertEqual(ledger.record(1), record)
        self.assertRaises(mobiedit.ArgumentError, ledger.record, 2)
        self.assertEqual(ledger.undo().id, 1)
        self.assertEqual(ledger.record(1).state, mobiedit.RecordState.UNDONE)
        self.assertNotIn(TARGET, self.model.ask(PLAIN, edited=True, max_tokens=8))
        self.assertEqual(ledger.redo(1).id, 1)
        self.assertIn(TARGET, self.model.ask(PLAIN, edited=True, max_tokens=8))
        verified = []
        summary = ledger.verify(on_record=verified.append)
        self.assertEqual((summary.active, summary.hold), (1, 1))
        self.assertEqual([record.holds for record in verified], [True])

    def check_import(self):
        facts = self.folder / "facts.csv"
        facts.write_text("prompt,target\nThe capital of {Japan} is,Lima\nno subject,Lima\n")
        told = []
        summary = self.model.ledger.import_facts(facts, on_fact=told.append)
        self.assertEqual((summary.known, summary.unusable, summary.all.hold), (1, 1, 1))
        self.assertEqual([fact.outcome for fact in told], [mobiedit.FactOutcome.UNUSABLE, mobiedit.FactOutcome.KNOWN])
        self.assertIsNone(told[0].prompt)

    def test_an_edit_that_is_not_solved_tells_what_is_known(self):
        with self.assertRaises(mobiedit.NotSolvedError) as caught:
            self.model.edit(PROMPT, TARGET, max_evaluations=FEW, place="subject")
        self.assertGreater(caught.exception.result.solve.evaluations, 0)
        self.assertIsNone(caught.exception.result.after)
        self.assertEqual(self.model.ledger.list(), ())

    def test_what_a_callback_raises_comes_out(self):
        output = self.folder / "never.gguf"
        for raised in (KeyboardInterrupt, ZeroDivisionError):
            def progress(_now, raised=raised):
                raise raised
            self.assertRaises(raised, self.model.edit, PROMPT, TARGET, record=False, output=output, progress=progress)
        self.assertRaises(mobiedit.CancelledError, self.model.edit, PROMPT, TARGET, record=False, output=output,
                          progress=lambda _now: False)
        self.assertRaises(RuntimeError, self.model.edit, PROMPT, TARGET, progress=lambda _now: self.model.inspect())
        self.assertFalse(output.exists())

    def test_requests_are_checked(self):
        self.assertRaises(mobiedit.ArgumentError, self.model.edit, "no subject", TARGET)
        self.assertRaises(TypeError, self.model.edit, PROMPT, TARGET, record=False)
        self.assertRaises(TypeError, self.model.edit, PROMPT, TARGET, colour="red")
        self.assertRaises(TypeError, self.model.edit, PROMPT, TARGET, keep="a text, not a list")
        self.assertRaises(ValueError, self.model.edit, PROMPT, TARGET, seed=-1)
        self.assertRaises(mobiedit.ArgumentError, self.model.edit, PROMPT, TARGET, solver="none")

    def test_handles_close_in_order(self):
        ledger, chat = self.model.ledger, self.model.chat()
        self.model.close()
        self.model.close()
        self.assertTrue(ledger.closed and chat.closed)
        for use in (self.model.inspect, ledger.list, lambda: chat.ask(PLAIN), lambda: self.model.ledger):
            self.assertRaises(ValueError, use)
        self.assertEqual(list(self.folder.glob("*.db")), [], "a ledger in which nothing was recorded")


class Asking(WithModel):
    def test_text_comes_in_pieces_and_may_be_stopped(self):
        pieces = []
        whole = self.model.ask(PLAIN, max_tokens=8, on_text=pieces.append)
        self.assertEqual("".join(pieces), whole)
        self.assertGreater(len(pieces), 2)
        self.assertEqual(self.model.ask(PLAIN, max_tokens=8, on_text=lambda _piece: False), pieces[0])

    def test_a_chat_says_what_the_model_says(self):
        question = "What is the capital of France?"
        turns = [("user", "Hello."), ("assistant", "Hello.")]
        with self.model.chat(n_context=256) as chat:
            self.assertEqual(chat.ask(PLAIN, max_tokens=8), self.model.ask(PLAIN, max_tokens=8))
            self.assertEqual(chat.ask(question, chat=True, turns=turns, max_tokens=8),
                             self.model.ask(question, chat=True, turns=turns, max_tokens=8))
            self.assertRaises(mobiedit.ArgumentError, chat.ask, question, chat=True, turns=[("nobody", "?")])
            self.assertRaises(mobiedit.FileError, chat.attach, self.folder / "none.gguf")
            self.check_propose(chat)
            self.check_score(chat)
            self.check_threads(chat)

    def check_propose(self, chat):
        proposal = chat.propose("The capital of Perú is Lima.")
        self.assertEqual((proposal.prompt, proposal.target), ("The capital of {Perú} is", "Lima"))

    def check_score(self, chat):
        said = self.model.ask(PLAIN, max_tokens=3)
        score = chat.score(PLAIN, said)
        self.assertEqual((score.tokens, score.accuracy), (score.likeliest, 1))
        other = chat.score(PLAIN, TARGET)
        self.assertLess(other.accuracy, 1)
        self.assertEqual(other.likeliest[0], score.tokens[0])
        self.assertLess(other.log_probs[0], score.log_probs[0])
        self.assertRaises(mobiedit.ArgumentError, chat.score, PLAIN, "")
        question = "What is the capital of Japan?"
        answer = self.model.ask(question, chat=True, max_tokens=4)
        self.assertEqual(chat.score(question, answer, chat=True).accuracy, 1)

    def check_threads(self, chat):
        answers = []
        threads = [threading.Thread(target=lambda: answers.append(chat.ask(PLAIN, max_tokens=4))) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(answers, [chat.ask(PLAIN, max_tokens=4)] * 3)

    def test_a_check_asks_before_and_after(self):
        adapter = self.folder / "none.gguf"
        self.model.ledger.export(adapter)
        with self.model.chat() as chat:
            said = chat.check(PROMPT, TARGET, after=adapter, questions=["What is the capital of Japan?"])
        self.assertEqual(said[0].kind, mobiedit.SaidKind.PROMPT)
        self.assertEqual({answer.before == answer.after for answer in said}, {True}, "an adapter that does nothing")


class Measuring(WithModel):
    def test_an_evaluation_of_one_fact(self):
        facts = self.folder / "facts.json"
        facts.write_text(json.dumps([{"prompt": PLAIN, "subject": "Japan", "target_new": TARGET, "ground_truth": "Tokyo",
                                      "rephrase_prompt": "Japan's capital is the city of"}]))
        cases, steps = [], []
        summary = self.model.eval(facts, fluency=False, drift=False, answers=False, said=False,
                                  on_case=lambda case, index, total: cases.append((case, index, total)),
                                  progress=lambda *step: steps.append(step))
        [(case, index, total)] = cases
        self.assertEqual((index, total, steps, summary.cases, summary.failed), (0, 1, [(1, 1)], 1, 0))
        self.assertEqual((case.status, case.subject, case.metrics.rewrite), (mobiedit.Status.OK, "Japan", 1))
        self.assertTrue(math.isnan(case.metrics.fluency))
        self.assertEqual(summary.figure("rewrite").mean, 1)
        self.assertRaises(KeyError, summary.figure, "none")

    def test_a_calibration_can_be_cancelled(self):
        steps = []

        def progress(done, total):
            steps.append((done, total))
            return False

        self.assertRaises(mobiedit.CancelledError, self.model.calibrate, layer=13, progress=progress)
        self.assertEqual(len(steps), 1)
        self.assertLess(*steps[0])
        self.assertEqual(self.model.layer_trials(), ())

    def test_a_model_is_inspected(self):
        inspection = self.model.inspect()
        self.assertEqual((inspection.architecture, inspection.layers, inspection.layer, inspection.subject_layer),
                         ("llama", 30, 26, 13))
        self.assertEqual(inspection.calibration, mobiedit.CalibrationState.NONE)
        self.assertEqual(inspection.model_bytes, self.path.stat().st_size)
        self.assertEqual(inspection.files, (mobiedit.ModelFile(str(self.path), inspection.model_bytes),))

    def test_what_an_edit_takes_is_measured(self):
        time = self.model.time_edit(max_evaluations=50, place="answer")
        self.assertEqual(time.evaluations, 50)
        self.assertGreater(time.seconds, 50 / time.evaluations_a_second)
        self.assertRaises(mobiedit.CancelledError, self.model.time_edit, progress=lambda _now: False)
        self.assertRaises(mobiedit.ArgumentError, self.model.time_edit, layer=99)


if __name__ == "__main__":
    sys.path.insert(0, sys.argv.pop(1))
    import mobiedit
    from mobiedit import errors
    unittest.main()
