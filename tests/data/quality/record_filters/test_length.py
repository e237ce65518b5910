"""Bounds of lengths in characters and tokens."""

from __future__ import annotations

from typing import Any

import pytest
from quality_rows import cleaned, pair, reasons

from gnomon.core.errors import ConfigError
from gnomon.core.types import Demonstration, Message, Prompt
from gnomon.data.templates.rendering import render_prompt


def test_characters_are_code_points_in_every_language() -> None:
    row = pair(chosen="今天天气很好", rejected="no")
    assert reasons("length", row, min_characters=3) == ["rejected has 2 characters, fewer than 3"]
    assert reasons("length", row, max_characters=5) == ["chosen has 6 characters, more than 5"]
    assert reasons("length", row, min_characters=2, max_characters=6) == []
    assert reasons("length", row, max_prompt_characters=3) == ["prompt has 4 characters, more than 3"]


def test_tokens_are_those_of_training(chat_tokenizer: Any) -> None:
    row = {"prompt": "ab", "completion": "cdef"}
    start = len(render_prompt(chat_tokenizer, Prompt("p", (Message("user", "ab"),))))
    (too_long,) = reasons("length", row, Demonstration, chat_tokenizer, max_tokens=start)
    total = int(too_long.split()[4])
    assert total > start
    assert reasons("length", row, Demonstration, chat_tokenizer, max_tokens=total) == []
    assert reasons("length", row, Demonstration, chat_tokenizer, max_tokens=total - 1) == [
        f"prompt and completion have {total} tokens, more than {total - 1}"
    ]
    size = total - start
    assert reasons("length", row, Demonstration, chat_tokenizer, min_tokens=size + 1) == [
        f"completion has {size} tokens, fewer than {size + 1}"
    ]


def test_bounds_in_tokens_need_a_model(tmp_path: Any) -> None:
    with pytest.raises(ConfigError, match=r"filters\.length needs a model.*give --model"):
        cleaned(tmp_path, [pair()], {"length": {"max_tokens": 5}})


def test_a_bound_is_needed(tmp_path: Any) -> None:
    with pytest.raises(ConfigError, match=r"filters\.length lacks what to look for; give it one of its settings"):
        cleaned(tmp_path, [pair()], {"length": "drop"})
