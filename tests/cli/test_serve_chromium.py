"""The page of mobiedit serve in a real Chromium.

  test_serve_chromium.py MOBIEDIT

With MOBIEDIT_SCREENSHOTS=FOLDER, what the page looks like is written there (doc/serve.md shows it). Exit status 77
without a model, Chromium or its driver (scripts/setup.sh --browser).
"""
import os
import pathlib
import re
import subprocess
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from served_page import Served, page_folder
from testing import SKIPPED, free_port, link_model, scratch_folder, skip_without_model
from webdriver import ELEMENT, ENTER, TAB, Browser, find_chromium

QUESTION = "What is the capital of Japan?"


class Page(unittest.TestCase):
    """One after the other, each with what the others leave."""
    mobiedit = None

    @classmethod
    def setUpClass(cls):
        cls.folder, cls.model = scratch_folder(cls.addClassCleanup, "chromium"), link_model(cls.addClassCleanup)
        cls.port = str(free_port())
        cls.server = Served(cls.mobiedit, cls.model, "--port", cls.port)
        cls.addClassCleanup(lambda: cls.server.close())
        cls.browser = Browser(cls.folder)
        cls.addClassCleanup(cls.browser.close)
        cls.browser.open(cls.server.url)

    def show(self, name, width=1280, scheme="light", most=3000):
        """The page fits the width; its picture, as high as the page but not higher than most, is kept if that is asked for."""
        self.browser.look(width, 600, scheme)
        self.assertLessEqual(self.browser.run("return document.documentElement.scrollWidth"), width)
        self.browser.look(width, min(self.browser.run("return document.documentElement.scrollHeight"), most), scheme)
        if folder := os.environ.get("MOBIEDIT_SCREENSHOTS"):
            self.browser.screenshot(pathlib.Path(folder) / f"serve-{name}.png")
        self.browser.look(1280, 1000, "light")

    def texts(self, selector):
        return self.browser.run("return [...document.querySelectorAll(arguments[0])].map(e => e.innerText)", selector)

    def answers(self):
        return self.texts("#messages .assistant .text")

    def ask(self, question=QUESTION):
        """In a conversation of its own: what was said before is no part of it."""
        self.browser.click("#clear")
        self.browser.type("#question", question + ENTER)
        self.browser.wait(lambda: self.browser.text("#answering") == "The model has answered.")
        return self.answers()[-1]

    def is_enabled(self, selector):
        return self.browser.run("return !document.querySelector(arguments[0]).disabled", selector)

    def marks(self):
        return self.browser.text("#subject-text"), self.browser.text("#target-text")

    def status(self):
        return self.browser.text("#work-status")

    def await_work(self):
        self.browser.wait(lambda: self.browser.is_shown("#work") and not self.browser.is_shown("#running"))

    def act(self, selector, said):
        """Presses a button that begins a change, and waits for its end."""
        self.browser.wait(lambda: self.browser.is_shown(selector))
        self.browser.click(selector)
        self.browser.wait(lambda: not self.browser.is_shown("#running") and said in self.status())

    def test_1_ask(self):
        self.assertIn("Tokyo", self.ask())
        self.show("ask")

    def test_2_correct(self):
        browser = self.browser
        browser.click("#messages .wrong")
        self.assertEqual(browser.text("#wrong-question"), QUESTION)
        browser.type("#sentence", "The capital of Japan is Lima.")
        browser.wait(lambda: "Proposed" in browser.text("#marks-status"))
        self.assertEqual(self.marks(), ("Japan", "Lima"))
        # Both marks move, by keys and by pressing words.
        browser.run("document.querySelector('[data-mark=subject] button').focus()")
        browser.press(ENTER)
        self.assertEqual(self.marks(), ("of Japan", "Lima"))
        browser.press(TAB, ENTER)
        self.assertEqual(self.marks(), ("Japan", "Lima"))
        browser.click("#words button:nth-child(2)")
        self.assertEqual(self.marks(), ("capital of Japan", "Lima"))
        browser.click("#words button:nth-child(2)")
        self.assertEqual(self.marks(), ("capital", "Lima"))
        browser.click("#words button:nth-child(4)")
        self.assertEqual(self.marks(), ("capital of Japan", "Lima"))
        browser.click("#words button:nth-child(4)")
        self.assertEqual(self.marks(), ("Japan", "Lima"))
        # The same in other words, by keys.
        browser.run("at('add-wording').focus()")
        browser.press(ENTER)
        browser.press(*"Peru is ruled from Lima.")
        browser.wait(lambda: "Wording 1" in browser.text("#also-status") and "Japan" in browser.text("#also-status"))
        self.assertFalse(self.is_enabled("#make"))
        browser.press(TAB, ENTER)  # it is removed
        self.assertEqual(self.texts("#also li"), [])
        self.assertTrue(self.is_enabled("#make"))
        browser.press(ENTER)  # the button to add one has the focus
        browser.press(*"Japan's capital is called Lima.")
        self.show("correct")
        self.show("correct-dark", scheme="dark")
        self.show("correct-phone", 390, "dark")
        self.show("correct-phone-light", 390)

    def test_2a_wordings_get_their_braces(self):
        for wording, subject, target, expect in (
                ("Japan's capital is called Lima.", "Japan", "Lima", "{Japan}'s capital is called"),
                ("Which city is the capital of Japan?", "Japan", "Lima", "Which city is the capital of {Japan}?"),
                ("Is it Lima?", "it", "Lima", "Is {it} Lima?"),
                ("Italy is not what it is", "it", "Lima", "Italy is not what {it} is"),
                ("my cat is called", "My cat", "Pepper", "{my cat} is called"),
                ("The code of {x} is", "x", "1", "The code of {x} is"),
                ("日本的首都是利马。", "日本", "利马", "{日本}的首都是"),
                ("Japan", "Japan", "Lima", None), ("Japanese", "Japan", "Lima", None), ("Peru is", "Japan", "Lima", None)):
            with self.subTest(wording):
                self.assertEqual(self.browser.run("return wordingPrompt(...arguments)", wording, subject, target), expect)

    def test_3_edit_in_two_tabs_with_a_reload(self):
        browser = self.browser
        first = browser.tab()
        browser.click("#make")
        browser.wait(lambda: browser.is_shown("#running"))
        second = browser.new_tab()
        browser.open(self.server.url)
        browser.wait(lambda: browser.is_shown("#running"))  # it shows what goes on
        told = "return begin('api/edits', {prompt: '{a} b', target: 'c'}).then(() => at('work-error').textContent)"
        self.assertIn("one change at a time", browser.run(told))
        browser.switch(first)
        browser.run("location.reload()")
        browser.wait(lambda: "Tokyo" in "".join(self.answers()))  # the conversation is still there
        self.await_work()
        self.assertIn("The model now says it. Edit 1 is recorded", self.status())
        rows, kinds = self.texts("#outcome li"), self.texts("#outcome h4")
        self.assertTrue(any(all(part in row for part in (QUESTION, "Tokyo", "Lima", "✓")) for row in rows), rows)
        self.assertEqual([kind.split(":")[0] for kind in kinds], [
            "The fact", "In other words", "In a chat", "Other things about it", "An account of it", "Others like it"])
        self.assertEqual(kinds[0], "The fact: 1 of 1 as they should be")
        self.assertEqual(self.server.json("api/state")["edits"][0]["also"], ["{Japan}'s capital is called"])
        self.show("edited", most=1300)
        self.show("edited-dark", scheme="dark", most=1300)
        self.show("edited-phone", 390)
        browser.switch(second)
        browser.wait(lambda: "Edit 1 is recorded" in self.status())
        browser.send("DELETE", browser.session + "/window")
        browser.switch(first)

    def test_4_it_holds_and_is_undone(self):
        self.assertIn("Lima", self.ask())
        self.act("#edits li button", "Edit 1 is undone")
        self.assertIn("Tokyo", self.ask())
        self.assertFalse(self.browser.is_shown("#export"))
        self.act("#edits li button", "Edit 1 is active again")
        self.assertIn("Lima", self.ask())
        self.act("#verify", "1 of 1 active edits hold")
        self.assertIn("holds", self.browser.text("#edits li"))

    def test_4a_what_else_was_asked_is_shown(self):
        browser = self.browser
        self.assertIn("other things unchanged", browser.text("#edits details"))
        self.assertFalse(browser.is_shown("#edits details li"))
        browser.run("document.querySelector('#edits summary').focus()")
        browser.press(ENTER)
        rows = self.texts("#edits details li")
        self.assertEqual(len(rows), 2)
        self.assertTrue(all(part in row for row in rows for part in ("Japan", "Before", "After", "as it should be")), rows)
        self.act("#verify", "1 of 1 active edits hold")
        self.assertTrue(browser.is_shown("#edits details li"))  # it stays unfolded
        self.show("asked-phone", 390, "dark")

    def test_4b_a_refusal_shows_why(self):
        """As the program tells it; whether an edit is refused depends on the processor's rounding."""
        job = {"number": 99, "kind": "edit", "state": "failed", "request": {"prompt": "{a} is", "target": "b"},
               "progress": {}, "result": None, "error": {"kind": "not verified", "message": "it changes something else"},
               "checks": [{"kind": "same_subject", "prompt": "A is best known for", "before": "c", "after": "b",
                           "held": False}]}
        self.browser.run("clearTimeout(timer); state.job = arguments[0]; showWork()", job)
        self.assertEqual(self.browser.text("#work-error"), "it changes something else")
        self.assertEqual(self.texts("#outcome h4"), ["Other things about it: 0 of 1 as they should be"])
        self.assertIn("✗ not as it should be", self.browser.text("#outcome li"))
        self.browser.run("look()")
        self.browser.wait(lambda: self.browser.text("#work-error") == "")

    def test_5_export_and_merge(self):
        self.browser.click("#export")
        self.browser.wait(lambda: list(self.folder.glob("*-edits.gguf")))
        file = next(self.folder.glob("*-edits.gguf"))
        said = subprocess.run([self.mobiedit, "ask", self.model, "The capital of Japan is", "-a", file, "-n", "4"],
                              capture_output=True, text=True, check=True, timeout=600).stdout
        self.assertIn("Lima", said)
        self.act("#merge button", "1 of 1 facts are said by it")
        self.assertEqual(len(list(self.model.parent.glob("*-edited.gguf"))), 1)

    def test_6_an_answer_cut_off_by_a_reload_is_asked_for_again(self):
        browser = self.browser
        browser.type("#question", "Tell me a long story." + ENTER)
        browser.wait(lambda: self.answers()[-1] and browser.is_shown("#stop"))
        browser.run("location.reload()")
        browser.wait(lambda: browser.text("#answering") == "The model has answered." or browser.is_shown("#stop"))
        browser.wait(lambda: self.answers()[-1])
        if browser.is_shown("#stop"):
            browser.click("#stop")
        browser.wait(lambda: not browser.is_shown("#stop"))
        self.assertTrue(self.answers()[-1])

    def test_7_everything_has_a_name(self):
        browser = self.browser
        browser.click("#clear")
        browser.click("#teach")
        browser.type("#sentence", "GitHub's chief executive is Ada Lovelace.")
        browser.wait(lambda: "Proposed" in browser.text("#marks-status"))
        self.assertEqual(self.marks(), ("GitHub", "Ada Lovelace"))
        browser.click("#add-wording")
        browser.press(*"GitHub is led by")
        for control in browser.find_all("button, input, textarea, a, section, ol, progress"):
            if browser.send("GET", f"{browser.session}/element/{control}/displayed"):
                self.assertTrue(browser.label(control), browser.run("return arguments[0].outerHTML", {ELEMENT: control}))
        # The keyboard gets to everything: one stop for a group of radio buttons.
        reached = set()
        browser.run("document.activeElement.blur()")
        for _ in range(80):
            browser.press(TAB)
            reached.add(browser.run("return document.activeElement.id || document.activeElement.textContent"))
        wanted = {"question", "send", "clear", "teach", "sentence", "add-wording", "also-0", "place", "strict",
                  "make", "close", "export", "verify", "merge-name"}
        self.assertLessEqual(wanted, reached)
        browser.click("#close")

    def test_8_the_server_is_killed(self):
        browser = self.browser
        browser.click("#teach")
        browser.type("#sentence", "The official currency of Japan is the Lira.")
        browser.wait(lambda: "Proposed" in browser.text("#marks-status"))
        browser.click("#strict")
        browser.click("#make")
        browser.wait(lambda: browser.is_shown("#running"))
        self.server.kill()
        browser.wait(lambda: "does not answer" in browser.text("#trouble"))
        self.show("killed")
        type(self).server = Served(self.mobiedit, self.model, "--port", self.port)
        browser.open(self.server.url)
        browser.wait(lambda: browser.is_shown("#unfinished"))
        self.assertIn("Japan", browser.text("#unfinished-fact"))
        self.assertTrue(self.server.json("api/state")["unfinished"]["strict"])
        self.assertIn("Edit 1, active", browser.text("#edits"))
        self.show("unfinished")
        self.assertIn("Lima", self.ask())
        browser.click("#unfinished-drop")
        browser.wait(lambda: not browser.is_shown("#unfinished"))

    def test_9_colours_can_be_read(self):
        """Of text on its ground, at least 4.5 to 1 (WCAG 2.2, 1.4.3)."""
        def luminance(colour):
            parts = [int(colour[i:i + 2], 16) / 255 for i in (1, 3, 5)]
            return sum(w * (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4)
                       for w, p in zip((0.2126, 0.7152, 0.0722), parts))
        schemes = [dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6}|#[0-9a-f]{3});", block))
                   for block in re.findall(r":root \{(.*?)\}", (page_folder() / "page.css").read_text(), re.DOTALL)]
        self.assertEqual(len(schemes), 2)
        for scheme in schemes:
            scheme = {name: value if len(value) == 7 else "#" + "".join(2 * c for c in value[1:])
                      for name, value in scheme.items()}
            for pair in ("ink ground, ink panel, soft panel, soft ground, accent panel, on-accent accent, good panel, "
                         "bad panel, bad ground, ink subject, ink target, ink mine, soft mine").split(", "):
                a, b = sorted(luminance(scheme[name]) for name in pair.split())
                self.assertGreaterEqual((b + 0.05) / (a + 0.05), 4.5, pair)


if __name__ == "__main__":
    Page.mobiedit = sys.argv[1]
    skip_without_model()
    if not find_chromium():
        print("skipped: no Chromium with its driver")
        sys.exit(SKIPPED)
    unittest.main(argv=[sys.argv[0], "-v", *sys.argv[2:]])
