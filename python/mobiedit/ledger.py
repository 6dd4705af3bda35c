"""The ledger: what has been edited in a model, remembered in a file beside it."""
from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Unpack

from ._c import (mobiedit_change, mobiedit_import_options, mobiedit_import_summary, mobiedit_merge_result,
                 mobiedit_record_fn, mobiedit_verify_options, mobiedit_verify_summary)
from ._library import Callbacks, Handle, StrPath, Turn, call, fill, library, path
from .errors import FileError
from .options import (EditOptions, EditProgress, Fact, attempted, edit_options, edit_result, made, merge_options,
                      request)
from .results import (Change, EditResult, ImportFact, ImportSummary, MergeResult, Record, VerifySummary, result_of)

if TYPE_CHECKING:
    from .model import Model


class Ledger(Handle):
    """All edits of a model: its active ones are solved together and make one adapter. Made by `Model`.

    A change is on disk when the call returns. Several processes may use one ledger.
    """

    _kind = "ledger"

    def __init__(self, pointer: Any, turn: Turn, model: Model) -> None:
        super().__init__(pointer, turn)
        self._model = model  # must outlive it

    def _release(self, pointer: Any) -> None:
        library.mobiedit_ledger_close(pointer)

    def list(self) -> tuple[Record, ...]:
        """All edits in the order in which they were made."""
        return self._records(0)

    def record(self, id: int) -> Record:
        """The edit with this id, from 1; ArgumentError: there is none."""
        if id < 1:
            raise ValueError(f"ids begin at 1: {id}")
        return self._records(id)[0]

    def _records(self, id: int) -> tuple[Record, ...]:
        found: list[Record] = []
        callbacks = Callbacks()
        on_record = callbacks.made(mobiedit_record_fn, lambda record: found.append(result_of(record.contents)))
        with self._open() as pointer, callbacks.finish():
            call(library.mobiedit_ledger_list, pointer, id, on_record, None)
        return tuple(found)

    def edit(self, prompt: str, target: str, *, output: StrPath | None = None, keep: Sequence[str] = (),
             also: Sequence[str] = (), progress: EditProgress | None = None,
             **options: Unpack[EditOptions]) -> EditResult:
        """`Model.edit`, recorded: verified with all active edits in place. `output` is the adapter of all of them."""
        callbacks = Callbacks()
        chosen = edit_options(options, callbacks, progress)
        asked = request(prompt, target, keep, also)
        change = mobiedit_change()
        with self._open() as pointer, edit_result() as result, callbacks.finish():
            try:
                with attempted(result):
                    call(library.mobiedit_ledger_edit, pointer, ctypes.byref(asked), ctypes.byref(chosen),
                         path(output), ctypes.byref(result), ctypes.byref(change))
            except FileError as error:
                if change.id:
                    error.add_note(f"the edit is recorded all the same, as {change.id}")
                raise
            return made(result, result_of(change))

    def undo(self, id: int = 0) -> Change:
        """Takes an edit back; 0: the last one done. Runs no model: `export` makes an adapter."""
        return self._change(library.mobiedit_ledger_undo, id)

    def redo(self, id: int = 0) -> Change:
        """Makes an edit active again; 0: the last one undone. Runs no model."""
        return self._change(library.mobiedit_ledger_redo, id)

    def _change(self, function: Any, id: int) -> Change:
        struct = mobiedit_change()
        if id < 0:
            raise ValueError(f"an id is not negative: {id}")
        with self._open() as pointer:
            call(function, pointer, id, ctypes.byref(struct))
        change: Change = result_of(struct)
        return change

    def export(self, output: StrPath) -> None:
        """Writes the adapter of all active edits. If none is active, it does nothing."""
        with self._open() as pointer:
            call(library.mobiedit_ledger_export, pointer, path(output))

    def verify(self, *, repair: bool = False, on_record: Callable[[Record], object] | None = None,
               progress: EditProgress | None = None, **options: Unpack[EditOptions]) -> VerifySummary:
        """Asks whether each active edit holds among all others, and records the answers.

        repair: edits that do not hold are solved again. on_record: given each active edit; returning False cancels.
        """
        callbacks = Callbacks()
        struct = fill(mobiedit_verify_options(), repair=repair)
        struct.edit = edit_options(options, callbacks, progress)
        struct.on_record = callbacks.field(
            mobiedit_verify_options, "on_record",
            lambda record: on_record(result_of(record.contents)) if on_record else None)
        summary = mobiedit_verify_summary()
        with self._open() as pointer, callbacks.finish():
            call(library.mobiedit_ledger_verify, pointer, ctypes.byref(struct), ctypes.byref(summary))
        verified: VerifySummary = result_of(summary)
        return verified

    def import_facts(self, facts: StrPath, *, n: int = 0, skip: int = 0,
                     on_fact: Callable[[ImportFact], object] | None = None, progress: EditProgress | None = None,
                     **options: Unpack[EditOptions]) -> ImportSummary:
        """Edits the facts of a file, JSON or CSV, one by one; an import that was interrupted goes on where it was.

        n: facts; 0: all. skip: left out at the start. on_fact: given each that is done; returning False cancels.
        """
        callbacks = Callbacks()
        struct = fill(mobiedit_import_options(), n=n, skip=skip)
        struct.edit = edit_options(options, callbacks, progress)
        struct.on_fact = callbacks.field(
            mobiedit_import_options, "on_fact", lambda fact: on_fact(result_of(fact.contents)) if on_fact else None)
        summary = mobiedit_import_summary()
        with self._open() as pointer, callbacks.finish():
            call(library.mobiedit_ledger_import, pointer, path(facts), ctypes.byref(struct), ctypes.byref(summary))
        imported: ImportSummary = result_of(summary)
        return imported

    def merge(self, output: StrPath, *, facts: Sequence[Fact] = (), keep_float: bool = False,
              modelfile: StrPath | None = None, progress: EditProgress | None = None) -> MergeResult:
        """Folds all active edits into a copy of the model at `output`; see `Model.merge`."""
        callbacks = Callbacks()
        options = merge_options(keep_float, facts, modelfile, callbacks, progress)
        result = mobiedit_merge_result()
        with self._open() as pointer, callbacks.finish():
            call(library.mobiedit_ledger_merge, pointer, ctypes.byref(options), path(output), ctypes.byref(result))
        merged: MergeResult = result_of(result)
        return merged
