"""Composite rewards, by hand."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from function_reward import FunctionReward
from pydantic import ValidationError
from tiny import prompts_of

from gnomon.core.errors import ConfigError, RunError
from gnomon.core.types import Completion
from gnomon.rewards.composite import RewardPart, RuleReward, ShapedReward
from gnomon.rewards.python_reward import make_function_reward

PROMPTS = prompts_of("x", "x", "x")
COMPLETIONS = [Completion(str(i), text) for i, text in enumerate(("a", "bb", "cccc"))]
LENGTH = FunctionReward(lambda prompt, text: float(len(text)), "length")


def shaped(**settings: Any) -> ShapedReward:
    return ShapedReward([(RewardPart(of="f.py:size", name="size", **settings), LENGTH)])


def test_parts_are_weighed_and_named() -> None:
    rule = RewardPart(rule="length", limit=2, weight=10.0)
    reward = ShapedReward([(RewardPart(of="f.py:size", name="size"), LENGTH), (rule, RuleReward(rule))])
    scores = reward.score(PROMPTS, COMPLETIONS)
    assert scores.values.tolist() == pytest.approx([1.0, 2.0, 4.0 - 10.0])
    assert scores.parts["size"].tolist() == [1.0, 2.0, 4.0]
    assert scores.parts["length"].tolist() == [0.0, 0.0, -1.0]
    assert reward.name == "size + length"


def test_whitening_learns_over_rounds_and_clips_after() -> None:
    """Scores 1, 2, 4: mean 7/3, variance 14/9. A second round of the same scores changes neither."""
    reward = shaped(whiten=True, clip=1.0)
    expected = [(v - 7 / 3) / math.sqrt(14 / 9) for v in (1.0, 2.0, 4.0)]
    for _ in range(2):
        result = reward.combine({"size": torch.tensor([1.0, 2.0, 4.0])})
        assert result.tolist() == pytest.approx([max(-1, min(1, v)) for v in expected], abs=1e-5)
    count, mean, squares = reward.moments["size"]
    assert (count, mean, squares / count) == pytest.approx((6, 7 / 3, 14 / 9))


def test_moments_in_parts_are_those_of_the_whole() -> None:
    values = torch.tensor([3.0, -1.0, 0.5, 7.0, 2.0])
    whole, parts = shaped(whiten=True), shaped(whiten=True)
    whole.combine({"size": values})
    parts.combine({"size": values[:2]})
    parts.combine({"size": values[2:]})
    assert parts.moments["size"] == pytest.approx(whole.moments["size"])


def test_a_failed_part_fails_the_row_and_counts_against_the_budget() -> None:
    reward = shaped(failures=2)
    values = torch.tensor([1.0, float("nan"), 2.0])
    assert reward.combine({"size": values}).isnan().tolist() == [False, True, False]
    reward.combine({"size": values})
    with pytest.raises(RunError, match=r"'size' failed on 3 completions, more than its budget of 2"):
        reward.combine({"size": values})


def test_state_is_restored() -> None:
    one, other = shaped(whiten=True), shaped(whiten=True)
    one.combine({"size": torch.tensor([1.0, 2.0])})
    other.restore(one.state())
    both = [r.combine({"size": torch.tensor([5.0, 6.0])}).tolist() for r in (one, other)]
    assert both[0] == both[1]


def test_two_parts_of_one_title_are_refused() -> None:
    parts = [RewardPart(rule="format", pattern="a+"), RewardPart(rule="format", pattern="b+", weight=10.0)]
    with pytest.raises(ConfigError, match="two parts of the reward are called 'format'; give one of them a name"):
        ShapedReward([(part, RuleReward(part)) for part in parts])
    named = [parts[0], parts[1].model_copy(update={"name": "b"})]
    completions = [Completion("1", "aaa"), Completion("2", "bbb")]
    scores = ShapedReward([(part, RuleReward(part)) for part in named]).score(PROMPTS[:2], completions)
    assert scores.values.tolist() == [1.0, 10.0]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "exactly one of the keys of, ensemble and rule"),
        ({"of": "vader", "rule": "length"}, "exactly one"),
        ({"rule": "format"}, "needs a pattern"),
        ({"rule": "format", "pattern": "("}, "no regular expression"),
    ],
)
def test_wrong_parts_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        RewardPart(**settings)


def test_abstentions_add_nothing_and_rows_need_one_score() -> None:
    """Rows: both score 2 and 10; the second abstains; both abstain; one fails and one abstains."""

    def first(prompt: str, completion: str) -> float | None:
        if completion == "bad":
            raise ValueError("no")
        return None if completion == "none" else 2.0

    def second(prompt: str, completion: str) -> float | None:
        return 10.0 if completion == "both" else None

    parts = [
        (RewardPart(of=f"f.py:{f.__name__}", weight=0.5), make_function_reward(f, "f")) for f in (first, second)
    ]
    reward = ShapedReward(parts)
    completions = [Completion(str(i), text) for i, text in enumerate(["both", "first", "none", "bad"])]
    scores = reward.score([PROMPTS[0]] * 4, completions)
    assert scores.values[:2].tolist() == [6.0, 1.0]
    assert scores.values[2:].isnan().all()
    assert scores.abstained.tolist() == [False, False, True, False]
    assert torch.equal(reward.combine(scores.parts, scores.abstentions)[:2], scores.values[:2])
    assert list(reward.failure_counts.values()) == [1, 0]


@pytest.mark.parametrize("of", [{"rule": "length"}, {"of": "judge"}])
def test_a_timeout_applies_to_functions_only(of: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="timeout is for functions"):
        RewardPart(**of, timeout=3.0)
    assert RewardPart(of="mine.py:score", timeout=3.0).timeout == 3.0
