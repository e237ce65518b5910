"""Near-duplicates by character n-grams, and the numbers behind them."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from random import Random

import numpy as np
import pytest
from quality_rows import cleaned, pair

from gnomon.data.quality.minhash import band_count, band_size, bands, earlier_rows, signature
from gnomon.data.quality.texts import jaccard, ngrams

TEXT = (
    "A lighthouse keeper lights the lamp at dusk, notes the wind and the passing ships in a book, and sleeps"
    " in turns with a colleague until the sun is up again."
)
CHINESE = "灯塔看守人在黄昏时点亮灯，把风向和过往的船只记在本子上，然后和同事轮流睡觉，直到太阳再次升起。"


def test_a_small_change_is_found_in_english_and_chinese(tmp_path: Path) -> None:
    rows = [
        pair("What does a keeper do?", TEXT),
        pair("What does a keeper do?", TEXT.replace("again.", "again!")),
        pair("看守人做什么？", CHINESE),
        pair("看守人做什么？", CHINESE.replace("升起。", "升起！")),
    ]
    why = cleaned(tmp_path, rows).why("near_duplicates")
    assert why.keys() == {"line 2", "line 4"}
    assert why["line 2"].endswith("like line 1")


def test_every_part_has_to_be_alike(tmp_path: Path) -> None:
    rows = [
        pair(TEXT, "Yes, that is right.", "No."),
        pair(TEXT, "It depends on the coast.", "No."),  # a long common prompt alone is no duplicate
        pair(TEXT, "No.", "Yes, that is right."),  # nor are exchanged sides
        pair(CHINESE, "Yes, that is right.", "No."),
    ]
    assert cleaned(tmp_path, rows, {"contradictions": "off"}).why("near_duplicates") == {}


def test_similarity_is_the_share_of_common_ngrams() -> None:
    assert jaccard(ngrams("abcdef", 5), ngrams("abcdeg", 5)) == pytest.approx(1 / 3)  # abcde; bcdef, bcdeg
    assert jaccard(ngrams("abc", 5), ngrams("abc", 5)) == 1
    assert jaccard(ngrams("", 5), ngrams("", 5)) == 1
    assert jaccard(ngrams("", 5), ngrams("abc", 5)) == 0
    assert len(ngrams("今天天气很好", 5)) == 2
    assert jaccard(ngrams("apple " * 40 + "pear " * 2), ngrams("apple " * 2 + "pear " * 40)) < 0.2
    assert jaccard(ngrams("ha" * 4), ngrams("ha" * 8)) == pytest.approx(1 / 3)  # 4 n-grams of 12


def test_a_pair_at_the_similarity_shares_a_band_in_99_of_100_cases() -> None:
    assert [band_size(one) for one in (0.5, 0.8, 0.9, 1.0)] == [2, 5, 7, 64]
    for similarity in (0.5, 0.7, 0.8, 0.95):
        rows, count = band_size(similarity), band_count(similarity)
        assert rows * count <= 64
        assert 1 - (1 - similarity**rows) ** count >= 0.99


def test_candidates_are_those_of_an_exhaustive_search() -> None:
    """Sets of 300 numbers with 270 in common have similarity 0.82; unrelated ones share next to nothing."""
    draw = np.random.default_rng(0)
    sets = [draw.integers(0, 2**63, size=300, dtype=np.uint64) for _ in range(30)]
    sets += [np.concatenate([one[:270], draw.integers(0, 2**63, size=30, dtype=np.uint64)]) for one in sets[:10]]
    table = np.array([bands(np.unique(one), 0.8) for one in sets], np.uint64)
    candidates = dict(earlier_rows(table, np.ones(len(sets), bool), most=5))
    assert candidates == {30 + n: [n] for n in range(10)}
    plain = {(a, b) for a, b in combinations(range(len(sets)), 2) if len(np.intersect1d(sets[a], sets[b])) > 250}
    assert plain == {(n, 30 + n) for n in range(10)}
    assert dict(earlier_rows(table, np.arange(len(sets)) >= 10, most=5)) == {}


def test_shuffled_files_lose_the_same_number_of_rows(tmp_path: Path) -> None:
    rows = [pair(f"{TEXT} {n % 7}", f"{CHINESE} {n % 7}") for n in range(21)]
    counts = set()
    for seed in range(3):
        Random(seed).shuffle(rows)
        counts.add(len(cleaned(tmp_path, rows).clean))
    assert counts == {1}


@pytest.mark.parametrize("size", [12, 40, 200, 2000])
def test_signatures_of_short_and_long_texts_estimate_the_similarity(size: int) -> None:
    """Two sets with 8 of 10 elements in common: similarity 2/3; 100 draws of 64 hashes each."""
    draw = np.random.default_rng(size)
    equal = []
    for _ in range(100):
        numbers = draw.integers(0, 2**63, size=size * 12 // 10, dtype=np.uint64)
        one, other = numbers[:size], numbers[size * 2 // 10 :]
        exact = jaccard(np.sort(one), np.sort(other))
        equal.append(float(np.mean(signature(one) == signature(other))) - exact)
    assert abs(np.mean(equal)) < 0.03


@pytest.mark.parametrize("size", [20, 100, 1000])
def test_pairs_above_the_similarity_share_a_band_nearly_always(size: int) -> None:
    draw = np.random.default_rng(size)
    hits = 0
    for _ in range(200):
        numbers = draw.integers(0, 2**63, size=size + size // 8, dtype=np.uint64)
        one, other = bands(numbers[:size], 0.8), bands(numbers[size // 8 :], 0.8)  # similarity 7/9
        hits += any(a == b for a, b in zip(one, other, strict=True))
    assert hits >= 190
