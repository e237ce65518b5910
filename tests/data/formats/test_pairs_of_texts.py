"""Lists of chosen and rejected answers, and pairs of texts whose prompt is what they share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, strategies as st

from gnomon.core.errors import DataError
from gnomon.core.types import Preference
from gnomon.data.formats.implicit_prompt import shared_words
from gnomon.data.inspection import Inspection

Inspected = Callable[..., Inspection]
RecordsOf = Callable[..., list[Any]]


def sides(records: list[Any]) -> list[tuple[str, str, float]]:
    return [(record.chosen.text, record.rejected.text, record.weight) for record in records]


def test_every_chosen_answer_is_paired_with_every_rejected_one_and_the_prompt_keeps_its_weight(
    inspected: Inspected,
) -> None:
    inspection = inspected(
        {"prompt": "Q", "chosen": ["a", "b"], "rejected": ["c", "d"], "weight": 2},
        {"prompt": "R", "chosen": "a", "rejected": ["c", "d", "e", "f"]},
    )
    assert inspection.kind is Preference
    assert sides(inspection.records) == [
        ("a", "c", 0.5),
        ("a", "d", 0.5),
        ("b", "c", 0.5),
        ("b", "d", 0.5),
        ("a", "c", 0.25),
        ("a", "d", 0.25),
        ("a", "e", 0.25),
        ("a", "f", 0.25),
    ]
    assert inspection.evidence == "chosen and rejected are lists of answers"


def test_equal_answers_are_no_pair_and_the_others_share_the_weight(inspected: Inspected) -> None:
    inspection = inspected(
        {"question": "Q", "chosen": ["a", "b"], "rejected": ["b"]},
        {"question": "R", "chosen": [], "rejected": ["b"]},
    )
    assert sides(inspection.records) == [("a", "b", 1.0)]
    assert [(row.where, row.reason) for row in inspection.refused] == [
        ("line 1", "the same answer is chosen and rejected"),
        ("line 2", "chosen has no answers"),
    ]


def test_answers_of_a_list_may_be_messages(records_of: RecordsOf) -> None:
    answers = [[{"role": "assistant", "content": text}] for text in "abc"]
    records = records_of(Preference, {"prompt": "Q", "chosen": answers[:2], "rejected": answers[2:]})
    assert sides(records) == [("a", "c", 0.5), ("b", "c", 0.5)]


def test_conversations_under_chosen_and_rejected_are_no_lists_of_answers(records_of: RecordsOf) -> None:
    both = {side: [{"role": "assistant", "content": side}] for side in ("chosen", "rejected")}
    assert sides(records_of(Preference, {"prompt": "Q", **both})) == [("chosen", "rejected", 1.0)]


@pytest.mark.parametrize(
    ("first", "second", "shared"),
    [
        ("The sky is blue.", "The sky is green.", "The sky is"),
        ("Is it? Yes", "Is it? Yet", "Is it?"),  # not inside a word
        ("Is it? Yes ", "Is it? Yes", "Is it? Yes"),
        ("Yes ", "No ", ""),
        ("天是蓝的", "天是绿的", "天是"),
        ("A\n\nb", "A\n\nc", "A"),
        ("Un cafe\u0301", "Un cafe", "Un"),  # a letter and its combining accent
        ("यह किताब", "यह किताबें", "यह"),
        ("ที่", "ท", ""),  # a consonant and its vowel
        ("is_a b", "is_ c", ""),
        ("12 + 30", "12 + 3", "12 +"),
    ],
)
def test_two_texts_share_whole_words(first: str, second: str, shared: str) -> None:
    assert shared_words(first, second) == shared
    assert shared_words(second, first) == shared


def test_the_shared_words_are_the_prompt_and_no_character_is_lost(inspected: Inspected) -> None:
    inspection = inspected({"chosen": "The sky is blue.", "rejected": "The sky is bluish."})
    (record,) = inspection.records
    assert inspection.kind is Preference
    assert record.prompt.messages[0].content == "The sky is"
    assert (record.chosen.text, record.rejected.text) == (" blue.", " bluish.")


def test_texts_that_share_nothing_are_refused_and_equal_ones_are_not_used(
    records_of: RecordsOf, inspected: Inspected
) -> None:
    good = {"chosen": "The sky is blue.", "rejected": "The sky is green."}
    with pytest.raises(DataError, match="line 2: chosen and rejected share no words at the start"):
        records_of(Preference, good, {"chosen": "Yes ", "rejected": "No "})
    (unused,) = inspected(good, {"chosen": "Yes", "rejected": "Yes"}).refused
    assert (unused.where, unused.reason) == ("line 2", "chosen and rejected are the same text")


@given(
    st.text(alphabet="ab é花ท\u0e35\u0301\n.,🙂_", max_size=12),
    st.text(alphabet="ab é花ท\u0e35\u0301\n.,🙂_", max_size=12),
)
def test_words_cover_every_character(first: str, second: str) -> None:
    assert shared_words(first, first) == first
    shared = shared_words(first, second)
    assert first.startswith(shared)
    assert second.startswith(shared)
