"""What the library tells, as dataclasses: field by field the structs of mobiedit.h.

Counts `n_...` are the lengths of tuples here. A number that could not be measured is NaN. What each is worth, and how it is
measured, stands in doc/method.md and doc/eval.md.
"""
from __future__ import annotations

import ctypes
import enum
import functools
import types
import typing
from collections.abc import Callable, Hashable
from dataclasses import dataclass, fields
from typing import Any, TypeVar

from . import _c
from ._c import CalibrationState, FactOutcome, RecordState, SaidKind, Stage, Status, Stop

T = TypeVar("T")
_CLASS_OF: dict[type[ctypes.Structure], type[Any]] = {}


def _of(struct: type[ctypes.Structure]) -> Callable[[type[T]], type[T]]:
    """Says which struct a dataclass is made of."""

    def register(cls: type[T]) -> type[T]:
        _CLASS_OF[struct] = cls
        return cls

    return register


def result_of(struct: ctypes.Structure, **more: Any) -> Any:
    """The dataclass of a struct; `more` are fields that the struct does not have. All is copied."""
    cls: Any = _CLASS_OF[type(struct)]
    hints = _hints(cls)
    values = {f.name: _value(struct, f.name, hints[f.name]) for f in fields(cls) if f.name not in more}
    return cls(**values, **more)


@functools.cache
def _hints(cls: Hashable) -> dict[str, Any]:
    return typing.get_type_hints(cls)


def _value(struct: ctypes.Structure, name: str, hint: Any) -> Any:
    value = getattr(struct, name)
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if isinstance(value, ctypes.Structure):
        return result_of(value)
    if isinstance(value, int) and isinstance(hint, type) and issubclass(hint, enum.Enum):
        return hint(value)
    if isinstance(value, int) and hint == bool | None:  # yes, no, or not asked
        return bool(value) if value >= 0 else None
    if isinstance(hint, types.GenericAlias):  # a tuple
        return tuple(_items(struct, name, value))
    if value is None and hint is str:  # a text that is only empty
        return ""
    return value


def _items(struct: ctypes.Structure, name: str, pointer: Any) -> Any:
    """What a pointer leads to: as many as `n_...` says, or, where nothing says it, up to NULL."""
    if not pointer:
        return
    if isinstance(pointer, ctypes.Array):
        yield from (result_of(item) for item in pointer if item.name)
        return
    n = getattr(struct, f"n_{name}", None)
    at = 0
    while at != n:
        item = pointer[at]
        if item is None:
            return
        yield item.decode(errors="replace") if isinstance(item, bytes) else result_of(item)
        at += 1


# ---- the model ----------------------------------------------------------------------------------------------------------


@_of(_c.mobiedit_device)
@dataclass(frozen=True)
class Device:
    """A device that runs models."""

    name: str
    """For `Model(backend=...)`."""
    kind: str
    """"cpu", "gpu", "integrated gpu" or "accelerator" (an aid to the cpu)."""
    description: str
    """Of native: the kernels that it uses."""
    memory_free: int
    """Bytes; 0: not known."""
    memory_total: int
    """Bytes; 0: not known."""
    kernels: tuple[str, ...]
    """Of native: all kernels that this processor can run, slowest first."""


@_of(_c.mobiedit_model_file)
@dataclass(frozen=True)
class ModelFile:
    """A file of a model."""

    path: str
    bytes: int


@_of(_c.mobiedit_inspection)
@dataclass(frozen=True)
class Inspection:
    """What is known of a model before it is edited."""

    name: str
    architecture: str
    """As llama.cpp names it."""
    types: str
    """Of its tensors, with their numbers: "Q4_K 120, F32 60"."""
    backend: str
    """That would run an edit."""
    why_not_native: str | None
    """Why it is the slower "llama"; None: native runs the model."""
    mlp: str
    """Where in `layer` an edit takes a neuron over: "dense" ..."""
    layers: int
    editable: int
    """Of these, layers that can be edited."""
    layer: int
    """Of edits at the answer, unless options say otherwise; numbered from 0."""
    subject_layer: int
    """Of edits at the subject, likewise."""
    has_chat_template: bool
    has_ledger: bool
    """One beside the model."""
    calibration: CalibrationState
    files: tuple[ModelFile, ...]
    """One, or the parts of a split model in their order."""
    model_bytes: int
    """Of all of them."""
    memory_bytes: int
    """That an edit takes, roughly, the mapped model among it."""


@_of(_c.mobiedit_edit_time)
@dataclass(frozen=True)
class EditTime:
    """What an edit takes on this machine as it is loaded at the moment. Seconds are wall clock."""

    seconds: float
    """Of a usual edit with its verification: roughly, single edits differ much."""
    evaluations: int
    """Prompt evaluations that are reckoned with, about the mean over 102 facts on three models."""
    evaluations_a_second: float
    """Measured, in a batch."""
    measured_seconds: float
    """That measuring took."""


@_of(_c.mobiedit_calibrate_result)
@dataclass(frozen=True)
class CalibrateResult:
    """What a calibration measured."""

    layer: int
    """At which edits are made from now on; numbered from 0."""
    prompts: int
    """Measured."""
    found: int
    """Of these, measured by an earlier run that was interrupted."""
    evaluations: int
    """Prompts that the model was run on."""
    seconds: float
    """Wall clock."""


@_of(_c.mobiedit_layer_trial)
@dataclass(frozen=True)
class LayerTrial:
    """A layer that a calibration has tried."""

    layer: int
    """Numbered from 0."""
    loss: float
    """Of built-in facts in words that the trial edits have not seen, nats a token."""


# ---- an edit ------------------------------------------------------------------------------------------------------------


@_of(_c.mobiedit_progress)
@dataclass(frozen=True)
class Progress:
    """How far an edit is."""

    stage: Stage
    layer: int
    """Numbered from 0."""
    round: int
    """Of the solver."""
    loss: float
    """Of the best delta so far, nats a token; NaN before the first."""
    carriers_say: int
    """Carriers whose greedy output is the target."""
    carriers: int
    """Texts that should all go on with the target."""
    evaluations: int
    """Prompts that the model was run on so far."""
    seconds: float
    """Wall clock, so far."""


@_of(_c.mobiedit_trace_point)
@dataclass(frozen=True)
class TracePoint:
    """A point of the loss' way down."""

    evaluations: int
    """Prompts that the model was run on until then."""
    loss: float
    """Nats a token."""


@_of(_c.mobiedit_other)
@dataclass(frozen=True)
class Other:
    """Something else about an edit's subject: what the model says of it without and with the edit."""

    prompt: str
    """"Most people think of Japan as"."""
    before: str
    after: str
    unchanged: bool
    """The first token is the same, and the target does not turn up."""


@_of(_c.mobiedit_asides)
@dataclass(frozen=True)
class Asides:
    """What an edit does beside its own prompt, as libllama says it."""

    chat: bool | None
    """Is the target said in a chat too? None: not asked, or the model has no chat template."""
    others: tuple[Other, ...]
    """Other things about the subject."""


@_of(_c.mobiedit_solve_stats)
@dataclass(frozen=True)
class SolveStats:
    """How an edit was solved."""

    solver: str | None
    """"probe" or "spsa"; None: nothing was solved."""
    seed: int
    """Of everything random."""
    layer: int
    """Numbered from 0."""
    at_answer: bool
    """Edited where the answer begins; False: at the subject's last token."""
    stop: Stop
    rounds: int
    loss: float
    """Nats a token."""
    delta_ratio: float
    """|delta| / |v|, v the MLP's output at the edited place."""
    evaluations: int
    """Prompts that the model was run on."""
    token_passes: int
    """Tokens through the layers above the edited one."""
    seconds: float
    """Wall clock of the whole edit, verification included."""


@_of(_c.mobiedit_change)
@dataclass(frozen=True)
class Change:
    """What a change of the ledger did beside what was asked. An id of 0: none."""

    id: int
    """The edit that was recorded, undone or done again."""
    superseded: int
    """An earlier edit of the same prompt that is no longer active."""
    restored: int
    """An edit that is active again because what superseded it was undone."""
    resolved: int
    """Number of other edits that were solved again so that they still hold."""
    lost: int
    """Number of edits of other subjects that held and no longer do, although solved again."""
    related: int
    """After undo and redo: number of other active edits of the same subject, to be verified."""
    known: bool
    """This very edit was active already: nothing was solved."""


@_of(_c.mobiedit_edit_result)
@dataclass(frozen=True)
class EditResult:
    """An edit, or an attempt at one."""

    solve: SolveStats
    calibration: CalibrationState
    cpu_seconds: float
    """Processor time."""
    joules: float
    """That the machine used, verification included; NaN if it has no readable counter."""
    energy_source: str | None
    """"rapl", "rapl+nvml", "nvml" or "battery"; None: no counter."""
    peak_rss_bytes: int
    """Resident memory of the process, at most so far."""
    before: str | None
    """Greedy continuation of the prompt without the edit, through libllama."""
    after: str | None
    """The same with it. None: nothing was written."""
    asides: Asides
    """In the adapter that was written; if `strict` refused it, those that say why."""
    trace: tuple[TracePoint, ...]
    """Loss against evaluations."""
    high_loss: bool
    """A warning: the target is said, but in the texts that taught it, it is on average less likely than not. Other wordings
    may not say it, and a later edit may undo it."""
    known_as: str | None
    """A warning: the model knows the subject by this spelling, "Japan"; prompts with it are unchanged."""
    change: Change | None
    """What was recorded in the ledger. None: nothing was."""


# ---- the ledger ---------------------------------------------------------------------------------------------------------


@_of(_c.mobiedit_record)
@dataclass(frozen=True)
class Record:
    """An edit as the ledger has it."""

    id: int
    """From 1."""
    state: RecordState
    superseded_by: int
    """The id of a later edit of the same prompt; 0: none."""
    prompt: str
    """The subject in braces."""
    target: str
    keep: tuple[str, ...]
    """Prompts whose answers must not change."""
    also: tuple[str, ...]
    """The fact in other words."""
    solve: SolveStats
    before: str
    """Greedy continuation without the edit, when it was made; "": not known."""
    after: str
    """The same with it."""
    asides: Asides
    """When it was made or last verified."""
    holds: bool | None
    """When last verified; None: not verified since it changed."""
    created: int
    """Seconds since 1970, as `changed` and `verified`."""
    changed: int
    verified: int
    """0: never."""


@_of(_c.mobiedit_verify_summary)
@dataclass(frozen=True)
class VerifySummary:
    """All active edits together. All but `drift` are numbers of edits."""

    active: int
    said: int
    """Of these: recorded as said by the model itself, hence no edits."""
    hold: int
    resolved: int
    """Solved again, and holding since."""
    drift: float
    """By all edits together: mean KL(before || after) of the next token in generic text, nats; NaN if none is active."""


@_of(_c.mobiedit_import_fact)
@dataclass(frozen=True)
class ImportFact:
    """A fact of a file, when it is done."""

    index: int
    """From 0, among the facts that can be used; -1: unusable. All such facts are told before the others."""
    total: int
    """Facts that can be used; 0: this one is unusable."""
    prompt: str | None
    """The subject in braces; None: unusable."""
    target: str | None
    outcome: FactOutcome
    message: str | None
    """Why it failed or is unusable, or what replaces it."""
    change: Change
    seconds: float
    """Wall clock."""
    high_loss: bool
    """A warning, as in `EditResult`."""
    known_as: str | None
    """A warning, as in `EditResult`."""
    asides: Asides


@_of(_c.mobiedit_import_summary)
@dataclass(frozen=True)
class ImportSummary:
    """What became of a file's facts: numbers of facts, by `FactOutcome`."""

    recorded: int
    known: int
    said: int
    failed: int
    replaced: int
    unusable: int
    redone: int
    all: VerifySummary
    """Of all active edits together, in the end."""


@_of(_c.mobiedit_merge_result)
@dataclass(frozen=True)
class MergeResult:
    """A copy of a model with edits folded in."""

    tensors: int
    """Matrices that differ from the model's."""
    type: str
    """Of the widest of them: "F16"."""
    error: float
    """The greatest relative error of the edit's values in a matrix, on the inputs that it meets."""
    facts: int
    """That were asked for."""
    held: int
    """Of these, said by the model with the adapter."""
    kept: int
    """Of these, said by the merged model."""
    seconds: float
    """Wall clock."""
    peak_rss_bytes: int
    """Resident memory of the process, at most so far."""


# ---- what is said -------------------------------------------------------------------------------------------------------


@_of(_c.mobiedit_said)
@dataclass(frozen=True)
class Said:
    """What the model says to a prompt, without and with an edit."""

    kind: SaidKind
    prompt: str
    before: str | None
    """Greedy continuation without the edit; None: none was made."""
    after: str | None
    """The same with it."""
    held: bool
    """The target is said, in a chat anywhere in the answer. Of what is to stay: the next token is what it was, and the
    target does not turn up."""


@_of(_c.mobiedit_proposal)
@dataclass(frozen=True)
class Proposal:
    """Which words of a sentence are the subject and the target. The marks are bytes of the UTF-8 text."""

    subject_begin: int
    subject_end: int
    target_begin: int
    target_end: int
    prompt: str
    """What they make of it: the beginning of the sentence, with the subject in braces,"""
    target: str
    """and what should follow."""


@dataclass(frozen=True)
class Score:
    """A text behind a prompt, token by token."""

    tokens: tuple[int, ...]
    """Of the text, as the model's vocabulary numbers them."""
    likeliest: tuple[int, ...]
    """What the model finds likeliest in the place of each, behind the prompt and the text's tokens before it."""
    log_probs: tuple[float, ...]
    """Of `tokens` there, nats."""

    @property
    def accuracy(self) -> float:
        """Share of the tokens that the model would say."""
        return sum(map(int.__eq__, self.tokens, self.likeliest)) / len(self.tokens)


# ---- evaluations --------------------------------------------------------------------------------------------------------


@_of(_c.mobiedit_metrics)
@dataclass(frozen=True)
class Metrics:
    """What an edit does to a model; doc/eval.md has formulas and sources. NaN: the case has nothing to measure it on.

    `..._sure` is the same over the prompts after which the unedited model is sure: it gives its likeliest token at least
    half of the probability. `..._old` is what was true before. A share is from 0 to 1; KL is KL(before || after).
    """

    rewrite: float
    """1: the target is the greedy continuation of the prompt."""
    paraphrase: float
    """Share of paraphrase prompts likewise."""
    unchanged: float
    """Share of neighbour prompts whose next greedy token is what it was."""
    neighbour_kl: float
    """Mean KL of the next token there, nats."""
    efficacy: float
    """1: the target is likelier than what was true, after the prompt."""
    paraphrase_score: float
    """Share of paraphrase prompts likewise."""
    neighbour_score: float
    """Share of neighbour prompts after which what is true is the likelier."""
    neighbour_score_before: float
    """The same of the unedited model."""
    portability: float
    """Share of portability prompts whose answer is the greedy continuation."""
    fluency: float
    """N-gram entropy of generated text, bits."""
    fluency_before: float
    """The same of the unedited model."""
    drift: float
    """Mean KL of the next token in generic text, nats."""
    same_subject: float
    """What else is said of the subject: share whose next greedy token is what it was."""
    same_subject_sure: float
    same_subject_kl: float
    """Mean KL along the answer, nats a token."""
    same_subject_kl_sure: float
    leak: float
    """Share in whose text the target turns up as it did not."""
    leak_sure: float
    chat: float
    """Questions in the model's chat template: share whose answer has the target in it."""
    chat_sure: float
    chat_old: float
    """Share whose answer has what was true in it, and not the target."""
    chat_old_sure: float
    chat_system: float
    """As `chat`, with a system prompt."""
    chat_system_old: float
    chat_turn: float
    """As `chat`, in the second turn."""
    chat_turn_old: float
    chat_loops: float
    """Share of all answers in chat that go in circles: three words in a row occur five times."""
    chat_loops_before: float
    chat_unchanged: float
    """Share of answers about others whose KL is small."""
    chat_unchanged_sure: float
    chat_unchanged_kl: float
    """That KL, nats a token."""
    chat_unchanged_kl_sure: float
    tell_kl: float
    """Of an account of the subject, the fact left out: KL, nats a token."""
    tell_fluency: float
    """N-gram entropy of that account, bits."""
    tell_fluency_before: float
    negation_new: float
    """Asked whether the new fact is true, 1: yes."""
    negation_old: float
    """Asked whether the old fact is true, 1: no."""


@_of(_c.mobiedit_eval_case)
@dataclass(frozen=True)
class EvalCase:
    """A case of an evaluation, when it is done."""

    case_id: int
    prompt: str
    """With {} for the subject."""
    subject: str
    relation: str | None
    target: str
    message: str | None
    """Why it failed, or None."""
    status: Status
    """Of the edit. If it failed, the metrics are of the unedited model."""
    stop: Stop
    layer: int
    """Numbered from 0; -1: nothing was edited."""
    restored: bool
    """Not measured now: taken from the state file."""
    evaluations: int
    """Prompts that the model was run on."""
    loss: float
    """Of the edit, nats a token; NaN: none was solved."""
    seconds: float
    """The edit alone, wall clock; NaN: nothing was edited."""
    cpu_seconds: float
    """The edit alone, processor time; NaN likewise."""
    joules: float
    """The edit alone; NaN also if the machine has no readable counter."""
    metrics: Metrics
    measure_seconds: float
    """Spent on the metrics."""
    said: tuple[Said, ...]


@_of(_c.mobiedit_figure)
@dataclass(frozen=True)
class Figure:
    """The mean of a metric over the cases that have it."""

    name: str
    """The metric's: "rewrite"."""
    mean: float
    low: float
    """Of a 95 % interval, percentile bootstrap."""
    high: float
    n: int
    """Cases that have the metric."""


@_of(_c.mobiedit_eval_summary)
@dataclass(frozen=True)
class EvalSummary:
    """An evaluation as a whole."""

    solver: str | None
    """None: nothing was edited."""
    cases: int
    failed: int
    """Cases whose edit was not written."""
    unusable: int
    """Cases left out: no subject in the prompt, no target."""
    seconds: float
    """Median wall clock of an edit; the mean is among the figures."""
    peak_rss_bytes: int
    """Resident memory of the process, at most so far."""
    figures: tuple[Figure, ...]

    def figure(self, name: str) -> Figure:
        """The figure of this name; KeyError: there is none."""
        for figure in self.figures:
            if figure.name == name:
                return figure
        raise KeyError(name)
