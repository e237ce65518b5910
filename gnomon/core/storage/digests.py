"""SHA-256 of values, texts and files."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from gnomon.core.storage.files import to_json


def digest_of(value: Any) -> str:
    """Compute the SHA-256 of a JSON value, independent of the order of keys."""
    text = json.dumps(to_json(value), sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def digest_file(path: Path) -> str:
    """Compute the SHA-256 of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def digest(content: Any) -> str:
    """Compute the SHA-256 of a value's compact JSON text, independent of the order of keys."""
    text = json.dumps(content, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
