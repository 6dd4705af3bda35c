"""A model: editing it, asking it, calibrating and measuring it."""
from __future__ import annotations

import contextlib
import ctypes
import tempfile
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Unpack

from . import _c
from ._c import (mobiedit_calibrate_options, mobiedit_calibrate_result, mobiedit_device, mobiedit_eval_case,
                 mobiedit_edit_time, mobiedit_eval_options, mobiedit_eval_summary, mobiedit_inspection,
                 mobiedit_layer_trial, mobiedit_merge_result, mobiedit_model, mobiedit_model_advanced,
                 mobiedit_model_options)
from ._library import Callbacks, Handle, StrPath, Turn, call, fill, library, path, text
from .asking import Chat, Turns, ask_options, texts_of
from .ledger import Ledger
from .options import (EditOptions, EditProgress, Fact, StepProgress, attempted, edit_options, edit_result, made,
                      merge_options, request)
from .results import (CalibrateResult, Device, EditResult, EditTime, EvalCase, EvalSummary, Inspection, LayerTrial, MergeResult,
                      result_of)


class Model(Handle):
    """A GGUF model, mapped read-only: its file is never changed.

    Several threads may use it, one after the other. `with Model(path) as model:` closes it.
    """

    _kind = "model"

    def __init__(self, file: StrPath, *, ledger: StrPath | None = None, threads: int = 0, memory_bytes: int = 0,
                 backend: str | None = None, calibration: StrPath | None = None, describe: bool = False,
                 profile: str | None = None) -> None:
        """Opens and checks the model; of a split one, `file` is the first.

        ledger: the file of `self.ledger`; None: beside the model.
        threads: 0: one per processor.
        memory_bytes: budget for working memory beside the mapped file; 0: the default.
        backend: what runs an edit: "native", "llama", "auto", a device's name (`devices()`), or
            "rpc:HOST:PORT[,...]"; None: native where it can run the model, else llama.
        calibration: what `calibrate` measured; None: the file beside the model, if it exists; "none": none.
        describe: adapters and merged models name their facts in their metadata, in plain text.
        profile: arithmetic of mobile NPUs, "w8a16-static" or "w8a8-static" (doc/npu.md).
        """
        self.path = Path(file)
        self._ledger_path = ledger
        self._children: weakref.WeakSet[Handle] = weakref.WeakSet()
        advanced = mobiedit_model_advanced(profile=None if profile is None else text(profile))
        options = fill(mobiedit_model_options(), threads=threads, memory_bytes=memory_bytes, describe=describe)
        options.backend = None if backend is None else text(backend)
        options.calibration = path(calibration)
        options.advanced = ctypes.pointer(advanced)
        pointer = ctypes.POINTER(mobiedit_model)()
        call(library.mobiedit_open, path(file), ctypes.byref(options), ctypes.byref(pointer))
        super().__init__(pointer, Turn())
        self._ledger: Ledger | None = None

    def _release(self, pointer: Any) -> None:
        library.mobiedit_close(pointer)

    def close(self) -> None:
        """Closes the model, and before it its ledgers and chats."""
        for child in list(self._children):
            child.close()
        super().close()

    # ---- edits ----

    @property
    def ledger(self) -> Ledger:
        """What has been edited in the model, remembered in a file. It is made if it is not there, and removed again
        when it is closed if nothing was recorded."""
        if self._ledger is None or self._ledger.closed:
            self._ledger = self.open_ledger(self._ledger_path)
        return self._ledger

    def open_ledger(self, file: StrPath | None = None, *, write: bool = True) -> Ledger:
        """Another ledger of the model; None: the one beside it. write: make it if it is not there."""
        with self._open() as pointer:
            opened = ctypes.POINTER(_c.mobiedit_ledger)()
            call(library.mobiedit_ledger_open, pointer, path(file), write, ctypes.byref(opened))
        ledger = Ledger(opened, self._turn, self)
        self._children.add(ledger)
        return ledger

    def edit(self, prompt: str, target: str, *, output: StrPath | None = None, record: bool = True,
             keep: Sequence[str] = (), also: Sequence[str] = (), progress: EditProgress | None = None,
             **options: Unpack[EditOptions]) -> EditResult:
        """Edits one fact: "The capital of {Japan} is" goes on with "Lima". The braces mark the subject.

        output: the adapter to write, which llama.cpp loads beside the model; with `record` it holds all active edits.
        record: into `self.ledger`. False: an adapter of this edit alone, and nothing is remembered.
        keep: prompts whose answers must not change. also: the fact in other words, taught too.
        progress: told how far the edit is; see `EditProgress`.

        NotSolvedError, NotVerifiedError: no edit was made; their `result` tells what is known.
        """
        if record:
            return self.ledger.edit(prompt, target, output=output, keep=keep, also=also, progress=progress, **options)
        if output is None:
            raise TypeError("an edit that is not recorded needs an output")
        callbacks = Callbacks()
        chosen = edit_options(options, callbacks, progress)
        asked = request(prompt, target, keep, also)
        with self._open() as pointer, edit_result() as result, callbacks.finish():
            with attempted(result):
                call(library.mobiedit_edit, pointer, ctypes.byref(asked), ctypes.byref(chosen), path(output),
                     ctypes.byref(result))
            return made(result, None)

    def merge(self, adapter: StrPath, output: StrPath, *, facts: Sequence[Fact] = (), keep_float: bool = False,
              modelfile: StrPath | None = None, progress: EditProgress | None = None) -> MergeResult:
        """Folds an adapter of edits into a copy of the model at `output`, for runtimes without adapters.

        facts: what must hold; none: what the adapter's description tells (`describe`). `Ledger.merge` knows its own.
        keep_float: write the adapted matrices as F16.
        modelfile: where to write a Modelfile for Ollama, too.
        """
        callbacks = Callbacks()
        options = merge_options(keep_float, facts, modelfile, callbacks, progress)
        result = mobiedit_merge_result()
        with self._open() as pointer, callbacks.finish():
            call(library.mobiedit_merge, pointer, path(adapter), ctypes.byref(options), path(output),
                 ctypes.byref(result))
        merged: MergeResult = result_of(result)
        return merged

    # ---- asking ----

    def ask(self, prompt: str, *, adapter: StrPath | None = None, edited: bool = False, chat: bool = False,
            max_tokens: int = 0, turns: Turns = (), on_text: Callable[[str], object] | None = None) -> str:
        """The greedy continuation of the prompt through libllama.

        adapter: a file that is attached. edited: attach all active edits of `self.ledger`.
        chat: the prompt is a user's message in the model's chat template, and `turns` is what comes before it: pairs of
            role ("system", "user", "assistant") and text.
        max_tokens: 0: 64. on_text: called as text appears; returning False stops.
        """
        with contextlib.ExitStack() as stack:
            if edited:
                if adapter is not None:
                    raise TypeError("an adapter and edited: either, not both")
                folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="mobiedit-"))
                adapter = Path(folder) / "edits.gguf"
                self.ledger.export(adapter)
            callbacks = Callbacks()
            options = ask_options(chat, max_tokens, turns, on_text, callbacks)
            options.adapter = path(adapter)
            with self._open() as pointer, callbacks.finish(), texts_of() as said:
                call(library.mobiedit_ask, pointer, text(prompt), ctypes.byref(options), ctypes.byref(said))
                return (said.value or b"").decode(errors="replace")

    def chat(self, *, threads: int = 0, n_context: int = 0) -> Chat:
        """The model loaded in libllama, to be asked many times; another thread may use it while the model is edited.

        threads: 0: as the model's. n_context: tokens of a prompt with its answer, at most; 0: 1024.
        """
        options = fill(_c.mobiedit_chat_options(), threads=threads, n_context=n_context)
        with self._open() as pointer:
            opened = ctypes.POINTER(_c.mobiedit_chat)()
            call(library.mobiedit_chat_open, pointer, ctypes.byref(options), ctypes.byref(opened))
        chat = Chat(opened, self)
        self._children.add(chat)
        return chat

    # ---- measuring ----

    def inspect(self) -> Inspection:
        """What is known of the model before it is edited. Runs nothing."""
        struct = mobiedit_inspection()
        with self._open() as pointer:
            call(library.mobiedit_inspect, pointer, ctypes.byref(struct))
            inspection: Inspection = result_of(struct)
        return inspection

    def time_edit(self, *, progress: EditProgress | None = None, **options: Unpack[EditOptions]) -> EditTime:
        """What an edit takes on this machine. Runs each part of one once, which takes some seconds, and writes nothing.

        Of the options `layer`, `place` and `max_evaluations` count.
        """
        callbacks = Callbacks()
        chosen = edit_options(options, callbacks, progress)
        struct = mobiedit_edit_time()
        with self._open() as pointer, callbacks.finish():
            call(library.mobiedit_time_edit, pointer, ctypes.byref(chosen), ctypes.byref(struct))
        time: EditTime = result_of(struct)
        return time

    def calibrate(self, *, layer: int | None = None, progress: StepProgress | None = None) -> CalibrateResult:
        """Measures the model, once, for minutes: from then on edits solve more facts at the first try, and faster.

        layer: at which edits shall be made, numbered from 0; None: trial edits choose it. progress: told the steps that
        are done, and all of them. Each step is saved: a call after one that was interrupted goes on there.
        """
        callbacks = Callbacks()
        options = fill(mobiedit_calibrate_options(), fix_layer=layer is not None, layer=layer or 0)
        options.on_prompt = callbacks.field(mobiedit_calibrate_options, "on_prompt", progress or (lambda *_: None))
        result = mobiedit_calibrate_result()
        with self._open() as pointer, callbacks.finish():
            call(library.mobiedit_calibrate, pointer, ctypes.byref(options), ctypes.byref(result))
        calibrated: CalibrateResult = result_of(result)
        return calibrated

    def layer_trials(self) -> tuple[LayerTrial, ...]:
        """The layers that the model's calibration has tried, in order of depth."""
        trials = (mobiedit_layer_trial * _c.MAX_LAYER_TRIALS)()
        n = ctypes.c_int()
        with self._open() as pointer:
            call(library.mobiedit_layer_trials, pointer, trials, ctypes.byref(n))
        return tuple(result_of(trial) for trial in trials[:n.value])

    def eval(self, facts: StrPath, *, n: int = 0, skip: int = 0, fluency: bool = True, drift: bool = True,
             answers: bool = True, said: bool = True, state: StrPath | None = None, adapter: StrPath | None = None,
             system: str | None = None, baseline: str | None = None,
             on_case: Callable[[EvalCase, int, int], object] | None = None, progress: StepProgress | None = None,
             **options: Unpack[EditOptions]) -> EvalSummary:
        """Edits each fact of a JSON file by itself, and measures it. doc/eval.md explains metrics and file formats.

        n: cases; 0: all. skip: cases left out at the start.
        fluency, drift, answers, said: False leaves out what takes long: generated texts about the subject, generic
            text, answers in chat and about other things of the subject, the continuations in `EvalCase.said`.
        state: a file that keeps each finished case, so that an evaluation that was interrupted goes on there.
        adapter: measured with every fact as it is: nothing is edited.
        system: the system prompt of questions that have one.
        baseline: "context": nothing is edited, but the model is told the fact in the system prompt.
        on_case: given each finished case, its index and the number of all. progress: told the cases that are done, and
            all of them. Either may return False to cancel.
        """
        callbacks = Callbacks()
        struct = fill(mobiedit_eval_options(), n=n, skip=skip, no_fluency=not fluency, no_drift=not drift,
                      no_answers=not answers, no_said=not said)
        struct.edit = edit_options(options, callbacks, None)
        struct.state, struct.adapter = path(state), path(adapter)
        struct.system = None if system is None else text(system)
        struct.baseline = None if baseline is None else text(baseline)

        def on_c_case(index: int, total: int, case: ctypes._Pointer[mobiedit_eval_case]) -> object:
            if on_case and on_case(result_of(case.contents), index, total) is False:
                return False
            return progress(index + 1, total) if progress else None

        struct.on_case = callbacks.field(mobiedit_eval_options, "on_case", on_c_case)
        summary = mobiedit_eval_summary()
        with self._open() as pointer, callbacks.finish():
            call(library.mobiedit_eval, pointer, path(facts), ctypes.byref(struct), ctypes.byref(summary))
        measured: EvalSummary = result_of(summary)
        return measured


# ---- the machine --------------------------------------------------------------------------------------------------------


def devices() -> tuple[Device, ...]:
    """The devices of this machine that run models, native and llama first."""
    found = ctypes.POINTER(mobiedit_device)()
    n = ctypes.c_size_t()
    call(library.mobiedit_devices, ctypes.byref(found), ctypes.byref(n))
    try:
        return tuple(result_of(found[i]) for i in range(n.value))
    finally:
        library.mobiedit_free(found)


def solvers() -> tuple[str, ...]:
    """Names for `EditOptions.solver`."""
    names = library.mobiedit_solvers()
    found: list[str] = []
    while names[len(found)]:
        found.append(names[len(found)].decode())
    return tuple(found)


def llama_version() -> str:
    """Of the libllama that the library runs with."""
    return str(library.mobiedit_llama_version().decode())


def ggml_version() -> str:
    """Of the ggml that the library runs with."""
    return str(library.mobiedit_ggml_version().decode())


def idle_watts(seconds: float) -> float:
    """Watts that the machine takes while this thread sleeps for so long; NaN if it has no readable counter."""
    return float(library.mobiedit_idle_watts(seconds))
