"""What the library says when it fails, as exceptions with its own line of text: one class for each of its statuses."""
from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from ._c import Status

if TYPE_CHECKING:
    from .results import EditResult


class MobiEditError(Exception):
    """The base of all that the library fails with. `str()` of it is one line for a person."""

    status: ClassVar[Status]


class ArgumentError(MobiEditError, ValueError):
    """An invalid request: no subject, an empty target, an unknown solver ..."""

    status = Status.E_ARGUMENT


class FileError(MobiEditError, OSError):
    """A file cannot be read or written."""

    status = Status.E_IO


class FormatError(MobiEditError, ValueError):
    """A file is truncated, damaged, or not of the expected kind."""

    status = Status.E_FORMAT


class UnsupportedError(MobiEditError):
    """A sound file with an architecture, type or feature that is not handled."""

    status = Status.E_UNSUPPORTED


class MismatchError(MobiEditError):
    """An adapter or a ledger of another model; an evaluation's state with other settings."""

    status = Status.E_MISMATCH


class OutOfMemoryError(MobiEditError, MemoryError):
    """Out of memory, or the work does not fit the memory budget."""

    status = Status.E_MEMORY


class NotEditedError(MobiEditError):
    """No edit was made. `result` is what is known of the attempt; None: not an edit's call."""

    result: EditResult | None = None


class NotSolvedError(NotEditedError):
    """Nothing was found that makes the model say the target."""

    status = Status.E_NOT_SOLVED


class NotVerifiedError(NotEditedError):
    """libllama, with the adapter attached, does not say the target; nothing was written."""

    status = Status.E_NOT_VERIFIED


class CancelledError(MobiEditError):
    """A callback returned False."""

    status = Status.E_CANCELLED


class RuntimeFailedError(MobiEditError, RuntimeError):
    """libllama failed."""

    status = Status.E_RUNTIME


_CLASSES: dict[Status, type[MobiEditError]] = {
    cls.status: cls
    for cls in (ArgumentError, FileError, FormatError, UnsupportedError, MismatchError, OutOfMemoryError,
                NotSolvedError, NotVerifiedError, CancelledError, RuntimeFailedError)}


def error_of(status: int, message: str) -> MobiEditError:
    """The exception for a status of the library other than OK."""
    return _CLASSES[Status(status)](message)
