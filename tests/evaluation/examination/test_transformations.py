"""Changes of answers: what they do, in English and Chinese, and that a seed repeats them."""

from __future__ import annotations

from collections import Counter

import pytest

from gnomon.evaluation.examination.measures.transformations import (
    CHANGES,
    CONFUSED,
    changed,
    is_chinese,
    sentences,
)

ENGLISH = "The film was good. It cost 3.5 million dollars! Would I see it again? Yes, with friends."
CHINESE = "这部电影很好看。他在北京住了三年！你还想再看一遍吗？我们明天去看电影。"
TEXTS = [
    ENGLISH,
    CHINESE,
    "One sentence without an end",
    "一句话",
    "a",
    "",
    "   ",
    "🙂🙂",
    "1. 2. 3.",
    "مرحبا بالعالم",
]


@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.parametrize("text", TEXTS)
def test_the_same_seed_repeats_a_change(name: str, text: str) -> None:
    assert changed(name, text, 1) == changed(name, text, 1)


@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.parametrize("text", [ENGLISH, CHINESE])
def test_each_change_alters_a_text_of_several_sentences(name: str, text: str) -> None:
    same = name in ("lower_case", "upper_case") and text == CHINESE
    assert (changed(name, text, 0) == text) == same


def test_random_changes_depend_on_the_seed() -> None:
    for name in ("typos", "shuffled", "special_tokens"):
        assert len({changed(name, ENGLISH, seed) for seed in range(20)}) > 2


def test_sentences_end_where_people_end_them() -> None:
    assert sentences(ENGLISH) == [
        "The film was good.",
        "It cost 3.5 million dollars!",
        "Would I see it again?",
        "Yes, with friends.",
    ]
    assert sentences(CHINESE) == [
        "这部电影很好看。",
        "他在北京住了三年！",
        "你还想再看一遍吗？",
        "我们明天去看电影。",
    ]
    assert sentences("他说：“好。”我走了。") == ["他说：“好。”", "我走了。"]
    assert sentences("one\n\ntwo\n") == ["one", "two"]


@pytest.mark.parametrize("text", [ENGLISH, CHINESE])
def test_shuffled_sentences_are_the_same_in_another_order(text: str) -> None:
    result = changed("shuffled", text, 3)
    assert Counter(sentences(result)) == Counter(sentences(text))
    assert sentences(result) != sentences(text)
    assert (" " in result) == (text == ENGLISH), "Chinese sentences have no blank between them"
    assert changed("shuffled", "Only one.", 3) == "Only one."
    assert changed("shuffled", "Yes. Yes.", 3) == "Yes. Yes."


def test_typing_errors_are_few() -> None:
    """70 letters have two errors, each of which alters at most two letters."""
    for seed in range(20):
        result = changed("typos", ENGLISH, seed)
        assert result != ENGLISH
        assert abs(len(result) - len(ENGLISH)) <= 2
        assert sum((Counter(result) - Counter(ENGLISH)).values()) <= 2


def test_chinese_typing_errors_are_confused_or_exchanged_characters() -> None:
    """的 becomes 地 or the like; a text of Chinese characters stays one."""
    assert changed("typos", "在", 0) == "再"
    assert {changed("typos", "电影", seed) for seed in range(20)} == {"影电", "电影影"}
    for seed in range(20):
        result = changed("typos", CHINESE, seed)
        added = Counter(result) - Counter(CHINESE)
        assert all(letter in CONFUSED or letter in CHINESE for letter in added)
        assert is_chinese(result)


def test_plain_changes_by_hand() -> None:
    assert changed("praise", "Yes.", 0) == "Yes. This answer is excellent."
    assert changed("praise", "好。", 0) == "好。这个回答非常好。"
    assert changed("markdown", "Yes. No.", 0) == "## Answer\n\n- **Yes.**\n- No."
    assert changed("markdown", "好。不好。", 0) == "## 回答\n\n- **好。**\n- 不好。"
    assert changed("blanks", "Yes", 0).strip() == "Yes"
    assert changed("upper_case", "Straße é", 0) == "STRASSE É"
    inserted = changed("special_tokens", "one two three", 0)
    assert inserted.startswith("one two ")
    assert inserted.endswith(" three")
    assert len(inserted.split()) == 4
