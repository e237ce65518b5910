"""Loops, symbols and characters that were not decoded."""

from __future__ import annotations

from collections import Counter

import pytest
from quality_rows import pair, reasons

from gnomon.data.quality.record_filters.degenerate import repeated_share, symbol_share

PROSE = (
    "The river had risen overnight, and by morning the lower road was gone. Nobody from the village"
    " went out until noon, when the baker's son waded across with a rope and tied it to the old willow."
)
CHINESE = (
    "昨天夜里河水涨了，到早上下面的路已经看不见了。村里直到中午才有人出门，"
    "面包师的儿子带着绳子蹚水过去，把它系在老柳树上。"
)
TABLE = "| name | age |\n|------|-----|\n| Ann | 31 |\n| Bob | 42 |\n| Eve | 27 |\n"
CODE = "def area(width: float, height: float) -> float:\n    return width * height  # in square meters\n"


@pytest.mark.parametrize("text", [PROSE, CHINESE, TABLE, CODE, PROSE + "\n" + "-" * 60, "ha"])
def test_prose_code_tables_and_lines_are_sound(text: str) -> None:
    assert reasons("degenerate", pair(chosen=text)) == []


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("I am fine. " * 20, "chosen repeats itself"),
        ("我很好。" * 30, "chosen repeats itself"),
        ("a" * 35, "chosen repeats one character 30 times or more"),
        ("%$#@!^&*()" * 3 + "+=}{][|<>?;:" * 2, "chosen is 100% symbols"),
        ("The caf\ufffd is open.", "chosen holds the sign for a character that could not be decoded"),
    ],
)
def test_degenerate_texts_are_found(text: str, reason: str) -> None:
    assert any(one.startswith(reason) for one in reasons("degenerate", pair(chosen=text)))


def test_a_huge_text_is_measured_by_its_start() -> None:
    text = "".join(f"{n} " for n in range(400_000))
    assert len(text) > 2_000_000
    assert repeated_share(text) < 0.2
    assert reasons("degenerate", pair(chosen="so " * 1_000_000))[0].startswith("chosen repeats itself: 100%")


def test_shares_by_hand() -> None:
    assert repeated_share("abcdefghij" * 2) == pytest.approx(1 / 11)  # 11 places, 10 different n-grams
    assert symbol_share(Counter("ab !?")) == 0.5
    assert symbol_share(Counter()) == 0.0
