"""The example notebook runs, on the real model, and shows what it says it shows.

  test_notebook.py PACKAGE            runs a copy of it
  test_notebook.py PACKAGE --write    and puts its outputs into examples/python.ipynb

Exit status 77 where the real model is not there, or what runs notebooks cannot be set up.
"""
import os
import pathlib
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from testing import SKIPPED, model_file, skip_without_model

ROOT = pathlib.Path(__file__).resolve().parents[2]
NOTEBOOK = ROOT / "examples" / "python.ipynb"


def environment(folder):
    """What the notebook's process finds: nothing of the user's, and nothing beside the model."""
    (folder / "smollm2-135m-instruct-q4_1.gguf").symlink_to(model_file().resolve())
    os.environ["PYTHONPATH"] = os.pathsep.join(sys.path[:2])
    for name in ("MPLCONFIGDIR", "IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR"):
        os.environ[name] = str(folder / name.lower())
    os.environ.pop("MODEL", None)


def outputs(notebook, kind):
    """All outputs of a kind, each as text."""
    return [output["data"][kind] for cell in notebook.cells if cell.cell_type == "code"
            for output in cell.outputs if kind in output.get("data", {})]


def printed(notebook):
    return "".join(output["text"] for cell in notebook.cells if cell.cell_type == "code"
                   for output in cell.outputs if output.output_type == "stream" and output["name"] == "stdout")


def main(write):
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(NOTEBOOK, as_version=4)
    with tempfile.TemporaryDirectory(prefix="test_notebook_") as name:
        folder = pathlib.Path(name).resolve()
        environment(folder)
        NotebookClient(notebook, timeout=900, coalesce_streams=True, record_timing=False,
                       resources={"metadata": {"path": str(folder)}}).execute()
    text = printed(notebook)
    print(text)
    [table] = outputs(notebook, "text/markdown")
    print(table)
    before, after = text.split("before ")
    assert "Paris" in after.split("The capital of France is -> ")[1], "another country"
    assert "Tokyo" in before and "Lima" not in before, "before the edit"
    assert after.split("after  ")[1][1:].startswith(" Lima") and "What is the capital of Japan? -> " in after, "after the edit"
    assert "1 The capital of {Japan} is -> Lima undone" in after, "the ledger"
    assert "Tokyo" in after.split("undone")[1], "after the edit was taken back"
    assert len(outputs(notebook, "image/png")) == 1, "the plot"
    assert "| rewrite | 1.000 | 2 |" in table, "the evaluation"
    if write:
        for cell in notebook.cells:  # a progress bar is nothing to keep
            if cell.cell_type == "code":
                cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
        nbformat.write(notebook, NOTEBOOK)


if __name__ == "__main__":
    skip_without_model()
    script = subprocess.run([ROOT / "scripts" / "python_packages.sh", "notebook"], stdout=subprocess.PIPE, text=True)
    if script.returncode != 0:
        print("skipped: what runs notebooks cannot be set up")
        sys.exit(SKIPPED)
    sys.path[:0] = [os.path.abspath(sys.argv[1]), script.stdout.strip()]
    main("--write" in sys.argv)
