"""Splits that keep equal texts together, and balanced samples."""

from __future__ import annotations

import numpy as np
import pytest

from gnomon.core.errors import DataError
from gnomon.core.types import RatedText
from gnomon.data.splits import neutral_sample, normalized_text, split_items


def rated(count: int) -> list[RatedText]:
    return [RatedText(f"set:{n}", f"Text number {n}", (float(n % 9 - 4),)) for n in range(count)]


def test_sizes_and_disjointness() -> None:
    parts = split_items(rated(100), {"train": 30, "test": 15}, judge_holdout=0.5, seed=1)
    assert {name: len(part) for name, part in parts.items()} == {"judge_holdout": 50, "train": 30, "test": 15}
    ids = [item.id for part in parts.values() for item in part]
    assert len(set(ids)) == 95


def test_depends_on_the_seed_and_not_on_the_order() -> None:
    items = rated(60)
    parts = split_items(items, {"train": 20}, judge_holdout=0.5, seed=3)
    assert split_items(items[::-1], {"train": 20}, judge_holdout=0.5, seed=3) == parts
    assert split_items(items, {"train": 20}, judge_holdout=0.5, seed=4) != parts


def test_equal_texts_are_never_cut_apart() -> None:
    """Twenty texts, each three times in another spelling: no text may be in two parts, whatever the seed."""
    spellings = ["Good film {}", "good  FILM {}", " good film\t{} "]
    items = [RatedText(f"{n}.{k}", text.format(n), (1.0,)) for n in range(20) for k, text in enumerate(spellings)]
    for seed in range(20):
        parts = split_items(items, {"train": 15, "test": 12}, judge_holdout=0.5, seed=seed)
        assert [len(part) for part in parts.values()] == [30, 15, 12]
        texts = [{normalized_text(item.text) for item in part} for part in parts.values()]
        assert [len(part) for part in texts] == [10, 5, 4]
        assert sum(map(len, texts)) == len(set.union(*texts))


def test_a_size_that_would_cut_equal_texts_is_refused() -> None:
    items = [RatedText(str(n), "same words", (1.0,)) for n in range(4)]
    with pytest.raises(DataError, match="without separating equal texts"):
        split_items(items, {"train": 3}, judge_holdout=0.0, seed=0)


def test_too_few_items() -> None:
    with pytest.raises(DataError, match="10 items are too few"):
        split_items(rated(10), {"train": 6}, judge_holdout=0.5, seed=0)


@pytest.mark.parametrize(
    ("sizes", "judge_holdout"), [({"judge_holdout": 1}, 0.5), ({"train": -1}, 0.5), ({}, 1.0), ({}, -0.1)]
)
def test_arguments_that_make_no_sense(sizes: dict[str, int], judge_holdout: float) -> None:
    with pytest.raises(DataError):
        split_items(rated(10), sizes, judge_holdout=judge_holdout, seed=0)


def test_shared_ids_are_refused() -> None:
    with pytest.raises(DataError, match="share an id"):
        split_items([*rated(3), rated(1)[0]], {}, judge_holdout=0.5, seed=0)


def lopsided() -> list[RatedText]:
    """400 texts with a mean of 0.9: drawn at random, a sample of 50 is about that far from 0."""
    rng = np.random.default_rng(0)
    return [RatedText(str(n), str(n), (value,)) for n, value in enumerate(rng.normal(0.9, 1.5, 400))]


@pytest.mark.parametrize("n", [2, 50, 51])
def test_neutral_sample_is_balanced(n: int) -> None:
    sample = neutral_sample(lopsided(), n, seed=2)
    assert len({item.id for item in sample}) == n
    # The total before the last item is at most about 5; the best of 350 items cancels that to 0.05.
    assert abs(sum(item.mean for item in sample)) < 0.1


def test_neutral_sample_is_random_and_reproducible() -> None:
    assert neutral_sample(lopsided(), 20, seed=1) == neutral_sample(lopsided(), 20, seed=1)
    assert neutral_sample(lopsided(), 20, seed=1) != neutral_sample(lopsided(), 20, seed=2)
    # Balance is not bought with texts that say nothing.
    assert np.std([item.mean for item in neutral_sample(lopsided(), 50, seed=1)]) > 0.8


def test_neutral_sample_refuses_unbalanced_items() -> None:
    all_good = [RatedText(str(n), str(n), (1.0,)) for n in range(20)]
    with pytest.raises(DataError, match="one side of 0 runs out"):
        neutral_sample(all_good, 10, seed=0)
    with pytest.raises(DataError, match="at least one"):
        neutral_sample(all_good, 0, seed=0)


def test_neutral_texts_balance_themselves() -> None:
    flat = [RatedText(str(n), str(n), (0.0,)) for n in range(5)]
    assert len(neutral_sample(flat, 5, seed=0)) == 5
