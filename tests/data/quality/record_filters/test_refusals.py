"""Refusals and boilerplate in English and Chinese."""

from __future__ import annotations

import pytest
from quality_rows import pair, reasons

from gnomon.core.errors import ConfigError


@pytest.mark.parametrize(
    "text",
    [
        "I'm sorry, but I can't help with that.",
        "I’m sorry, I cannot assist you.",
        "As an AI language model, I have no opinions.",
        "I am unable to provide medical advice.",
        "I don't feel comfortable with this request.",
        "作为一个人工智能语言模型，我没有感情。",
        "抱歉，我无法回答这个问题。",
        "对不起,我不能提供这些信息。",
        "很遗憾，我没有办法帮您。",
    ],
)
def test_refusals_are_found(text: str) -> None:
    (reason,) = reasons("refusals", pair(chosen=text))
    assert reason.startswith("chosen refuses or is boilerplate: “")


@pytest.mark.parametrize(
    "text",
    [
        "I can't wait to see the sea again.",
        "Sorry to hear that. Have you tried another cable?",
        "我不能吃辣，所以点了面条。",
        "No.",
    ],
)
def test_other_answers_are_not(text: str) -> None:
    assert reasons("refusals", pair(chosen=text)) == []


def test_only_the_start_is_searched_and_patterns_can_be_added() -> None:
    late = "Here is the plan. " * 20 + "I'm sorry, but I can't do more."
    assert reasons("refusals", pair(chosen=late)) == []
    assert reasons("refusals", pair(chosen="Ask your bank."), patterns=["ask your (bank|doctor)"])
    with pytest.raises(ConfigError, match=r"filters.refusals.*'\(' is no regular expression"):
        reasons("refusals", pair(), patterns=["("])
