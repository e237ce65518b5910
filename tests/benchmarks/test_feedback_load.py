"""A server that is killed while many judge: what was acknowledged is there, once, on both databases."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import pytest

from gnomon.feedback.store.store import Store

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
load: Any = importlib.import_module("feedback_load")


@pytest.mark.long
def test_what_was_acknowledged_outlives_a_kill(database: str) -> None:
    found = load.measure(database, annotators=40, seconds=12.0, think=(0.3, 0.9))
    assert found["failures"] == []
    assert found["faults"] == []
    assert found["judgements"] > 50  # beside other tests each judgement takes longer
    assert found["unanswered"] > 0, "nobody noticed the kill"


def test_what_is_missing_is_seen(tmp_path: Path) -> None:
    store = Store(tmp_path / "feedback.db")
    assert load.faults(store, ["one"]) == ["one was acknowledged and is not there"]
    store.close()
