from __future__ import annotations

import math

import pytest

from gnomon.evaluation.text_metrics import distinct_n, self_bleu, tokenize


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("", []),
        (" \n\t ", []),
        ("A good film, really.", ["A", "good", "film", ",", "really", "."]),
        ("这部电影很好。", ["这", "部", "电", "影", "很", "好", "。"]),
        ("我给iPhone 15打9分", ["我", "给", "iPhone", "15", "打", "9", "分"]),
        ("ねこカフェ", ["ね", "こ", "カ", "フ", "ェ"]),
        ("영화가 좋다", ["영화가", "좋다"]),
        ("अच्छी फ़िल्म", ["अच्छी", "फ़िल्म"]),  # vowel signs and the virama stay inside the word
        ("ที่", ["ที่"]),  # one Thai consonant with two marks
        ("cafe\u0301", ["café"]),  # composed
        ("👍🏽", ["👍", "🏽"]),
    ],
)
def test_tokens_suit_the_script(text: str, tokens: list[str]) -> None:
    import unicodedata

    assert tokenize(text) == [unicodedata.normalize("NFC", token) for token in tokens]


def test_a_mark_without_a_base_is_no_token() -> None:
    assert tokenize("\u0301 a\u200d b") == ["a\u200d", "b"]


def test_distinct_n_pools_the_texts() -> None:
    """ "a b a" and "b a": tokens a b a b a: 2 of 5 unique; bigrams ab ba ba: 2 of 3 unique.

    Were n-grams to run across texts there would be a bigram "a b" more, and 2 of 4.
    """
    texts = ["a b a", "b a"]
    assert distinct_n(texts, 1) == pytest.approx(2 / 5)
    assert distinct_n(texts, 2) == pytest.approx(2 / 3)
    assert distinct_n(texts, 3) == 1.0


def test_distinct_n_in_chinese() -> None:
    """ "好看好看": 2 of 4 characters; bigrams 好看 看好 好看: 2 of 3. Split at spaces it would be 1 of 1."""
    assert distinct_n(["好看好看"], 1) == pytest.approx(2 / 4)
    assert distinct_n(["好看好看"], 2) == pytest.approx(2 / 3)


def test_distinct_n_without_n_grams_is_undefined() -> None:
    assert math.isnan(distinct_n([], 1))
    assert math.isnan(distinct_n(["", "  "], 1))
    assert math.isnan(distinct_n(["word"], 2))


def test_distinct_n_refuses_an_invalid_n() -> None:
    with pytest.raises(ValueError, match="n is 0"):
        distinct_n(["a"], 0)


def test_self_bleu_by_hand() -> None:
    """ "a b c d" against "a b c d e": every n-gram matches; 4 tokens for 5: exp(1 - 5/4).

    The other way: 4/5, 3/4, 2/3, 1/2 of the n-grams match; their product is 1/5; no penalty for length.
    """
    expected = (math.exp(-1 / 4) + (1 / 5) ** (1 / 4)) / 2
    assert self_bleu(["a b c d", "a b c d e"]) == pytest.approx(expected)


def test_self_bleu_in_chinese() -> None:
    """我爱猫 and 我爱狗: 2/3 of characters, 1/2 of pairs, 0 of 1 triple, which is smoothed to 1/2."""
    expected = (2 / 3 * 1 / 2 * 1 / 2) ** (1 / 3)
    assert self_bleu(["我爱猫", "我爱狗"]) == pytest.approx(expected)


def test_self_bleu_of_equal_and_of_unlike_texts() -> None:
    assert self_bleu(["the same old words"] * 5) == pytest.approx(1.0)
    assert self_bleu(["one two three four five", "六七八九十"]) < 0.1


def test_self_bleu_is_undefined_without_another_text() -> None:
    assert math.isnan(self_bleu([]))
    assert math.isnan(self_bleu(["alone", "", " "]))


def test_a_text_is_never_its_own_reference() -> None:
    """With one reference each, two unlike texts score low only if no text is its own reference."""
    texts = ["a b c d e f", "g h i j k l", "m n o p q r"]
    assert all(self_bleu(texts, max_references=1, seed=seed) < 0.1 for seed in range(20))


def test_the_draw_is_bounded_and_repeatable() -> None:
    texts = [f"word{i % 7} word{i % 5} word{i % 3} end {i % 2}" for i in range(60)]
    first = self_bleu(texts, max_references=4, max_texts=10, seed=1)
    assert first == self_bleu(texts, max_references=4, max_texts=10, seed=1)
    assert first != self_bleu(texts, max_references=4, max_texts=10, seed=2)
