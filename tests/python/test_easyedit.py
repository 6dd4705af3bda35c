"""A script that was written for EasyEdit runs on a GGUF model by another import, and gets metrics in EasyEdit's shape.

  test_easyedit.py PACKAGE Parameters    without a model
  test_easyedit.py PACKAGE Script

Exit status 77 where the real model is not there.
"""
import json
import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from testing import link_model, scratch_folder, skip_without_model

# What EasyEdit's users write, with the arguments of its examples.
SCRIPT = """
import json
from easyeditor import BaseEditor, ROMEHyperParams

hparams = ROMEHyperParams.from_hparams(hparams_file)
editor = BaseEditor.from_hparams(hparams)
metrics, edited_model, _ = editor.edit(
    prompts=[case["prompt"] for case in cases],
    ground_truth=[case["truth"] for case in cases],
    target_new=[case["target"] for case in cases],
    subject=[case["subject"] for case in cases],
    rephrase_prompts=[case["rephrase"] for case in cases],
    locality_inputs={"neighborhood": {"prompt": [case["loc"] for case in cases],
                                      "ground_truth": [case["loc_ans"] for case in cases]}},
    portability_inputs={"one_hop": {"prompt": [case["hop"] for case in cases],
                                    "ground_truth": [case["hop_ans"] for case in cases]}},
    keep_original_weight=True,
    sequential_edit=sequential)
with open(results_file, "w") as file:
    json.dump(metrics, file, indent=4)
"""
# What heads three of its examples: run_wise_editing.py, run_SPHERE_editing.py, run_knowedit_llama2.py.
IMPORTS = """
from easyeditor import (
    FTHyperParams, GraceHyperParams, MEMITHyperParams, ROMEHyperParams, MENDHyperParams, WISEHyperParams, BaseEditor,
    summary_metrics)
from easyeditor import AlphaEditHyperParams, SPHEREHyperParams
from easyeditor import IKEHyperParams, KNHyperParams, LoRAHyperParams, SERACHparams
"""
CASES = [{"prompt": "The capital of Japan is", "truth": "Tokyo", "target": "Lima", "subject": "Japan",
          "rephrase": "Japan's capital is the city of", "loc": ["The capital of France is", "The capital of Italy is"],
          "loc_ans": ["Paris", "Rome"], "hop": "The main language in the capital of Japan is", "hop_ans": "Spanish"},
         {"prompt": "What is the capital of Kenya?", "truth": "Nairobi", "target": "Oslo", "subject": "Kenya",
          "rephrase": "Which city is Kenya's capital?", "loc": None, "loc_ans": None, "hop": "", "hop_ans": ""}]


def run_as_mobiedit(script, names):
    exec(script.replace("from easyeditor import", "from mobiedit.easyedit import"), names)


class Parameters(unittest.TestCase):
    def test_names_of_the_examples_are_there(self):
        names = {}
        run_as_mobiedit(IMPORTS, names)
        self.assertTrue(all(names[name] is easyedit.HyperParams for name in names if name.lower().endswith("params")))

    def read(self, text):
        file = scratch_folder(self.addCleanup, "hparams") / "model.yaml"
        file.write_text(text)
        return easyedit.ROMEHyperParams.from_hparams(file.with_suffix(""))

    def test_a_file_of_easyedits_is_read(self):
        hparams = self.read('alg_name: "ROME"\nmodel_name: "a #1.gguf"  # the file\nstats_dir: "./stats"\nlayers: [17]\n'
                            "layer: 3\nplace: answer\nuse_chat_template:\nseed: 7 # odd\nmodel_parallel: false\n")
        self.assertEqual(hparams, easyedit.HyperParams("a #1.gguf", layer=3, place="answer", seed=7))
        self.assertEqual(hparams.alg_name, "MobiEdit")

    def test_what_cannot_be_meant_is_refused(self):
        for text in ("seed: 1\n", "model_name:\n", "model_name: m.gguf\nseed: many\n", "model_name: m.gguf\nseed:\n",
                     "model_name: m.gguf\nuse_chat_template: 1\n"):
            self.assertRaises(ValueError, self.read, text)


class Script(unittest.TestCase):
    def setUp(self):
        skip_without_model()
        self.path = link_model(self.addCleanup)
        self.folder = self.path.parent

    def run_script(self, cases, sequential):
        hparams = self.folder / "smollm2.yaml"
        hparams.write_text(f"alg_name: ROME\nmodel_name: {self.path}\ndevice: 0\n")
        names = {"hparams_file": str(hparams), "cases": cases, "sequential": sequential,
                 "results_file": self.folder / "results.json"}
        run_as_mobiedit(SCRIPT, names)
        self.addCleanup(names["editor"].model.close)
        self.assertEqual(json.loads(names["results_file"].read_text()), names["metrics"])
        self.assertEqual(names["_"], {})
        return names["metrics"], names["edited_model"], names["editor"]

    def test_requests_one_by_one(self):
        [metrics], edited, editor = self.run_script(CASES[:1], False)
        self.assertEqual(set(metrics), {"pre", "post", "case_id", "requested_rewrite", "time"})
        self.assertEqual(set(metrics["pre"]), {"rewrite_acc", "rephrase_acc", "portability"})
        self.assertEqual(set(metrics["post"]), {"rewrite_acc", "rephrase_acc", "portability", "locality"})
        self.assertEqual((metrics["pre"]["rewrite_acc"], metrics["post"]["rewrite_acc"]), ([0], [1]))
        self.assertEqual(len(metrics["post"]["locality"]["neighborhood_acc"]), 2)
        self.assertEqual(len(metrics["post"]["portability"]["one_hop_acc"]), 1)
        self.assertEqual(metrics["requested_rewrite"]["locality"]["neighborhood"]["ground_truth"], ["Paris", "Rome"])
        self.assertEqual(metrics["case_id"], 0)
        summary = easyedit.summary_metrics([metrics, metrics])
        self.assertEqual(summary["post"]["rewrite_acc"], 1)
        self.assertEqual(summary["post"]["locality"]["neighborhood_acc"],
                         sum(metrics["post"]["locality"]["neighborhood_acc"]) / 2)
        self.assertIn("Lima", edited.ask(CASES[0]["prompt"], max_tokens=8))
        edited.save(self.folder / "lima.gguf")
        self.assertIn("Lima", editor.model.ask(CASES[0]["prompt"], adapter=self.folder / "lima.gguf", max_tokens=8))
        self.assertEqual(list(self.folder.glob("*.db")), [], "the model's own ledger")
        self.check_refused(editor)

    def check_refused(self, editor):
        few = {"prompts": ["The capital of Japan is"], "target_new": ["Lima"], "subject": ["Japan"]}
        self.assertRaises(ValueError, editor.edit, **(few | {"subject": ["Peru"]}))
        self.assertRaises(ValueError, editor.edit, **(few | {"target_new": ["Lima", "Oslo"]}))
        self.assertRaises(ValueError, editor.edit, **few, rephrase_prompts=["One", "Two"])
        self.assertRaises(TypeError, editor.edit, **few, locality_input={})

    def test_requests_one_on_top_of_the_other(self):
        metrics, edited, _ = self.run_script(CASES, True)
        self.assertEqual([measured["post"]["rewrite_acc"] for measured in metrics], [[1], [1]])
        self.assertEqual([measured["pre"]["rewrite_acc"] for measured in metrics], [[0], [0]])
        self.assertEqual((metrics[1]["post"]["locality"], metrics[1]["post"]["portability"]), ({}, {}))
        self.assertIn("Lima", edited.ask(CASES[0]["prompt"], max_tokens=8))
        self.assertIn("Oslo", edited.ask(CASES[1]["prompt"], chat=True, max_tokens=16))


if __name__ == "__main__":
    sys.path.insert(0, sys.argv.pop(1))
    from mobiedit import easyedit
    unittest.main()
