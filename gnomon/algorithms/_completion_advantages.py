"""One advantage per completion, from its return and its group's, on each of its tokens."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from gnomon.core.experience import Experience
from gnomon.losses.advantages import group_centered, on_every_token
from gnomon.losses.reduce import masked_sum

if TYPE_CHECKING:
    from torch import Tensor


def completion_returns(experience: Experience) -> Tensor:
    """The sum of each completion's rewards, `[N]`."""
    assert experience.rewards is not None
    return masked_sum(experience.rewards, experience.tokens.mask.to(experience.rewards.device))


def group_advantages(experience: Experience, *, scaled: bool) -> Experience:
    """Each completion's return minus its group's mean, with `scaled` divided by its standard deviation."""
    returns = completion_returns(experience)
    return with_advantages(experience, group_centered(returns, experience.tokens.group, scaled=scaled))


def with_advantages(experience: Experience, advantages: Tensor) -> Experience:
    """Set the advantages of completions, `[N]`, on each of their tokens."""
    mask = experience.tokens.mask.to(advantages.device)
    return replace(experience, advantages=on_every_token(advantages, mask))
