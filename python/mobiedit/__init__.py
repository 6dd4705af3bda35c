"""MobiEdit corrects or adds one fact in a quantized language model, and writes the change as a small LoRA adapter.

    from mobiedit import Model

    with Model("qwen.gguf") as model:
        result = model.edit("The capital of {Tanzania} is", "Dodoma", output="dodoma.gguf")
        print(result.before, "->", result.after)
        model.ledger.undo()

The braces mark the subject. The model file is never changed. doc/python.md is the manual; mobiedit.h, the library's header,
says more about each call.
"""
from ._c import VERSION as __version__
from ._c import CalibrationState, FactOutcome, RecordState, SaidKind, Stage, Status, Stop
from .asking import Chat
from .errors import (ArgumentError, CancelledError, FileError, FormatError, MismatchError, MobiEditError,
                     NotEditedError, NotSolvedError, NotVerifiedError, OutOfMemoryError, RuntimeFailedError,
                     UnsupportedError)
from .ledger import Ledger
from .model import Model, devices, ggml_version, idle_watts, llama_version, solvers
from .options import WITHOUT_BASIS, WITHOUT_CONTRAST, WITHOUT_STOP, EditOptions, Fact, bar_progress
from .results import (Asides, CalibrateResult, Change, Device, EditResult, EditTime, EvalCase, EvalSummary, Figure, ImportFact,
                      ImportSummary, Inspection, LayerTrial, MergeResult, Metrics, ModelFile, Other, Progress, Proposal, Record,
                      Said, Score, SolveStats, TracePoint, VerifySummary)

__all__ = [
    "Model", "Ledger", "Chat", "Fact", "EditOptions", "bar_progress", "devices", "solvers", "idle_watts",
    "llama_version", "ggml_version",
    "WITHOUT_BASIS", "WITHOUT_CONTRAST", "WITHOUT_STOP",
    "MobiEditError", "ArgumentError", "FileError", "FormatError", "UnsupportedError", "MismatchError",
    "OutOfMemoryError", "NotEditedError", "NotSolvedError", "NotVerifiedError", "CancelledError", "RuntimeFailedError",
    "Status", "Stage", "Stop", "CalibrationState", "RecordState", "FactOutcome", "SaidKind",
    "Asides", "CalibrateResult", "Change", "Device", "EditResult", "EditTime", "EvalCase", "EvalSummary", "Figure",
    "ImportFact", "ImportSummary", "Inspection", "LayerTrial", "MergeResult", "Metrics", "ModelFile", "Other", "Progress",
    "Proposal", "Record", "Said", "Score", "SolveStats", "TracePoint", "VerifySummary", "__version__",
]
