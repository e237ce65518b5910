"""Completions that end in the middle."""

from __future__ import annotations

import pytest
from quality_rows import pair, reasons

START = "The bridge was closed for three weeks, so that everybody had to walk around by the mill. " * 3
CHINESE = "这座桥关闭了三个星期，所以大家都得绕道从磨坊那边走。" * 8


@pytest.mark.parametrize(
    ("end", "reason"),
    [
        (
            "After that, the mayor of the town, who had never liked the old bridge, went to",
            "ends inside a sentence",
        ),
        ("Three things were needed:", "ends with :"),
        ("\n```python\nprint(1)\n", "ends inside a block of code"),
    ],
)
def test_a_cut_end_is_found(end: str, reason: str) -> None:
    assert reasons("truncated", pair(chosen=START + end)) == [f"chosen {reason}"]


def test_a_cut_chinese_sentence_is_found() -> None:
    assert reasons(
        "truncated",
        pair(chosen=CHINESE + "后来那位从来不喜欢旧桥的镇长在一个下雨的早上亲自走到了河边然后他就在那里说了一些"),
    ) == ["chosen ends inside a sentence"]


@pytest.mark.parametrize(
    "end", ["It opened again in May.", "Sources:\n- the town\n- the mill", "\n```\nx = 1\n```", "\nYours, Ann"]
)
def test_whole_ends_are_sound(end: str) -> None:
    assert reasons("truncated", pair(chosen=START + end)) == []
    assert reasons("truncated", pair(chosen=CHINESE)) == []


def test_short_texts_are_not_judged() -> None:
    assert reasons("truncated", pair(chosen="Paris")) == []
