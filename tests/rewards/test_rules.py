"""Rules by hand."""

from __future__ import annotations

import math

import pytest
from tiny import prompts_of

from gnomon.core.types import Completion, Message, Prompt
from gnomon.rewards import rules


def texts(*values: str) -> list[Completion]:
    return [Completion(str(i), text) for i, text in enumerate(values)]


def test_length_is_0_up_to_the_limit() -> None:
    assert rules.length(texts("", "12345", "1234567", "x" * 10), 5) == pytest.approx([0, 0, -0.4, -1])


def test_repetition_counts_grams_that_came_before() -> None:
    """ "ababab" has five 2-grams, two of them different: −3/5; "好好好好" has three, one different: −2/3."""
    scores = rules.repetition(texts("ababab", "abcdef", "好好好好", "a"), 2)
    assert scores == pytest.approx([-0.6, 0.0, -2 / 3, 0.0])


def test_diversity_is_within_a_prompt() -> None:
    """ "abc" and "abd" with 2-grams {ab, bc}, {ab, bd}: overlap ⅓. The third is the only one of its prompt."""
    a, b = prompts_of("x", "y")
    assert rules.diversity([a, a, b], texts("abc", "abd", "abc"), 2) == pytest.approx([2 / 3, 2 / 3, 0.0])
    assert rules.diversity([a, a], texts("same", "same"), 2) == [0.0, 0.0]


def test_a_format_fits_the_whole_text() -> None:
    completions = texts("<think>a\nb</think> 4", "4", " <think></think> 12 ")
    assert rules.matches(completions, r"<think>.*</think> \d+") == [1.0, 0.0, 1.0]


def test_exact_compares_the_matched_part() -> None:
    prompt = Prompt("p", (Message("user", "2+2?"),), answer="4")
    without = Prompt("q", (Message("user", "?"),))
    scores = rules.exact(
        [prompt, prompt, prompt, without], texts("so #### 4", "#### 5", "4", "4"), r"####\s*(\d+)"
    )
    assert scores[:3] == [1.0, 0.0, 0.0]
    assert math.isnan(scores[3])
    assert rules.exact([prompt, prompt], texts(" 4 ", "four"), None) == [1.0, 0.0]
