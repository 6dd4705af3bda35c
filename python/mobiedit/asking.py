"""Asking a model: options of a question, and a model that stays loaded while adapters come and go."""
from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ._c import mobiedit_ask_options, mobiedit_check_options, mobiedit_proposal, mobiedit_score, mobiedit_turn
from ._library import Callbacks, Handle, StrPath, Turn, call, fill, library, path, text, texts
from .options import request
from .results import Proposal, Said, Score, result_of

if TYPE_CHECKING:
    from .model import Model

Turns = Sequence[tuple[str, str]]
"""What was said before: pairs of role ("system", "user", "assistant") and text."""


@contextmanager
def texts_of() -> Iterator[ctypes.c_char_p]:
    """A text that the library hands out, freed in any case."""
    said = ctypes.c_char_p()
    try:
        yield said
    finally:
        library.mobiedit_free(said)


def ask_options(chat: bool, max_tokens: int, turns: Turns, on_text: Callable[[str], object] | None,
                callbacks: Callbacks) -> mobiedit_ask_options:
    """The struct."""
    struct = fill(mobiedit_ask_options(), chat=chat, max_tokens=max_tokens, n_turns=len(turns))
    struct.turns = (mobiedit_turn * len(turns))(*[mobiedit_turn(text(role), text(said)) for role, said in turns])
    struct.on_text = callbacks.field(
        mobiedit_ask_options, "on_text",
        lambda piece: on_text(piece.decode(errors="replace")) if on_text else None)
    return struct


class Chat(Handle):
    """A model that stays loaded in libllama. An adapter is attached, replaced and detached without loading it again.

    Made by `Model.chat`. Another thread may use it while its model is edited.
    """

    _kind = "chat"

    def __init__(self, pointer: Any, model: Model) -> None:
        super().__init__(pointer, Turn())
        self._model = model  # must outlive it

    def _release(self, pointer: Any) -> None:
        library.mobiedit_chat_close(pointer)

    def attach(self, adapter: StrPath | None) -> None:
        """Attaches an adapter file in place of the one that is attached; None: none. The file may be removed then."""
        with self._open() as pointer:
            call(library.mobiedit_chat_attach, pointer, path(adapter))

    def ask(self, prompt: str, *, chat: bool = False, max_tokens: int = 0, turns: Turns = (),
            on_text: Callable[[str], object] | None = None) -> str:
        """As `Model.ask`, with what is attached."""
        callbacks = Callbacks()
        options = ask_options(chat, max_tokens, turns, on_text, callbacks)
        with self._open() as pointer, callbacks.finish(), texts_of() as said:
            call(library.mobiedit_chat_ask, pointer, text(prompt), ctypes.byref(options), ctypes.byref(said))
            return (said.value or b"").decode(errors="replace")

    def score(self, prompt: str, said: str, *, chat: bool = False) -> Score:
        """How the model reads the text behind the prompt, all at once, with what is attached.

        chat: the prompt is a user's message in the model's chat template, and the text begins the answer.
        """
        struct = mobiedit_score()
        with self._open() as pointer:
            call(library.mobiedit_chat_score, pointer, text(prompt), chat, text(said), ctypes.byref(struct))
        try:
            return Score(*(tuple(array[:struct.n]) for array in (struct.tokens, struct.likeliest, struct.log_probs)))
        finally:
            library.mobiedit_score_free(ctypes.byref(struct))

    def check(self, prompt: str, target: str, *, before: StrPath | None = None, after: StrPath | None = None,
              also: Sequence[str] = (), questions: Sequence[str] = (),
              on_said: Callable[[Said], object] | None = None) -> tuple[Said, ...]:
        """What an edit may have changed: its prompt, its other wordings, questions in the chat, what else is said of
        the subject, and the prompt about names like the subject; with the adapter `before` it and the one `after` it,
        which stays attached.

        also: the fact in other words, with the same subject in braces; the first 16 are asked.
        questions: put in a chat, at most 8. on_said: given each answer, in the end; returning False cancels.
        """
        callbacks = Callbacks()
        found: list[Said] = []
        struct = mobiedit_check_options(before=path(before), after=path(after), n_questions=len(questions))
        struct.questions = texts(questions)

        def on_c_said(said: Any) -> object:
            found.append(result_of(said.contents))
            return on_said(found[-1]) if on_said else None

        struct.on_said = callbacks.field(mobiedit_check_options, "on_said", on_c_said)
        with self._open() as pointer, callbacks.finish():
            call(library.mobiedit_chat_check, pointer, ctypes.byref(request(prompt, target, (), also)),
                 ctypes.byref(struct))
        return tuple(found)

    def propose(self, sentence: str) -> Proposal:
        """Which words of "The capital of Japan is Lima." are the subject and the target: for a person to look at."""
        struct = mobiedit_proposal()
        encoded = text(sentence)
        with self._open() as pointer:
            call(library.mobiedit_propose, pointer, encoded, ctypes.byref(struct))
        parts = (encoded[:struct.subject_begin], b"{", encoded[struct.subject_begin:struct.subject_end], b"}",
                 encoded[struct.subject_end:struct.target_begin])
        target = encoded[struct.target_begin:struct.target_end]
        proposal: Proposal = result_of(struct, prompt=b"".join(parts).decode().rstrip(), target=target.decode())
        return proposal
