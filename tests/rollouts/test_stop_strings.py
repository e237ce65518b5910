"""Stop texts are detected independent of token boundaries."""

from __future__ import annotations

from typing import Any

import pytest
from tiny import byte_tokenizer

from gnomon.rollouts.stop_strings import StopTexts


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return byte_tokenizer(chat=False)


def end_of(tokenizer: Any, stops: list[str], text: str) -> tuple[str, str] | None:
    """Feed a text token by token; returns the text so far when it stopped, and the text before the stop."""
    ids = list(tokenizer(text, add_special_tokens=False)["input_ids"])
    stop = StopTexts(tokenizer, stops)
    for count in range(1, len(ids) + 1):
        if (before_stop := stop.cut(ids[:count])) is not None:
            return tokenizer.decode(ids[:count]), before_stop
    return None


@pytest.mark.parametrize(
    ("stops", "text", "expected"),
    [
        (["\n\n"], "one\ntwo\n\nthree", ("one\ntwo\n\n", "one\ntwo")),
        (["完了"], "好电影完了再见", ("好电影完了", "好电影")),
        (["Human:"], "so it is. Human: and", ("so it is. Human:", "so it is.")),
        (["xyz", "yz", "q"], "abxyz", ("abxyz", "ab")),  # both close at once: cut before the first to begin
        (["🎬"], "cut 🎬 now", ("cut 🎬", "cut")),
        (["a"], "a", ("a", "")),
        (["电"], "申影", None),  # shares its first bytes with 电
        ([], "anything", None),
    ],
)
def test_a_stop_is_found_at_its_last_token(
    tokenizer: Any, stops: list[str], text: str, expected: tuple[str, str] | None
) -> None:
    assert end_of(tokenizer, stops, text) == expected


def test_a_stop_within_a_token(tokenizer: Any) -> None:
    """`good` is one token: what follows the stop within it is drawn but not part of the text."""
    assert len(tokenizer(" good", add_special_tokens=False)["input_ids"]) == 1
    assert end_of(tokenizer, ["go"], "a very good film") == ("a very good", "a very")


def test_a_stop_far_into_a_long_completion(tokenizer: Any) -> None:
    text = "影" * 500
    assert end_of(tokenizer, ["片尾"], text + "片尾 more") == (text + "片尾", text)
