"""Pairs of conversations with turns of from and value."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gnomon.core.types import Preference
from gnomon.data.inspection import inspect


def turns(*texts: str) -> list[dict[str, str]]:
    return [{"from": "gpt" if n % 2 else "human", "value": text} for n, text in enumerate(texts)]


SIDES: dict[str, Any] = {
    "chosen": turns("Hi", "Hello!", "Name a film.", "Ran."),
    "rejected": turns("Hi", "Hello!", "Name a film.", "No."),
}


@pytest.mark.parametrize("prompt", [None, "Name a film.", turns("Hi", "Hello!", "Name a film.")])
def test_the_shared_turns_are_the_prompt(rows_file: Callable[..., Path], prompt: Any) -> None:
    row = SIDES if prompt is None else {**SIDES, "prompt": prompt}
    inspection = inspect(rows_file({**row, "weight": 2, "source": "s"}))
    assert inspection.kind is Preference
    (record,) = inspection.records
    assert [turn.content for turn in record.prompt.messages] == ["Hi", "Hello!", "Name a film."]
    assert (record.chosen.text, record.rejected.text, record.weight) == ("Ran.", "No.", 2)
    assert inspection.unread == ("source",)


def test_answers_alone_need_their_prompt(rows_file: Callable[..., Path]) -> None:
    answers = {"chosen": [{"from": "gpt", "value": "Ran."}], "rejected": [{"from": "gpt", "value": "No."}]}
    inspection = inspect(rows_file({**answers, "prompt": "Name a film."}, answers, {**SIDES, "prompt": "Who?"}))
    assert [record.prompt.messages[0].content for record in inspection.records] == ["Name a film."]
    reasons = [one.reason.partition(",")[0] for one in inspection.refused]
    assert reasons == ["chosen and rejected share no prompt; start both with the same messages", "the prompt"]
