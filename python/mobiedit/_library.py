"""The library itself: loading it, calling it, and being called by it."""
from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self, TypeVar

from . import _c
from .errors import error_of

StrPath = str | os.PathLike[str]
Struct = TypeVar("Struct", bound=ctypes.Structure)


@contextmanager
def _waiting_asleep() -> Iterator[None]:
    """OpenMP reads how its threads wait when it is loaded. In a loop they take the processors from the threads that they
    wait for, where other programs use them too."""
    name = "OMP_WAIT_POLICY"
    if name in os.environ:
        yield
        return
    os.environ[name] = "passive"
    try:
        yield
    finally:
        del os.environ[name]


def _load() -> ctypes.CDLL:
    path = Path(__file__).parent / "lib" / "libmobiedit.so"
    # Another libllama may be in the process, such as llama-cpp-python's, which is open to all: ours comes first for us.
    with _waiting_asleep():
        library = ctypes.CDLL(os.fspath(path), mode=os.RTLD_LOCAL | getattr(os, "RTLD_DEEPBIND", 0))
    _c.declare(library)
    found = library.mobiedit_version().decode()
    if found != _c.VERSION:
        raise ImportError(f"{path} is version {found}; this package is for {_c.VERSION}")
    return library


library = _load()


def call(function: Any, *arguments: Any) -> None:
    """Calls a function that returns a status and takes an error last; raises what it fails with."""
    error = _c.mobiedit_error()
    if function(*arguments, ctypes.byref(error)):
        raise error_of(error.status, error.message.decode(errors="replace"))


# ---- texts and numbers --------------------------------------------------------------------------------------------------


def text(value: str) -> bytes:
    """A text for the library: UTF-8, and no zero in it, which would end it."""
    encoded = value.encode()
    if b"\0" in encoded:
        raise ValueError("a text has a zero character in it")
    return encoded


def texts(values: Sequence[str]) -> Any:
    """An array of texts, or None if there are none."""
    if isinstance(values, str):
        raise TypeError("a sequence of texts is wanted, not a text")
    return (ctypes.c_char_p * len(values))(*map(text, values)) if values else None


def path(value: StrPath | None) -> bytes | None:
    """A path for the library."""
    if value is None:
        return None
    encoded = os.fsencode(value)
    if b"\0" in encoded:
        raise ValueError("a path has a zero character in it")
    return encoded


def fill(struct: Struct, **values: Any) -> Struct:
    """Sets the struct's fields; ctypes by itself would cut a number that is out of range."""
    for name, value in values.items():
        setattr(struct, name, value)
        if isinstance(value, int) and getattr(struct, name) != value:
            raise ValueError(f"{name} is out of range: {value}")
    return struct


# ---- being called -------------------------------------------------------------------------------------------------------


class Callbacks:
    """Python functions that the library calls. What one raises ends the library's call, and comes out of `finish`.

    Python sees that somebody pressed Ctrl-C only while it runs: so one is given to the library even if nobody asked.
    """

    def __init__(self) -> None:
        self._raised: BaseException | None = None
        self._kept: list[Any] = []

    def field(self, struct: type[ctypes.Structure], name: str, function: Callable[..., object]) -> Any:
        """The function as the struct's field has it: called without the user pointer; returning False stops."""
        return self.made(dict(struct._fields_)[name], function)  # type: ignore[arg-type]

    def made(self, prototype: Any, function: Callable[..., object]) -> Any:
        """The same for a function's argument."""

        def called(_user: int | None, *arguments: Any) -> bool:
            try:
                return self._raised is None and function(*arguments) is not False
            except BaseException as raised:  # it goes on in `finish`
                self._raised = raised
                return False

        self._kept.append(prototype(called))
        return self._kept[-1]

    @contextmanager
    def finish(self) -> Iterator[None]:
        """Around the library's call."""
        try:
            yield
        except Exception:
            if self._raised is None:
                raise
        if self._raised is not None:
            raise self._raised


# ---- handles ------------------------------------------------------------------------------------------------------------


class Turn:
    """Whose turn it is with a handle: one thread at a time; others wait. A callback may not use its own handle."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._owner: int | None = None

    @contextmanager
    def taken(self) -> Iterator[None]:
        me = threading.get_ident()
        if self._owner == me:
            raise RuntimeError("a callback may not use the handle that calls it")
        with self._lock:
            self._owner = me
            try:
                yield
            finally:
                self._owner = None


class Handle:
    """A handle of the library, closed by `close`, by a `with` statement, or when it is collected."""

    _kind = "handle"

    def __init__(self, pointer: Any, turn: Turn) -> None:
        self._pointer: Any = pointer
        self._turn = turn

    @contextmanager
    def _open(self) -> Iterator[Any]:
        """The pointer, for this thread alone."""
        with self._turn.taken():
            if self._pointer is None:
                raise ValueError(f"the {self._kind} is closed")
            yield self._pointer

    def _release(self, pointer: Any) -> None:
        raise NotImplementedError

    @property
    def closed(self) -> bool:
        return self._pointer is None

    def close(self) -> None:
        """Closes the handle. Closing it again does nothing."""
        if self._pointer is None:
            return
        with self._turn.taken():
            pointer, self._pointer = self._pointer, None
            if pointer is not None:
                self._release(pointer)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def __del__(self) -> None:
        if getattr(self, "_pointer", None) is not None:
            self.close()
