"""Lists of answers with ranks or scores."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gnomon.core.types import Preference, Ranking
from gnomon.data.inspection import inspect
from gnomon.data.records import read_records

NECTAR = {
    "prompt": "\n\nHuman: Name a film.\n\nAssistant: ",
    "answers": [
        {"answer": "Ikiru.", "model": "x", "rank": 2.0},
        {"answer": "Ran.", "model": "y", "rank": 1.0},
        {"answer": "No.", "model": "z", "rank": 3.0},
    ],
    "num_responses": 3,
}


@pytest.mark.parametrize(
    "row",
    [
        NECTAR,
        {"query": "Name a film.", "responses": ["Ikiru.", "Ran.", "No."], "scores": [0.5, 0.9, -1]},
        {"prompt": "Name a film.", "responses": ["Ikiru.", "Ran.", "No."], "rank": [2, 1, 3]},
        {"prompt": "Name a film.", "completions": ["Ikiru.", "Ran.", "No."], "scores": [5, 9, 1]},
    ],
)
def test_ranks_and_scores_order_the_answers(rows_file: Callable[..., Path], row: dict[str, Any]) -> None:
    inspection = inspect(rows_file(row))
    assert inspection.kind is Ranking
    (record,) = inspection.records
    assert record.prompt.messages[0].content == "Name a film."
    assert [one.text for one in record.completions] == ["Ran.", "Ikiru.", "No."]


def test_scores_are_margins_and_ranks_are_none(rows_file: Callable[..., Path]) -> None:
    row = {"prompt": "Name a film.", "responses": ["Ikiru.", "Ran."]}
    (scored,) = read_records(Preference, rows_file({**row, "scores": [1, 4]}))
    assert (scored.chosen.text, scored.margin) == ("Ran.", 3)
    (ranked,) = read_records(Preference, rows_file({**row, "ranks": [1, 2]}))
    assert (ranked.chosen.text, ranked.margin) == ("Ikiru.", 0)


def test_a_table_holds_lists_as_json(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text('prompt,responses,scores\nName a film.,"[""Ikiru."", ""Ran.""]","[1, 4]"\n', encoding="utf-8")
    (record,) = read_records(Ranking, path)
    assert [one.text for one in record.completions] == ["Ran.", "Ikiru."]


def test_lists_that_do_not_fit_are_refused(rows_file: Callable[..., Path]) -> None:
    row = {"prompt": "Name a film.", "responses": ["Ikiru.", "Ran."], "scores": [1, 4]}
    inspection = inspect(rows_file(row, row, {**row, "scores": [1]}, {**row, "scores": [1, "x"]}))
    reasons = [one.reason.partition(";")[0] for one in inspection.refused]
    assert reasons == [
        "it has no list with a rank or score for each of the 2 responses",
        "scores is 'x', not a finite number",
    ]
