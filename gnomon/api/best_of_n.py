"""Sample completions, or the best of every n of them by a reward, for `sample`, `chat` and Python programs."""

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
from gnomon.stages.evaluate import BestOfSettings


@dataclass(frozen=True)
class SampledCompletion:
    """A sampled completion, with its score in best-of-n sampling."""

    rollout: Rollout
    score: float | None = None


def best_of(n: int | None, reward: str | None, sampling: Sampling) -> BestOfSettings | None:
    """Validated best-of-n settings; `None` if neither `n` nor `reward` is given.

    Args:
        n: completions per draw.
        reward: reward that chooses.
        sampling: settings of the draws.

    Raises:
        ConfigError: only one of them is given, n is below 2, or the temperature is 0.
    """
    if n is None and reward is None:
        return None
    if n is None or reward is None:
        raise ConfigError(
            "--best-of and --reward go together; give the number of draws, and the reward that chooses."
        )
    if n < 2:
        raise ConfigError(f"--best-of is {n}, but the best is taken of 2 or more; give 2 or more, or remove it.")
    if sampling.temperature == 0:
        raise ConfigError("at temperature 0 all completions are the same; raise --temperature for --best-of.")
    return validate(BestOfSettings, {"n": n, "judge": reward}, "best of")


def sample_completions(
    policy: Policy,
    prompts: Sequence[Prompt],
    sampling: Sampling,
    *,
    seed: int,
    best: BestOfSettings | None = None,
    judge: Reward | None = None,
    report: Callable[[int], None] | None = None,
) -> list[SampledCompletion]:
    """Sample K completions for each prompt, prompt by prompt; with `best` each is the best of n.

    Args:
        policy: model to sample from.
        prompts: prompts, in order.
        sampling: settings; K is its `completions`.
        seed: seed of all draws.
        best: best-of-n settings; `None` samples without choosing.
        judge: the reward that chooses; required by `best`.
        report: called with the number of finished completions.
    """
    if best is not None:
        sampling = sampling.model_copy(update={"completions": sampling.completions * best.n})
    sampler = NativeSampler(policy) if report is None else NativeSampler(policy, report)
    rollouts = sampler.sample(prompts, sampling, seed=seed)
    if best is None:
        return [SampledCompletion(rollout) for rollout in rollouts]
    assert judge is not None
    # Score texts, not token ids: a reward model may have another vocabulary than the policy.
    texts = [replace(r.completion, token_ids=None) for r in rollouts]
    scores = scores_of(judge, [r.prompt for r in rollouts], texts)
    return [
        SampledCompletion(rollouts[row], scores[row])
        for row in best_rows([r.prompt.id for r in rollouts], scores, best.n)
    ]
