"""What an edit can be told: options, requests, progress."""
from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, TypedDict

from . import _c
from ._c import (mobiedit_edit_advanced, mobiedit_edit_options, mobiedit_edit_result, mobiedit_merge_options,
                 mobiedit_request)
from ._library import Callbacks, StrPath, fill, library, path, text, texts
from .errors import NotEditedError
from .results import Change, EditResult, Progress, result_of


class EditOptions(TypedDict, total=False):
    """Options of an edit, all of them optional; what is left out is the library's default."""

    solver: str
    """"probe" (the default) or "spsa", the paper's estimator; see `solvers()`."""
    layer: int | None
    """Edit at this layer, numbered from 0: any but the last. None: the library chooses."""
    place: str
    """"answer": edit where the answer begins, so that other things of the subject stay (the probe solver only).
    "subject": edit at the subject, for many edits. "auto", the default: at the answer while there are few."""
    max_evaluations: int
    """Prompts that the model is run on, at most; 0: the solver's default."""
    seed: int
    """Of everything random."""
    max_after_tokens: int
    """Of the before and after texts; 0: 24."""
    force: bool
    """Edit also if the model says the target by itself."""
    strict: bool
    """Refuse an edit that changes other things about the subject (NotVerifiedError)."""
    idle_watts: float
    """What the machine takes without the work, watts (`idle_watts()`): not counted in joules."""
    probe_step: float
    """Length of the probe solver's finite differences, in lengths of the value at the edited place; 0: its own."""
    without: int
    """WITHOUT_CONTRAST, WITHOUT_BASIS, WITHOUT_STOP, or-ed: parts of an edit that are left out."""


_ADVANCED = ("idle_watts", "probe_step", "without")

EditProgress = Callable[[Progress], object]
"""Told how far an edit is. Returning False cancels: CancelledError. What it raises comes out of the call."""

StepProgress = Callable[[int, int], object]
"""Told how many steps of how many are done. Returning False cancels: CancelledError."""


def edit_options(options: EditOptions, callbacks: Callbacks, progress: EditProgress | None) -> mobiedit_edit_options:
    """The struct. Without a `progress` it has a callback all the same, so that Ctrl-C is seen."""
    values: dict[str, Any] = dict(options)
    unknown = values.keys() - EditOptions.__annotations__.keys()
    if unknown:
        raise TypeError(f"unknown options of an edit: {', '.join(sorted(unknown))}")
    struct = mobiedit_edit_options()
    advanced = fill(mobiedit_edit_advanced(), **{name: values.pop(name) for name in _ADVANCED if name in values})
    struct.advanced = ctypes.pointer(advanced)
    for name in ("solver", "place"):
        if name in values:
            values[name] = text(values[name])
    if values.get("layer") is None:
        values.pop("layer", None)
    else:
        values["fix_layer"] = True
    fill(struct, **values)

    def on_progress(at: Any) -> object:
        return progress(result_of(at.contents)) if progress else None

    struct.on_progress = callbacks.field(mobiedit_edit_options, "on_progress", on_progress)
    return struct


def merge_options(keep_float: bool, facts: Sequence[Fact], modelfile: StrPath | None, callbacks: Callbacks,
                  progress: EditProgress | None) -> mobiedit_merge_options:
    """The struct."""
    struct = mobiedit_merge_options(keep_float=keep_float, n_facts=len(facts))
    struct.modelfile = path(modelfile)
    struct.facts = (mobiedit_request * len(facts))(*[request(f.prompt, f.target) for f in facts])

    def on_progress(at: Any) -> object:
        return progress(result_of(at.contents)) if progress else None

    struct.on_progress = callbacks.field(mobiedit_merge_options, "on_progress", on_progress)
    return struct


@dataclass(frozen=True)
class Fact:
    """A prompt with its subject in braces, "The capital of {Japan} is", and what should follow, "Lima"."""

    prompt: str
    target: str


def request(prompt: str, target: str, keep: Sequence[str] = (), also: Sequence[str] = ()) -> mobiedit_request:
    """The struct of a fact."""
    struct = mobiedit_request(prompt=text(prompt), target=text(target), n_keep=len(keep), n_also=len(also))
    struct.keep, struct.also = texts(keep), texts(also)
    return struct


# ---- an edit's result ---------------------------------------------------------------------------------------------------


@contextmanager
def edit_result() -> Iterator[mobiedit_edit_result]:
    """The struct, freed in any case."""
    result = mobiedit_edit_result()
    try:
        yield result
    finally:
        library.mobiedit_edit_result_free(ctypes.byref(result))


@contextmanager
def attempted(result: mobiedit_edit_result) -> Iterator[None]:
    """Around the library's call: an error that no edit was made takes along what is known."""
    try:
        yield
    except NotEditedError as error:
        error.result = made(result, None)
        raise


def made(result: mobiedit_edit_result, change: Change | None) -> EditResult:
    """The result of an edit, and what it changed in the ledger."""
    edited: EditResult = result_of(result, change=change)
    return edited


# ---- progress bars ------------------------------------------------------------------------------------------------------


class Bar(Protocol):
    """What is used of a progress bar: tqdm's has it."""

    n: Any
    total: Any

    def set_description_str(self, desc: str | None = None, refresh: bool | None = True) -> object: ...
    def set_postfix_str(self, s: str = "", refresh: bool = True) -> object: ...
    def refresh(self) -> object: ...


def bar_progress(bar: Bar) -> Callable[..., None]:
    """A `progress` for a bar of tqdm: `with tqdm() as bar: model.edit(..., progress=bar_progress(bar))`.

    Of an edit it shows the stage, evaluations and the loss; of calls that count steps, these.
    """

    def on_progress(now: Progress | int, total: int | None = None) -> None:
        if isinstance(now, Progress):
            bar.n = now.evaluations
            bar.set_description_str(f"{now.stage.name.lower()}, layer {now.layer}", refresh=False)
            if now.loss == now.loss:  # a number
                bar.set_postfix_str(f"loss {now.loss:.3f}, {now.carriers_say} of {now.carriers} texts", refresh=False)
        else:
            bar.n, bar.total = now, total
        bar.refresh()

    return on_progress


WITHOUT_CONTRAST = _c.WITHOUT_CONTRAST
WITHOUT_BASIS = _c.WITHOUT_BASIS
WITHOUT_STOP = _c.WITHOUT_STOP
