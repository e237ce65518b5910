"""Digests of what processed data depend on beside their source: the tokenizer, Gnomon's code."""

from __future__ import annotations

import json
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import gnomon.core
import gnomon.data
from gnomon.core.storage.digests import digest_file, digest_of
from gnomon.core.storage.leftovers import temporary_folder
from gnomon.data.reading.sources import digest_source

PACKAGES = (gnomon.core, gnomon.data)


def tokenizer_digest(tokenizer: Any) -> str:
    """Compute the SHA-256 of everything of a tokenizer that its ids depend on, with its chat template."""
    facts = [
        type(tokenizer).__name__,
        tokenizer.chat_template,
        {name: str(token) for name, token in tokenizer.special_tokens_map.items()},
    ]
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is not None:
        content = json.loads(backend.to_str())
        for state in ("truncation", "padding"):  # of the last call, and no part of how texts become ids
            content.pop(state, None)
        return digest_of([*facts, content])
    with temporary_folder(Path(tempfile.gettempdir())) as inside:  # in Python: the files that it saves
        tokenizer.save_pretrained(inside)
        return digest_of([*facts, digest_source(inside)])


@cache
def code_digest() -> str:
    """Compute the SHA-256 of the modules that read, check and encode data."""
    folders = [Path(package.__path__[0]) for package in PACKAGES]
    files = [(path, folder.parent) for folder in folders for path in sorted(folder.rglob("*.py"))]
    return digest_of([[path.relative_to(root).as_posix(), digest_file(path)] for path, root in files])
