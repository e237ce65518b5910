"""Flags of written texts: each from a text made for it, and texts that only look like one."""

from __future__ import annotations

from typing import Any

import pytest
from tiny import prompts_of

from gnomon.core.types import Prompt
from gnomon.feedback.quality.written_checks import (
    TextToCheck,
    columns,
    differs_in_script,
    main_script,
    text_flags,
)
from gnomon.feedback.task_types import setup_of

TALE = "Steam pushes the piston, the piston turns the wheel, and the wheel pulls the train up the hill."
OTHER = "A compass needle is a small magnet that turns until it lies along the field of the earth."


def prompt(text: str) -> Prompt:
    (one,) = prompts_of(text)
    return one


def flags(*texts: tuple[str, int, str], question: str = "How does it work?", **settings: Any) -> list[Any]:
    """The flags of (annotator, item, text) each, written in a minute."""
    rows = [
        TextToCheck(str(n), who, item, prompt(question), text, 60.0) for n, (who, item, text) in enumerate(texts)
    ]
    by_id = text_flags(rows, setup_of(settings))
    return [by_id[row.id] for row in rows]


def test_careful_texts_have_no_flag() -> None:
    assert (
        flags(("ann", 1, TALE), ("bob", 1, OTHER), ("ann", 2, OTHER.replace("compass", "clock") * 3)) == [()] * 3
    )


def test_a_text_below_the_minimum_is_short() -> None:
    assert flags(("ann", 1, "It turns."), min_answer_chars=10) == [("short",)]
    assert flags(("ann", 1, "It turns. "), min_answer_chars=9) == [()]


def test_invisible_characters_do_not_count_towards_the_minimum() -> None:
    assert flags(("ann", 1, "It\u200b\u200b\u200b turns."), min_answer_chars=10) == [("short",)]


@pytest.mark.parametrize("character", ["\x07", "\x1b", "\u202e", "\u2067"], ids=ascii)
def test_control_characters_and_overrides_of_the_direction_are_flagged(character: str) -> None:
    assert flags(("ann", 1, f"It {character}turns.")) == [("control",)]
    assert flags(("ann", 1, "It\n\tturns.")) == [()]


def test_a_text_from_the_prompt_is_flagged_and_a_quotation_is_not() -> None:
    assert flags(("ann", 1, TALE), question=f"Summarize: {TALE}") == [("prompt",)]
    assert flags(("ann", 1, f"{OTHER} It says: {TALE}"), question=f"Summarize: {TALE}") == [()]
    assert flags(("ann", 1, "the wheel"), question=TALE) == [()], "short answers may be words of the prompt"


def test_near_copies_of_others_are_flagged_in_order_of_arrival() -> None:
    near = TALE.replace("hill", "mountain")
    assert flags(("ann", 1, TALE), ("bob", 1, near), ("cyd", 2, TALE)) == [(), ("copied",), ()]
    assert flags(("ann", 1, "Paris."), ("bob", 1, "Paris.")) == [(), ()], "short right answers are alike"


def test_repetition_of_ones_own_texts_is_flagged() -> None:
    near = TALE.replace("hill", "mountain")
    assert flags(("ann", 1, TALE), ("ann", 2, OTHER), ("ann", 3, near)) == [(), (), ("repeated",)]
    chinese = "蒸汽推动活塞，活塞带动车轮，车轮牵引列车驶上山坡，整个过程不断重复，直到锅炉里的水烧干为止。"
    assert flags(("ann", 1, chinese), ("ann", 2, chinese.replace("山坡", "高山"))) == [(), ("repeated",)]


@pytest.mark.parametrize(
    "text",
    [
        "As an AI language model, I have no opinion.",
        "I’m sorry, but I can’t assist with that.",
        "抱歉，我无法回答。",
    ],
)
def test_boilerplate_of_models_is_flagged(text: str) -> None:
    assert flags(("ann", 1, text)) == [("refusal",)]


def test_the_pace_counts_wide_characters_twice() -> None:
    """60 columns at 15 columns a second take 4 seconds."""
    for text, seconds, flag in (
        ("x" * 60, 3.9, ("fast",)),
        ("x" * 60, 4.0, ()),
        ("字" * 30, 3.9, ("fast",)),
        ("x" * 39, 0.0, ()),
        ("x" * 60, None, ()),
    ):
        row = TextToCheck("1", "ann", 1, prompt("Q?"), text, seconds)
        assert text_flags([row], setup_of({})) == {"1": flag}
    assert (columns("ab"), columns("字ｗ"), columns("é")) == (2, 4, 1)


def test_the_language_is_checked_by_script_where_the_project_wants_it() -> None:
    question = "请解释蒸汽机是怎样工作的。"
    assert flags(("ann", 1, TALE), question=question) == [()]
    assert flags(("ann", 1, TALE), question=question, check_language=True) == [("language",)]
    assert flags(("ann", 1, "蒸汽推动活塞，活塞带动车轮。"), question=question, check_language=True) == [()]


@pytest.mark.parametrize(
    ("text", "script"),
    [
        ("Hello there", "Latin"),
        ("你好，世界和平", "Han"),
        ("東京へ行きます", "Kana"),
        ("42 + 1 = 43", ""),
        ("`print` 打印一行字\n```python\nprint('hello world')\n```", "Han"),
        ("Привет, мир", "Cyrillic"),
    ],
)
def test_main_scripts(text: str, script: str) -> None:
    assert main_script(text) == script


def test_code_alone_differs_from_nothing() -> None:
    assert not differs_in_script("```\nprint(1)\nprint(2)\n```", "写一个程序打印数字")
