"""UltraFeedback: pairs, rankings and ratings by overall score, with ties; the binarized form."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gnomon.core.errors import DataError
from gnomon.core.types import Preference, Ranking, RatedText
from gnomon.data.inspection import inspect
from gnomon.data.records import read_records


def row(**scores: Any) -> dict[str, Any]:
    completions = [{"response": name, "overall_score": score, "model": "m"} for name, score in scores.items()]
    return {"instruction": "Name a river.", "models": ["m"], "completions": completions}


def turns(answer: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": "Name a river."}, {"role": "assistant", "content": answer}]


def test_each_two_completions_are_a_pair_and_equal_scores_a_tie(rows_file: Callable[..., Path]) -> None:
    records = read_records(Preference, rows_file(row(Rhine=6.5, Oder=8, Main=6.5)))
    pairs = [(r.chosen.text, r.rejected.text, r.probability, r.margin) for r in records]
    assert pairs == [("Oder", "Rhine", 1, 1.5), ("Rhine", "Main", 0.5, 0), ("Oder", "Main", 1, 1.5)]


def test_a_ranking_holds_the_first_of_tied_completions(rows_file: Callable[..., Path]) -> None:
    path = rows_file(row(Rhine=6.5, Oder=8, Main=6.5, Elbe=9), row(Rhine=1, Oder=1))
    (record,) = read_records(Ranking, path)
    assert [one.text for one in record.completions] == ["Elbe", "Oder", "Rhine"]


def test_completions_are_rated_texts_too(rows_file: Callable[..., Path]) -> None:
    records = read_records(RatedText, rows_file(row(Rhine=6.5, Oder=8)))
    assert [(r.text, r.ratings) for r in records] == [("Rhine", (6.5,)), ("Oder", (8.0,))]
    assert records[0].id != records[1].id


def test_a_score_that_is_no_number_is_refused_with_its_row(rows_file: Callable[..., Path]) -> None:
    with pytest.raises(DataError, match=r"line 2: overall_score is 'N/A', not a finite number"):
        read_records(Preference, rows_file(row(Rhine=1, Oder=2), row(Rhine="N/A", Oder=2)))


def test_a_ten_whose_aspects_are_poor_is_not_used(rows_file: Callable[..., Path]) -> None:
    wrong, right = row(Rhine=10, Oder=8), row(Rhine=10, Oder=8)
    wrong["completions"][0]["fine-grained_score"] = 1.5
    right["completions"][0]["fine-grained_score"] = 4.75
    inspection = inspect(rows_file(wrong, right))
    assert [record.chosen.text for record in inspection.records] == ["Rhine"]
    (unused,) = inspection.refused
    assert (unused.where, unused.reason.partition(":")[0]) == (
        "line 1",
        "an overall_score of 10 contradicts a fine-grained_score of 2 or less",
    )


def test_binarized_scores_are_the_margin_and_equal_ones_a_tie(rows_file: Callable[..., Path]) -> None:
    def pair(a: float, b: float) -> dict[str, Any]:
        sides = {"chosen": turns("Oder"), "rejected": turns("Rhine"), "messages": turns("Oder")}
        return {"prompt": "Name a river.", "prompt_id": "p", **sides, "score_chosen": a, "score_rejected": b}

    path = rows_file(pair(8.5, 6), pair(7, 7), pair(5, 7))
    inspection = inspect(path)
    assert inspection.kind is Preference
    assert [(r.probability, r.margin) for r in inspection.records] == [(1, 2.5), (0.5, 0)]
    assert inspection.records[0].prompt.messages[-1].content == "Name a river."
    assert inspection.records[0].chosen.text == "Oder"
    assert inspection.refused[0].reason.startswith("score_chosen is 5, below score_rejected, 7")
