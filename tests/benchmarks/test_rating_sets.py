"""Published ratings go into the store as judgements, and come out as they were."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from gnomon.core.types import RatedText
from gnomon.feedback.store.schema import AnnotatorRow, JudgementRow
from gnomon.feedback.store.store import Store
from gnomon.feedback.tasks.queue import Queue

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(sys, "path", [str(FOLDER), *sys.path])
    return importlib.import_module("replay.sets")


def test_ratings_come_back_from_the_store(script: Any, tmp_path: Path) -> None:
    items = [
        RatedText("s:1", "so so", (-4.0, 0.0, 4.0)),
        RatedText("s:2", "好极了", (3.0, 2.0)),
        RatedText("s:3", "So  so", (1.0,)),  # equal to the first
    ]
    store = Store(tmp_path / "f.db")
    script.write_ratings(store, "s", items)
    assert script.read_ratings(store, "s") == items[:2]
    with store.reading() as session:
        rows = session.execute(select(JudgementRow.id, JudgementRow.annotator, JudgementRow.answer)).all()
        assert session.scalar(select(func.count()).select_from(AnnotatorRow)) == 3
    assert [tuple(row) for row in rows[:2]] == [
        ("s:1:r00", "s:place-00", {"scores": [{"sentiment": 1}]}),
        ("s:1:r01", "s:place-01", {"scores": [{"sentiment": 5}]}),
    ]
    found = Queue(store, "s").progress()
    assert (found["done"], found["open"], found["judgements"]) == (2, 0, 5)
    store.close()
