"""Scores of a round's completions: the reward, and what the loop does with those that were cut off or long."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

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
    """Asks the reward, each process for a share of the prompts.

    Attributes:
        limit: the length limit of a completion, in tokens.
        reasons: why the reward failed, with counts, since they were last cleared.
    """

    reward: Reward
    settings: OnlineSettings
    limit: int
    processes: Processes
    reasons: Counter[str] = field(default_factory=Counter)

    def score(
        self, rollouts: list[Rollout], *, learn: bool = True
    ) -> tuple[list[Rollout], Tensor, dict[str, float]]:
        """Scores `[N]`; rows on which the reward failed or abstained are left out, and each are counted.

        With `learn` off, a reward of several parts keeps its running moments and its count of failures.
        """
        found, values = self._scores(rollouts, learn)
        kept = [i for i in range(len(rollouts)) if bool(values[i].isfinite())]
        abstained = int(found.abstained.sum())
        failed = len(rollouts) - len(kept) - abstained
        if not kept:
            done = "failed" if failed else "abstained"
            why = (
                f": {self._most_frequent(found)}"
                if failed
                else "; give it completions on which it has an opinion"
            )
            raise RunError(f"the reward '{self.reward.name}' {done} on every completion of a round{why}.")
        self.reasons.update(reason for _, reason in found.failures)
        if unnamed := failed - len({row for row, _ in found.failures}):
            self.reasons["its score is not a finite number"] += max(0, unnamed)
        judged = {"reward_failures": float(failed), "abstained_rows": float(abstained)}
        if len(found.parts) > 1:
            judged |= {f"score_{name}": float(part.nanmean()) for name, part in found.parts.items()}
        rollouts = [rollouts[i] for i in kept]
        finished = torch.tensor([r.finished for r in rollouts])
        scores = cap_truncated(values[kept], finished, self.settings.truncation_score)
        lengths = torch.tensor([len(r.token_ids) for r in rollouts])
        scores = scores + soft_overlong(lengths, self.limit, self.settings.overlong_buffer)
        return rollouts, scores, judged

    def _most_frequent(self, found: Scores) -> str:
        reasons = Counter(reason for _, reason in found.failures)
        return reasons.most_common(1)[0][0] if reasons else "scores are not finite"

    def _scores(self, rollouts: list[Rollout], learn: bool) -> tuple[Scores, Tensor]:
        """The reward's parts and values of all rows; completions of one prompt are scored in one process."""
        names = [(r.prompt.id, r.version) for r in rollouts]
        groups = [[row for row, n in enumerate(names) if n == name] for name in dict.fromkeys(names)]
        mine = [rollouts[row] for rows in self.processes.shard(groups) for row in rows]
        scored = self.reward.score([r.prompt for r in mine], [r.completion for r in mine])
        mine_too = dict(scored.parts), list(scored.failures), dict(scored.abstentions)
        everyone = self.processes.all_gather((scored.values, *mine_too))
        order = [
            row for rank in range(self.processes.count) for g in groups[rank :: self.processes.count] for row in g
        ]
        back = torch.tensor(order).argsort()
        values = torch.cat([theirs[0] for theirs in everyone])[back]
        parts = {n: torch.cat([theirs[1][n] for theirs in everyone])[back] for n in everyone[0][1]}
        abstentions = {n: torch.cat([theirs[3][n] for theirs in everyone])[back] for n in everyone[0][3]}
        found = Scores(values, parts, [failure for theirs in everyone for failure in theirs[2]], abstentions)
        if isinstance(self.reward, ShapedReward):
            combine = self.reward.combine if learn else self.reward.shaped
            values = combine(parts, abstentions)
        return found, values
