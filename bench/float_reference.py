"""The float reference, tests/reference/reference.py, with the Python packages that it needs: a pinned version of each, which
scripts/python_packages.sh puts into the cache."""
import importlib
import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
PROGRAM = ROOT / "tests" / "reference" / "reference.py"


def packages(name="reference"):
    """The folder with the packages, or with others that scripts/python_packages.sh knows, for PYTHONPATH."""
    made = subprocess.run([ROOT / "scripts" / "python_packages.sh", name], check=True, stdout=subprocess.PIPE)
    return os.fsdecode(made.stdout).strip()


def load():
    """The reference as a module of this interpreter; torch can be imported from then on."""
    sys.path[:0] = [packages(), str(PROGRAM.parent)]
    return importlib.import_module("reference")
