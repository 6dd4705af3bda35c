"""Models of random weights, bench/made_model.py.

  test_made_model.py MOBIEDIT

The vocabulary is the real model's; exit status 77 without it. The packages of scripts/requirements-gguf.txt are installed into
the cache if they are not there.
"""
import json
import pathlib
import subprocess
import sys
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests" / "support"), str(ROOT / "bench")]
from testing import model_file, scratch_folder, skip_without_model

MOBIEDIT = None


class Made(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = scratch_folder(cls.addClassCleanup, "made_model")
        cls.models = {name: cls.write(name, name) for name in ("tiny", "tiny-llama")}

    @classmethod
    def write(cls, file, shape, seed=0):
        path = cls.folder / f"{file}.gguf"
        made_model.write(path, made_model.SHAPES[shape], model_file(), seed)
        return path

    def run_command(self, *args):
        return subprocess.run([MOBIEDIT, *args], capture_output=True, check=False, timeout=600)

    def test_shapes_have_as_many_parameters_as_the_models(self):
        """As their publishers count them, with their own vocabularies."""
        for name, tokens, parameters in (("qwen2.5-3b", 151936, 3085938688), ("qwen2.5-7b", 152064, 7615616512),
                                         ("llama-3.2-3b", 128256, 3212749824)):
            with self.subTest(name):
                shape = made_model.SHAPES[name]
                self.assertEqual(sum(rows * columns for _, rows, columns, *_ in made_model.matrices(shape, tokens)) +
                                 sum(length for _, length, *_ in made_model.vectors(shape)), parameters)

    def test_a_seed_gives_the_same_file(self):
        first = self.models["tiny"].read_bytes()
        self.assertEqual(self.write("again", "tiny").read_bytes(), first)
        self.assertNotEqual(self.write("other", "tiny", 1).read_bytes(), first)

    def test_weights_have_the_deviation_that_they_should(self):
        """Read by the gguf package."""
        for name, path in self.models.items():
            shape = made_model.SHAPES[name]
            tensors = {tensor.name: tensor for tensor in made_model.gguf.GGUFReader(path).tensors}
            for tensor, rows, columns, kind, deviation in made_model.matrices(shape, made_model.vocabulary(model_file())):
                with self.subTest(name, tensor=tensor):
                    self.assertEqual((list(tensors[tensor].shape), tensors[tensor].tensor_type), ([columns, rows], kind))
                    values = made_model.gguf.dequantize(tensors[tensor].data, kind) / deviation
                    self.assertAlmostEqual(values.std(), 1, delta=0.02)
                    self.assertAlmostEqual(values.mean(), 0, delta=0.02)
                    # Neighbours in a row, and the same place of neighbouring rows, have nothing to do with each other.
                    self.assertAlmostEqual((values[:, 1:] * values[:, :-1]).mean(), 0, delta=0.03)
                    self.assertAlmostEqual((values[1:] * values[:-1]).mean(), 0, delta=0.03)
            self.assertEqual({int(tensor.split(".")[1]) for tensor, entry in tensors.items()
                              if tensor.endswith("ffn_down.weight") and entry.tensor_type.name == "Q6_K"}, {0, 3, 6, 7})

    def test_engines_run_it(self):
        for name, path in self.models.items():
            with self.subTest(name):
                about = json.loads(self.run_command("inspect", path, "--json").stdout)
                self.assertEqual((about["architecture"], about["layers"], about["backend"], about["chat_template"]),
                                 (made_model.SHAPES[name].architecture, 8, "native", True))
                asked = self.run_command("ask", path, "The capital of Japan is", "-n", "8")  # libllama
                self.assertEqual((asked.returncode, asked.stderr), (0, b""))
                self.assertGreater(len(asked.stdout), 8)

    def test_an_edit_moves_it(self):
        """Not each reaches the target within these evaluations, but the loss falls."""
        for name, path in self.models.items():
            with self.subTest(name):
                ran = self.run_command("edit", path, "The capital of {Japan} is", "Lima", "--no-ledger", "--place", "subject",
                                       "--max-evals", "200", "-q", "--json", "-o", self.folder / "edit.gguf")
                told = json.loads(ran.stdout)
                self.assertIn((ran.returncode, told["status"]), ((0, "ok"), (1, "not solved"), (1, "not verified")))
                self.assertTrue(0 < told["evals"] <= 200, told["evals"])
                self.assertLess(told["loss"], 0.95 * told["trace"][0][1])


if __name__ == "__main__":
    MOBIEDIT = sys.argv[1]
    skip_without_model()
    import made_model  # gets the packages
    unittest.main(argv=[sys.argv[0], "-v", *sys.argv[2:]])
