"""Edits in a model that llama-cpp-python has loaded: attached, replaced and detached without loading it again.

    from llama_cpp import Llama
    from mobiedit.llama_cpp import attach

    llama = Llama("qwen.gguf")
    attach(llama, "dodoma.gguf")      # or a model's ledger: all its active edits
    attach(llama, None)
"""
from __future__ import annotations

import ctypes
import os
import tempfile
from typing import Any

from ._library import StrPath
from .ledger import Ledger


def attach(llama: Any, edits: StrPath | Ledger | None, scale: float = 1.0) -> None:
    """Attaches an adapter file, or all active edits of a ledger, in place of the adapter that is attached; None: none.

    llama: a `llama_cpp.Llama` of the edited model. The file may be removed then. What the model has computed of earlier
    prompts is dropped, and so is a cache of finished prompts (`set_cache`): both know nothing of adapters.
    RuntimeError: llama.cpp does not load the adapter; what was attached stays.
    """
    if isinstance(edits, Ledger):
        with tempfile.TemporaryDirectory(prefix="mobiedit-") as folder:
            file = os.path.join(folder, "edits.gguf")
            edits.export(file)
            attach(llama, file, scale)
        return
    import llama_cpp

    adapter = None
    if edits is not None:
        adapter = llama_cpp.llama_adapter_lora_init(llama._model.model, os.fsencode(edits))
        if not adapter:
            raise RuntimeError(f"llama.cpp does not load the adapter {os.fspath(edits)}")
    try:
        _set(llama, adapter, scale)
    except RuntimeError:
        if adapter:
            llama_cpp.llama_adapter_lora_free(adapter)
        raise
    _replace(llama, adapter)
    llama.reset()
    llama.set_cache(None)


def _set(llama: Any, adapter: Any, scale: float) -> None:
    """Makes the context use the adapter, and no other."""
    import llama_cpp

    n = 1 if adapter else 0
    adapters = (llama_cpp.llama_adapter_lora_p_ctypes * 1)(adapter) if adapter else None
    scales = (ctypes.c_float * 1)(scale) if adapter else None
    if llama_cpp.llama_set_adapters_lora(llama._ctx.ctx, adapters, n, scales):
        raise RuntimeError("llama.cpp does not attach the adapter")


def _replace(llama: Any, adapter: Any) -> None:
    """Frees the adapter that was attached before, and has `close` free the new one, as it does with lora_path's."""
    import llama_cpp

    if llama._lora_adapter:
        llama_cpp.llama_adapter_lora_free(llama._lora_adapter)
    elif llama.lora_path is None and adapter and not getattr(llama, "_mobiedit_frees", False):
        llama._mobiedit_frees = True
        llama._stack.callback(lambda: llama._lora_adapter and llama_cpp.llama_adapter_lora_free(llama._lora_adapter))
    llama._lora_adapter = adapter
