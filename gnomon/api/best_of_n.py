"""Completions, or the best of every n of them by a judge: what `sample`, `chat` and Python programs draw by."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from gnomon.api.score import scores_of
from gnomon.core.config import validate
from gnomon.core.errors import ConfigError
from gnomon.core.experience import Rollout
from gnomon.core.types import Prompt
from gnomon.evaluation.best_of_n import best_rows
from gnomon.models.roles import Policy
from gnomon.rewards.reward import Reward
from gnomon.rollouts.sampler import NativeSampler, Sampling
from gnomon.stages.settings import BestOfSettings


@dataclass(frozen=True)
class SampledCompletion:
    """A completion, and the judge's score of it where the best was chosen."""

    rollout: Rollout
    score: float | None = None


def best_of(n: int | None, reward: str | None, sampling: Sampling) -> BestOfSettings | None:
    """What `best_of` and `reward` set together; `None` where neither is given.

    Raises:
        ConfigError: one of them is missing, the best of one is asked for, or all completions are the same.
    """
    if n is None and reward is None:
        return None
    if n is None or reward is None:
        raise ConfigError(
            "--best-of and --reward go together; give how many to draw, and the reward that chooses."
        )
    if n < 2:
        raise ConfigError(f"--best-of is {n}, but the best is taken of 2 or more; give more, or leave it out.")
    if sampling.temperature == 0:
        raise ConfigError("at temperature 0 all completions are one; give --best-of a higher --temperature.")
    return validate(BestOfSettings, {"n": n, "judge": reward}, "best of")


def draw(
    policy: Policy,
    prompts: Sequence[Prompt],
    sampling: Sampling,
    *,
    seed: int,
    best: BestOfSettings | None = None,
    judge: Reward | None = None,
    report: Callable[[int], None] | None = None,
) -> list[SampledCompletion]:
    """K completions for each prompt, prompt by prompt; with `best` each is the best of its n.

    Args:
        policy: what draws.
        prompts: what it answers.
        sampling: how; K is its `completions`.
        seed: of all draws.
        best: how many are drawn for each that is kept.
        judge: whose highest score is kept; `best` needs one.
        report: is told how many completions are done.
    """
    if best is not None:
        sampling = sampling.model_copy(update={"completions": sampling.completions * best.n})
    sampler = NativeSampler(policy) if report is None else NativeSampler(policy, report)
    rollouts = sampler.sample(prompts, sampling, seed=seed)
    if best is None:
        return [SampledCompletion(rollout) for rollout in rollouts]
    assert judge is not None
    # Judges read texts here: a reward model may have another vocabulary than the policy.
    texts = [replace(r.completion, token_ids=None) for r in rollouts]
    scores = scores_of(judge, [r.prompt for r in rollouts], texts)
    return [
        SampledCompletion(rollouts[row], scores[row])
        for row in best_rows([r.prompt.id for r in rollouts], scores, best.n)
    ]
