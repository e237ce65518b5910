"""Silence for libraries that draw progress bars or warn of each other amid a run's lines."""

from __future__ import annotations

import contextlib
import sys
import warnings
from collections.abc import Iterable, Iterator
from typing import Any


@contextlib.contextmanager
def quiet_transformers() -> Iterator[None]:
    """No progress bars and no warnings from transformers inside; afterwards all is as it was."""
    from transformers import modeling_gguf_pytorch_utils as gguf_reading
    from transformers.utils import logging as transformers_logging

    verbosity, bars = transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()
    # Its GGUF reader asks tqdm itself, past the switch that the rest of the library obeys.
    gguf_bar = gguf_reading.tqdm
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    gguf_reading.tqdm = _no_bar
    try:
        yield
    finally:
        gguf_reading.tqdm = gguf_bar
        transformers_logging.set_verbosity(verbosity)
        if bars:
            transformers_logging.enable_progress_bar()


@contextlib.contextmanager
def quiet_peft() -> Iterator[None]:
    """Silence what peft sets off by asking transformers for a property under its old name.

    Its advice on tied embeddings is silent too: Gnomon unties them itself where an adapter needs it.
    Inside, peft finds no bitsandbytes either, unless something imported it before: wherever it is installed peft
    would import it, which takes longer than peft itself, while only models held in 4 or 8 bits need it.
    """
    hidden = "bitsandbytes" not in sys.modules
    if hidden:
        sys.modules["bitsandbytes"] = None  # type: ignore[assignment]  # as documented: an import then fails
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", category=FutureWarning, message="`is_gradient_checkpointing`")
            warnings.filterwarnings("ignore", message="Model (with|has) `tie_word_embeddings=True`")
            warnings.filterwarnings("ignore", message="Input and output embeddings are no longer tied")
            yield
    finally:
        if hidden:
            del sys.modules["bitsandbytes"]


def _no_bar(rows: Iterable[Any], **_: Any) -> Iterable[Any]:
    return rows
