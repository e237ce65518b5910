"""What kind of records a user's file holds, by its first row."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gnomon.data.sources import read_rows


def first_row(path: Path) -> Mapping[str, Any]:
    """The first row of a file; empty where it has none."""
    return next((row for _, row in read_rows(path)), {})
