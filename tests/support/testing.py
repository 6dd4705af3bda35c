"""What the Python tests share."""
import os
import pathlib
import random
import shutil
import socket
import subprocess
import tempfile
import time

MODEL_NAME = "smollm2-135m-instruct-q4_1.gguf"
SKIPPED = 77  # the exit status of a test that cannot run


def model_file():
    """The real model in the cache, where a user may keep a calibration and a ledger beside it."""
    cache = os.environ.get("MOBIEDIT_CACHE") or os.path.expanduser("~/.cache/mobiedit")
    return pathlib.Path(os.environ.get("MOBIEDIT_MODELS") or os.path.join(cache, "models")) / MODEL_NAME


def scratch_folder(add_cleanup, name):
    """A new folder, which add_cleanup's owner removes."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix=f"test_{name}_")).resolve()
    add_cleanup(shutil.rmtree, folder)
    return folder


def link_model(add_cleanup):
    """A link to the real model in a folder of its own: nothing that a user keeps beside the model is found."""
    link = scratch_folder(add_cleanup, "model") / MODEL_NAME
    link.symlink_to(model_file().resolve())
    return link


def edit_alone(mobiedit, model, prompt, adapters):
    """Writes adapters: {target: path} of an edit each, at the subject, which takes half the time of the default."""
    for target, path in adapters.items():
        subprocess.run([mobiedit, "edit", "--no-ledger", "--place", "subject", model, prompt, target, "-o", path, "-q"], check=True,
                       stdout=subprocess.DEVNULL, timeout=600)


def skip_without_model():
    if not model_file().is_file():
        print(f"skipped: {model_file()} is not there")
        raise SystemExit(SKIPPED)


def free_port():
    """A port below those that systems hand out by themselves, so that it stays free for a moment."""
    while True:
        port = random.randint(20000, 32000)
        with socket.socket() as s:
            try:
                s.bind(("127.0.0.1", port))
                return port
            except OSError:
                pass


def cpu_seconds(process):
    """Processor time that the running process has used so far."""
    fields = pathlib.Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def await_work(process, seconds):
    """Waits until the process has used so much processor time, however busy the machine is; it must not end before."""
    while process.poll() is None and cpu_seconds(process) < seconds:
        time.sleep(0.02)
    if process.poll() is not None:
        raise AssertionError(f"ended with status {process.returncode} before it was to be stopped")
