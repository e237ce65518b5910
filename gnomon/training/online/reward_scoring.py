"""Scores of a round's completions: the reward, with a cap for truncated and a penalty for overlong ones.

The KL penalty is no part of a score: `gnomon.rollouts.experience.apply_kl_penalty` subtracts it from the rewards.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from gnomon.core.errors import RunError
from gnomon.core.experience import Rollout
from gnomon.rewards.composite import ShapedReward
from gnomon.rewards.reward import Reward, Scores
from gnomon.rollouts.experience import cap_truncated, soft_overlong
from gnomon.training.runtime.distributed import Processes
from gnomon.training.settings import OnlineSettings


@dataclass(frozen=True)
class Scorer:
    """Scores completions with the reward, sharded over processes by prompt.

    Attributes:
        limit: length limit of a completion, in tokens.
        reasons: reasons of failures with counts, since they were last cleared.
    """

    reward: Reward
    settings: OnlineSettings
    limit: int
    processes: Processes
    reasons: Counter[str] = field(default_factory=Counter)

    def score(
        self, rollouts: list[Rollout], *, learn: bool = True
    ) -> tuple[list[Rollout], Tensor, dict[str, float]]:
        """Score completions; rows on which the reward failed or abstained are removed and counted.

        Args:
            rollouts: of the round.
            learn: update the running statistics and failure count of a reward of several parts.

        Returns:
            The scored rollouts, their scores `[N]`, and metrics.

        Raises:
            RunError: the reward scored none of them.
        """
        results, values = self._scores(rollouts, learn)
        valid = [i for i in range(len(rollouts)) if bool(values[i].isfinite())]
        abstained = int(results.abstained.sum())
        failed = len(rollouts) - len(valid) - abstained
        if not valid:
            done = "failed" if failed else "abstained"
            why = f": {self._most_frequent(results)}" if failed else "; give it completions that it can score"
            raise RunError(f"the reward '{self.reward.name}' {done} on every completion of a round{why}.")
        self.reasons.update(reason for _, reason in results.failures)
        if unnamed := failed - len({row for row, _ in results.failures}):
            self.reasons["its score is not a finite number"] += max(0, unnamed)
        metrics = {"reward_failures": float(failed), "abstained_rows": float(abstained)}
        if len(results.parts) > 1:
            metrics |= {f"score_{name}": float(part.nanmean()) for name, part in results.parts.items()}
        metrics |= uncertainty_metrics(results.uncertainties)
        rollouts = _with_uncertainty(rollouts, results.uncertainties)
        rollouts = [rollouts[i] for i in valid]
        finished = torch.tensor([r.finished for r in rollouts])
        scores = cap_truncated(values[valid], finished, self.settings.truncation_score)
        lengths = torch.tensor([len(r.token_ids) for r in rollouts])
        scores = scores + soft_overlong(lengths, self.limit, self.settings.overlong_buffer)
        return rollouts, scores, metrics

    def _most_frequent(self, results: Scores) -> str:
        reasons = Counter(reason for _, reason in results.failures)
        return reasons.most_common(1)[0][0] if reasons else "scores are not finite"

    def _scores(self, rollouts: list[Rollout], learn: bool) -> tuple[Scores, Tensor]:
        """The reward's parts and values of all rows; completions of one prompt are scored in one process."""
        names = [(r.prompt.id, r.policy_version) for r in rollouts]
        groups = [[row for row, n in enumerate(names) if n == name] for name in dict.fromkeys(names)]
        shard = [rollouts[row] for rows in self.processes.shard(groups) for row in rows]
        scored = self.reward.score([r.prompt for r in shard], [r.completion for r in shard])
        details = dict(scored.parts), list(scored.failures), dict(scored.abstentions), dict(scored.uncertainties)
        everyone = self.processes.all_gather((scored.values, *details))
        order = [
            row for rank in range(self.processes.count) for g in groups[rank :: self.processes.count] for row in g
        ]
        back = torch.tensor(order).argsort()
        values = torch.cat([shard_scores[0] for shard_scores in everyone])[back]
        parts = {n: torch.cat([shard_scores[1][n] for shard_scores in everyone])[back] for n in everyone[0][1]}
        abstentions = {
            n: torch.cat([shard_scores[3][n] for shard_scores in everyone])[back] for n in everyone[0][3]
        }
        uncertainties = {
            n: torch.cat([shard_scores[4][n] for shard_scores in everyone])[back] for n in everyone[0][4]
        }
        failures = [failure for shard_scores in everyone for failure in shard_scores[2]]
        results = Scores(values, parts, failures, abstentions, uncertainties)
        if isinstance(self.reward, ShapedReward):
            combine = self.reward.combine if learn else self.reward.shaped
            values = combine(parts, abstentions)
        return results, values


def uncertainty_metrics(uncertainties: Mapping[str, Tensor]) -> dict[str, float]:
    """Mean and highest standard deviation over members of each ensemble in a reward, `[N]` by name.

    The first ensemble's are `uncertainty` and `uncertainty_max`; further ones have their names after them. Rows
    without a score are left out.
    """
    metrics: dict[str, float] = {}
    for number, (name, values) in enumerate(uncertainties.items()):
        finite, end = values[values.isfinite()], f"_{name}" if number else ""
        if len(finite):
            metrics[f"uncertainty{end}"] = float(finite.mean())
            metrics[f"uncertainty_max{end}"] = float(finite.max())
    return metrics


def _with_uncertainty(rollouts: list[Rollout], uncertainties: Mapping[str, Tensor]) -> list[Rollout]:
    """The rollouts with the uncertainty of their scores, of several ensembles the highest."""
    if not uncertainties:
        return rollouts
    highest = torch.stack(list(uncertainties.values())).amax(dim=0).tolist()
    return [replace(rollout, uncertainty=value) for rollout, value in zip(rollouts, highest, strict=True)]
