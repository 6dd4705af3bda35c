"""The installed package makes an edit of a real model, as doc/python.md shows it. Exit status 77 without the model."""
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
import contextlib

from testing import link_model, skip_without_model

import mobiedit

sources = pathlib.Path(__file__).resolve().parents[2]
if sources in pathlib.Path(mobiedit.__file__).resolve().parents:
    sys.exit(f"{mobiedit.__file__} is not the installed package")
loaded = {line.split()[-1] for line in pathlib.Path("/proc/self/maps").read_text().splitlines() if ".so" in line}
wanted = ("libmobiedit", "libllama", "libggml", "blas", "sqlite3", "cjson")
for path in loaded:
    if any(word in pathlib.Path(path).name for word in wanted) and not path.startswith(sys.prefix):
        sys.exit(f"{path} is not the wheel's own")
print(f"mobiedit {mobiedit.__version__}, {mobiedit.devices()[0].description}")

skip_without_model()
with contextlib.ExitStack() as stack:
    path = link_model(stack.callback)
    model = stack.enter_context(mobiedit.Model(path))
    result = model.edit("The capital of {Japan} is", "Lima", output=path.parent / "lima.gguf")
    answer = model.ask("The capital of Japan is", adapter=path.parent / "lima.gguf", max_tokens=8)
    print(repr(result.before), "->", repr(result.after), "->", repr(answer))
    if "Lima" not in answer or "Lima" in result.before:
        sys.exit("the edit does not hold")
