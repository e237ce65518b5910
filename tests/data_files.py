"""Fixtures for rows of a made-up file: written, inspected as a user does it, or read for a training stage."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from gnomon.data.inspection import Inspection, inspect
from gnomon.data.records import read_records

Rows = Mapping[str, Any]


@pytest.fixture
def file_of(tmp_path: Path) -> Callable[..., Path]:
    """Write rows to a file."""

    def write(*rows: Rows, name: str = "rows.jsonl") -> Path:
        path = tmp_path / name
        lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
        path.write_text("".join(lines), encoding="utf-8")
        return path

    return write


@pytest.fixture
def inspected(file_of: Callable[..., Path]) -> Callable[..., Inspection]:
    """Inspect rows, of which no kind is wanted."""
    return lambda *rows: inspect(file_of(*rows))


@pytest.fixture
def records_of(file_of: Callable[..., Path]) -> Callable[..., list[Any]]:
    """Read rows as records of a kind."""
    return lambda kind, *rows: read_records(kind, file_of(*rows))
