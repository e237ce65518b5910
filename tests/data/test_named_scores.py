"""Named scores: from Gnomon's own layout, HelpSteer and UltraFeedback to examples, in memory and on disk."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gnomon.core.errors import DataError
from gnomon.core.types import NamedScores, Preference, Ranking, RatedText
from gnomon.data.encoding import OVERALL, Example, ScoreIndices, encode_scores, join_examples
from gnomon.data.formats.registry import OWN
from gnomon.data.record_kinds import kind_of_file, kinds_to_learn
from gnomon.data.record_rows import record_row
from gnomon.data.records import parse_record, read_records
from gnomon.data.tokenized.cache import tokenize_source

LEARNED = (Preference, Ranking, RatedText, NamedScores)
HELPSTEER = {
    "prompt": "Why?", "response": "So.",
    "helpfulness": 1, "correctness": 2, "coherence": 3, "complexity": 0, "verbosity": 4,
}  # fmt: skip


def own(word: str, **scores: Any) -> dict[str, Any]:
    return {"prompt": "Q", "completion": word, "scores": scores}


def completion(answer: str, **ratings: Any) -> dict[str, Any]:
    annotations = {aspect: {"Rating": rating, "Rationale": "r"} for aspect, rating in ratings.items()}
    return {"response": answer, "overall_score": 5, "annotations": annotations}


def test_own_rows_are_read_and_written(rows_file: Callable[..., Path]) -> None:
    path = rows_file(own("x", help=3, safe=None), own("y", help="1.5", safe=0))
    assert kind_of_file(path) is NamedScores
    records = read_records(NamedScores, path)
    assert [record.scores for record in records] == [{"help": 3.0}, {"help": 1.5, "safe": 0.0}]
    for record in records:
        assert parse_record(NamedScores, record_row(record)) == record


@pytest.mark.parametrize(
    ("scores", "reason"),
    [
        ({"help": "good"}, "scores.help is 'good', not a finite number"),
        ({"help": float("nan")}, "scores.help is nan, not a finite number"),
        ({"help": True}, "scores.help is True, not a finite number"),
        ({"a#b": 1}, "scores has the name 'a#b'; give each score a name without #"),
    ],
)
def test_scores_that_are_no_numbers_are_refused(scores: dict[str, Any], reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        parse_record(NamedScores, own("x", **scores))


def test_helpsteer_has_five_scores(rows_file: Callable[..., Path]) -> None:
    path = rows_file(HELPSTEER, {**HELPSTEER, "response": "Because.", "helpfulness": 4})
    first, second = read_records(NamedScores, path)
    assert first.scores == {"helpfulness": 1, "correctness": 2, "coherence": 3, "complexity": 0, "verbosity": 4}
    assert (second.completion.text, second.scores["helpfulness"]) == ("Because.", 4)


def test_ultrafeedback_has_the_ratings_of_aspects(rows_file: Callable[..., Path]) -> None:
    answers = [completion("x", honesty="5", helpfulness="N/A"), completion("y", honesty="2", helpfulness="3")]
    row = {"instruction": "Q", "completions": answers}
    first, second = read_records(NamedScores, rows_file(row, row))[:2]
    assert (dict(first.scores), dict(second.scores)) == ({"honesty": 5}, {"honesty": 2, "helpfulness": 3})


def test_a_file_of_pairs_is_learned_as_pairs_and_its_scores_beside(rows_file: Callable[..., Path]) -> None:
    path = rows_file(HELPSTEER, {**HELPSTEER, "response": "Because."})
    assert kinds_to_learn(path, LEARNED, scores=False) == (Preference,)
    assert kinds_to_learn(path, LEARNED, scores=True) == (Preference, NamedScores)
    assert kinds_to_learn(rows_file(own("x", a=1)), LEARNED, scores=True) == (NamedScores,)
    ranked = {"prompt": "Q", "answers": ["x", "y"], "ranks": [2, 1]}
    assert kinds_to_learn(rows_file(ranked, ranked), LEARNED, scores=True) == (Preference,)
    rated = {"prompt": "Q", "text": "x", "rating": 3}
    assert kinds_to_learn(rows_file(rated, rated), LEARNED, scores=True) == (RatedText,)
    assert kinds_to_learn(rows_file(rated, rated), (Preference,), scores=False) == (Preference,)


def test_scores_of_one_completion_are_merged_to_their_mean() -> None:
    """Ratings 4 and 2 in one row, 1 in another: the mean of three; another completion keeps its own."""
    rows = [
        Example("p", (1,), ((2,),), scores=(ScoreIndices(0, OVERALL, 3.0, 1.0, 2),)),
        Example("p", (1,), ((3,),), scores=(ScoreIndices(0, OVERALL, 5.0),)),
        Example("p", (1,), ((2,),), scores=(ScoreIndices(0, OVERALL, 1.5, 4.0),)),
    ]
    merged, other = join_examples(rows)
    assert merged.scores == (ScoreIndices(0, OVERALL, 2.5, 2.0, 3),)
    assert other.scores == rows[1].scores


def test_encoded_on_disk_as_in_memory(
    rows_file: Callable[..., Path], chat_tokenizer: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("GNOMON_CACHE", str(tmp_path / "cache"))
    path = rows_file(own("x", help=3, safe=0), own("y", help=1), own("x", help=2), own("z", help=None))
    examples, rejected = encode_scores(read_records(NamedScores, path), chat_tokenizer, 64)
    assert [one.scores for one in examples] == [
        (ScoreIndices(0, "help", 2.5, 1.0, 2), ScoreIndices(0, "safe", 0.0)),
        (ScoreIndices(0, "help", 1.0),),
    ]
    assert [row.reason for row in rejected] == ["it has no score, all are null"]
    stored = tokenize_source(NamedScores, path, OWN, chat_tokenizer, 64, jobs=1)
    assert list(stored.examples) == examples
    assert [row.reason for row in stored.counts.rejected] == [row.reason for row in rejected]
    assert stored.examples.scores() == [[("help", 2.5), ("safe", 0.0)], [("help", 1.0)]]
