"""Scores of a round's completions: the reward, and what the loop does with those that were cut off or long."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gnomon.core.batches import Rollout
from gnomon.core.errors import RunError
from gnomon.rewards.reward import Reward, Scores
from gnomon.rewards.shaping import ShapedReward
from gnomon.rollouts.experience import cap_unfinished, soft_overlong
from gnomon.training.processes import Processes
from gnomon.training.settings import OnlineSettings


@dataclass(frozen=True)
class Scorer:
    """Asks the reward, each process for a share of the prompts.

    Attributes:
        limit: the length limit of a completion, in tokens.
    """

    reward: Reward
    settings: OnlineSettings
    limit: int
    processes: Processes

    def score(self, rollouts: list[Rollout]) -> tuple[list[Rollout], Tensor, dict[str, float]]:
        """Scores `[N]`; rows on which the reward failed are left out and counted."""
        found, values = self._scores(rollouts)
        kept = [i for i in range(len(rollouts)) if bool(values[i].isfinite())]
        if not kept:
            reason = found.failures[0][1] if found.failures else "scores are not finite"
            raise RunError(f"the reward '{self.reward.name}' failed on every completion of a round: {reason}.")
        judged = {"failed_rows": float(len(rollouts) - len(kept))}
        if len(found.parts) > 1:
            judged |= {f"score_{name}": float(part.nanmean()) for name, part in found.parts.items()}
        rollouts = [rollouts[i] for i in kept]
        finished = torch.tensor([r.finished for r in rollouts])
        scores = cap_unfinished(values[kept], finished, self.settings.missing_eos_score)
        lengths = torch.tensor([len(r.token_ids) for r in rollouts])
        scores = scores + soft_overlong(lengths, self.limit, self.settings.overlong_buffer)
        return rollouts, scores, judged

    def _scores(self, rollouts: list[Rollout]) -> tuple[Scores, Tensor]:
        """The reward's parts and values of all rows; completions of one prompt are scored in one process."""
        names = [(r.prompt.id, r.version) for r in rollouts]
        groups = [[row for row, n in enumerate(names) if n == name] for name in dict.fromkeys(names)]
        mine = [rollouts[row] for rows in self.processes.share(groups) for row in rows]
        scored = self.reward.score([r.prompt for r in mine], [r.completion for r in mine])
        everyone = self.processes.collect((scored.values, dict(scored.parts), list(scored.failures)))
        order = [
            row for rank in range(self.processes.count) for g in groups[rank :: self.processes.count] for row in g
        ]
        back = torch.tensor(order).argsort()
        values = torch.cat([theirs[0] for theirs in everyone])[back]
        parts = {n: torch.cat([theirs[1][n] for theirs in everyone])[back] for n in everyone[0][1]}
        found = Scores(values, parts, [failure for theirs in everyone for failure in theirs[2]])
        if isinstance(self.reward, ShapedReward):
            values = self.reward.combine(parts)
        return found, values
