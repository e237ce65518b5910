"""Fixtures that several folders of tests share; what they are made of is in `tiny.py`."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import byte_tokenizer, ragged_groups, word_tokenizer

from gnomon.core.batches import TokenGroups
from gnomon.core.boundary import CRASH_FOLDER

# Fixtures of whole projects, databases, browsers and data files.
pytest_plugins = ["project", "databases", "browsing", "data_files"]
torch.set_num_threads(1)


def pytest_xdist_auto_num_workers() -> int:
    """One worker more than there are cores: tests that wait for a browser or a process leave their core idle."""
    return (os.cpu_count() or 1) + 1


@pytest.fixture(autouse=True)
def no_crashes(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder for tracebacks of mistakes in Gnomon, which every test leaves empty, its processes too."""
    folder = tmp_path_factory.getbasetemp() / "crashes"
    monkeypatch.setenv(CRASH_FOLDER, str(folder))
    yield folder
    files = sorted(folder.glob("*"))
    texts = [file.read_text(encoding="utf-8") for file in files]
    for file in files:
        file.unlink()
    assert not texts, "\n".join(texts)


@pytest.fixture
def rows_file(tmp_path: Path) -> Callable[..., Path]:
    """Write rows to a file of JSON lines."""

    def write(*rows: dict[str, Any]) -> Path:
        path = tmp_path / "rows.jsonl"
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
        return path

    return write


@pytest.fixture(scope="session")
def chat_tokenizer() -> Any:
    return byte_tokenizer(chat=True)


@pytest.fixture(scope="session")
def bare_tokenizer() -> Any:
    return byte_tokenizer(chat=False)


@pytest.fixture(scope="session")
def words() -> Any:
    return word_tokenizer()


@pytest.fixture
def groups() -> TokenGroups:
    return ragged_groups()


@pytest.fixture
def masked_groups() -> TokenGroups:
    return ragged_groups(masked=True)
