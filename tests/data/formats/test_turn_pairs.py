"""Conversations as lists of inputs with outputs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gnomon.core.types import Demonstration
from gnomon.data.inspection import inspect
from gnomon.data.records import read_records


@pytest.mark.parametrize("column", ["conversation", "conversations", "turns"])
@pytest.mark.parametrize("keys", [("input", "output"), ("question", "answer")])
def test_every_pair_is_two_turns(rows_file: Callable[..., Path], column: str, keys: tuple[str, str]) -> None:
    pairs = [dict(zip(keys, (f"q{n}", f"a{n}"), strict=True)) for n in (1, 2)]
    path = rows_file({column: pairs, "source": "s", "system": "Be brief."})
    inspection = inspect(path)
    assert inspection.kind is Demonstration
    assert inspection.unread == ("source",)
    (record,) = read_records(Demonstration, path)
    assert [turn.content for turn in record.prompt.messages] == ["Be brief.", "q1"]
    assert [turn.content for turn in record.completion.turns or ()] == ["a1", "q2", "a2"]


def test_a_pair_that_lacks_one_of_them_is_refused(rows_file: Callable[..., Path]) -> None:
    good: list[dict[str, Any]] = [{"input": "q", "output": "a"}]
    inspection = inspect(
        rows_file(*[{"conversation": good}] * 3, {"conversation": [*good, {"input": "r"}]}, {"conversation": []})
    )
    assert [one.reason.partition(",")[0] for one in inspection.refused] == [
        "no 'output' in it",
        "it has no list of inputs with outputs under conversation",
    ]
