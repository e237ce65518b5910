"""Examples from easy to hard: difficulty by hand, the parts' batches, the learning rate, and a stopped run."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from loops import Killed, demonstrations, offline, recorded, weights_of

from gnomon.algorithms.dpo import DPO
from gnomon.core.errors import ConfigError
from gnomon.data.encoding import Example, PairIndices
from gnomon.training.offline.curriculum import (
    check_pairs,
    curriculum_batches,
    pair_difficulty,
    part_count,
    part_of_step,
)
from gnomon.training.settings import EasyToHard


def example(*pairs: PairIndices) -> Example:
    return Example("p", (1,), ((1,), (1, 2, 3, 4), (1, 2)), pairs)


def test_difficulty_by_hand() -> None:
    """Two pairs: margins 3 and −1, shares 0.9 and 0.5, lengths 4 to 1 and 2 to 4."""
    one = example(PairIndices(1, 0, 0.9, 3.0, 1.0), PairIndices(2, 1, 0.5, -1.0, 1.0))
    assert pair_difficulty(one, "margin") == pytest.approx(-2.0)
    assert pair_difficulty(one, "agreement") == pytest.approx(-0.2)
    assert pair_difficulty(one, "length_gap") == pytest.approx(-1.0397208)  # (log 4 + log 2)/2


def test_parts_have_equally_many_steps() -> None:
    assert [part_of_step(step, 10, 3) for step in range(10)] == [0, 0, 0, 1, 1, 1, 1, 2, 2, 2]
    assert part_count(EasyToHard(parts=4), 100, 2) == 2, "no part is without a step"
    assert part_count(EasyToHard(parts=4), 3, 100) == 3


DIFFICULTY = [5.0, 0.0, 3.0, 1.0, 4.0, 2.0]  # rows from easy to hard: 1 3 | 5 2 | 4 0


def test_a_staged_curriculum_takes_each_example_as_often_as_an_epoch_does() -> None:
    staged = EasyToHard(cumulative=False)
    batches = list(curriculum_batches(DIFFICULTY, staged, steps=6, size=2, seed=0))
    assert [set(batch) for batch in batches] == [{1, 3}, {1, 3}, {2, 5}, {2, 5}, {0, 4}, {0, 4}]
    assert set(Counter(row for batch in batches for row in batch).values()) == {2}


def test_a_cumulative_curriculum_keeps_the_easy_examples() -> None:
    batches = list(curriculum_batches(DIFFICULTY, EasyToHard(), steps=12, size=2, seed=0))
    parts = [Counter(row for batch in batches[n : n + 4] for row in batch) for n in (0, 4, 8)]
    assert set(parts[0]) == {1, 3}
    assert set(parts[1]) == {1, 3, 2, 5}
    assert set(parts[2]) == set(range(6))


def test_the_seed_alone_decides_the_order() -> None:
    def order(seed: int) -> list[list[int]]:
        return list(curriculum_batches(DIFFICULTY, EasyToHard(), steps=6, size=1, seed=seed))

    assert order(0) == order(0) != order(1)


@pytest.mark.parametrize(
    ("by", "examples", "sentence"),
    [
        ("margin", demonstrations(), "by is margin, but the data have examples without pairs; set it to loss"),
        ("margin", [example(PairIndices(0, 1, 0.9, 0.0, 1.0))] * 3, "all pairs have the same margin"),
    ],
)
def test_data_that_cannot_be_ordered_are_refused(by: str, examples: Any, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        check_pairs(examples, by, "s")


def test_losses_of_the_starting_model_order_any_data(tmp_path: Path) -> None:
    """Staged in two parts of an epoch each: the first holds the five examples of the lowest loss."""
    curriculum = {"by": "loss", "parts": 2, "cumulative": False, "rate_decay": 0.5}
    settings: dict[str, Any] = {
        "batch_size": 1,
        "epochs": 1,
        "schedule": "constant",
        "warmup": 0,
        "learning_rate": 1e-6,
    }
    offline(tmp_path / "run", curriculum=curriculum, **settings)
    rows = recorded(tmp_path / "run")
    seen = [row["loss"] for row in rows]
    assert max(seen[:5]) <= min(seen[5:]) + 1e-4
    assert [row["curriculum_part"] for row in rows] == [1] * 5 + [2] * 5
    assert [row["learning_rate"] for row in rows] == pytest.approx([1e-6] * 5 + [5e-7] * 5)


def test_a_stopped_run_goes_on_with_the_same_batches(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"curriculum": {"by": "length_gap", "parts": 3, "rate_decay": 0.7}}
    settings |= {"algorithm": DPO(), "checkpoint_seconds": 0}
    whole = offline(tmp_path / "whole", **settings)

    def die(call: int) -> None:
        if call == 5:
            raise Killed

    with pytest.raises(Killed):
        offline(tmp_path / "again", before=die, **settings)
    again = offline(tmp_path / "again", **settings)
    assert recorded(tmp_path / "again") == recorded(tmp_path / "whole")
    for a, b in zip(weights_of(whole), weights_of(again), strict=True):
        assert torch.equal(a, b)
