"""The share of ties of a preference: from layouts that know ties through records, tokens and pairs to batches."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gnomon.core.errors import DataError
from gnomon.core.types import Completion, Message, Preference, Prompt, RatedText
from gnomon.data.batching import collate_preferences, totals_of
from gnomon.data.encoding import Example, PairIndices, encode_preferences
from gnomon.data.pairs.build import make_pairs
from gnomon.data.pairs.settings import PairSettings
from gnomon.data.record_rows import record_row
from gnomon.data.records import parse_record, read_records
from gnomon.data.tokenized.example_file import ExampleFile, example_writer, to_batch
from gnomon.stats.win_rates import tie_probabilities, win_probabilities

PROMPT = Prompt("p", (Message("user", "Hi"),))
A, B = Completion("a", "one"), Completion("b", "two")


def battle(winner: str) -> dict[str, Any]:
    sides = {
        f"conversation_{s}": [{"role": "user", "content": "Q"}, {"role": "assistant", "content": s}] for s in "ab"
    }
    return {"model_a": "x", "model_b": "y", "winner": winner, **sides}


HELPSTEER = {"context": [{"role": "user", "content": "Q"}], "response1": "x", "response2": "y"}
STRENGTHS = [{"score": 0}, {"score": -1}, {"score": 0}, {"score": 2}]
ANSWERS = {"prompt": "Q", "response_1": "x", "response_2": "y"}


@pytest.mark.parametrize(
    ("row", "probability", "tie"),
    [
        (battle("model_a"), 1.0, 0.0),
        (battle("tie"), 0.5, 1.0),
        # of four, two call it a tie, one prefers each
        ({**HELPSTEER, "overall_preference": 0, "individual_preference": STRENGTHS}, 0.5, 0.5),
        ({**HELPSTEER, "overall_preference": -2}, 1.0, 0.0),
        ({**HELPSTEER, "overall_preference": 0}, 0.5, 1.0),
        # one vote for the first, one tie: ¾ with the tie counted half
        ({**ANSWERS, "annotator_1": "response_1", "annotator_2": "tie"}, 0.75, 0.5),
        ({"prompt": "Q", "chosen": "x", "rejected": "y", "score_chosen": 3, "score_rejected": 3}, 0.5, 1.0),
        ({"prompt": "Q", "chosen": "x", "rejected": "y", "probability": 0.5}, 0.5, 0.0),  # split or tied: unknown
        ({"prompt": "Q", "chosen": "x", "rejected": "y", "probability": 0.7, "tie": 0.2}, 0.7, 0.2),
        ({"prompt": "Q", "chosen": "x", "rejected": "y", "tie": 0.2}, 0.9, 0.2),
        ({"prompt": "Q", "chosen": "x", "rejected": "y", "tie": None}, 1.0, 0.0),
    ],
)
def test_layouts_that_know_ties_give_their_share(
    rows_file: Callable[..., Path], row: dict[str, Any], probability: float, tie: float
) -> None:
    record, _ = read_records(Preference, rows_file(row, row))
    assert (record.probability, record.tie) == pytest.approx((probability, tie))


def test_a_share_of_ties_that_cannot_be_is_refused() -> None:
    row = {"prompt": "Q", "chosen": "x", "rejected": "y", "probability": 0.9, "tie": 0.6}
    with pytest.raises(
        DataError, match=r"tie is 0.6, but with a probability of 0.9, .* at most 0.2 of the raters"
    ):
        parse_record(Preference, row)
    with pytest.raises(DataError, match=r"tie is 1\.5, outside 0"):
        parse_record(Preference, {**row, "tie": 1.5})


def test_rows_hold_ties_only_where_there_are_some() -> None:
    tied = Preference(PROMPT, A, B, probability=0.6, tie=0.4)
    assert parse_record(Preference, record_row(tied)) == tied
    assert "tie" not in record_row(Preference(PROMPT, A, B))


def test_ties_reach_the_batch_in_memory_and_through_the_file(chat_tokenizer: Any, tmp_path: Path) -> None:
    records = [Preference(PROMPT, A, B, probability=0.6, tie=0.4), Preference(PROMPT, B, Completion("c", "six"))]
    examples, _ = encode_preferences(records, chat_tokenizer, 64)
    with example_writer(tmp_path / "rows") as writer:
        writer.write_batch(to_batch([(one, b"") for one in examples]))
    for read in (examples, list(ExampleFile(tmp_path / "rows"))):
        batch = collate_preferences(read, totals_of(read))
        assert batch.tie is not None
        assert batch.tie.tolist() == pytest.approx([0.4, 0.0])


def test_examples_without_ties_have_a_share_of_zero() -> None:
    example = Example("p", (1,), ((2,), (3,)), (PairIndices(0, 1, 1.0, 0.0, 1.0),))
    batch = collate_preferences([example], totals_of([example]))
    assert batch.tie is not None
    assert batch.tie.tolist() == [0.0]


def test_ties_of_ratings_by_hand() -> None:
    """Of {1, 2} and {2, 2}: 2 of 4 pairs of ratings are equal, and the second is higher in the other 2."""
    assert tie_probabilities([[1, 2], [2, 2]])[0, 1] == 0.5
    assert win_probabilities([[1, 2], [2, 2]])[0, 1] == 0.25
    assert tie_probabilities([[1, 2], [2, 2]])[0, 0] == 0.5


def test_pairs_made_of_preferences_and_ratings_have_ties() -> None:
    """Two comparisons of the same completions, of weight 3 and 1 and shares of ties 0.4 and 0: 0.3."""
    first = Preference(PROMPT, A, B, probability=0.6, tie=0.4, weight=3.0)
    (pair,) = make_pairs([first, Preference(PROMPT, B, A)], PairSettings()).preferences
    assert (pair.probability, pair.tie) == pytest.approx((0.5 + abs(0.3 - 0.5) / 4, 0.3))
    texts = [RatedText("1", "x", (1.0, 2.0), PROMPT), RatedText("2", "y", (2.0, 2.0), PROMPT)]
    (rated,) = make_pairs(texts, PairSettings()).preferences
    assert (rated.chosen.text, rated.probability, rated.tie) == ("y", 0.75, 0.5)
