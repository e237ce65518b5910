"""Learning from a round: several passes over it in minibatches, an optimizer step each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch

from gnomon.algorithms.contract import Algorithm
from gnomon.core.batches import StepTotals, merge_metrics
from gnomon.core.errors import NotFiniteError
from gnomon.core.experience import Experience
from gnomon.data.batching import epoch_order, micro_batches
from gnomon.losses.reduce import masked
from gnomon.training.online.sampler_mismatch import stop_if_apart, warn
from gnomon.training.runtime.budget import Budget
from gnomon.training.runtime.checkpoints import describe_prompts
from gnomon.training.runtime.distributed import Processes
from gnomon.training.runtime.micro_batching import TokenBudget
from gnomon.training.runtime.model_bundle import TrainedModels
from gnomon.training.runtime.optimizer import Optimizer
from gnomon.training.runtime.sft_mix import AuxiliarySFT
from gnomon.training.settings import OnlineSettings


@dataclass(frozen=True)
class PolicyUpdater:
    """Takes the optimizer steps of a round; gradients are sums over micro-batches and processes."""

    algorithm: Algorithm
    models: TrainedModels
    settings: OnlineSettings
    optimizer: Optimizer
    budget: Budget
    processes: Processes
    sft_mix: AuxiliarySFT | None
    token_budget: TokenBudget
    seed: int

    def update(
        self, experience: Experience, step: int, agreed: Mapping[str, float] | None = None, new: bool = False
    ) -> dict[str, float]:
        """Several passes over the batch, each in minibatches shuffled anew; metrics are means over all.

        Args:
            experience: with advantages.
            step: the round, which the shuffling depends on.
            agreed: sampler beside trainer, where the trainer has been asked; otherwise the first minibatch says.
            new: no round was learned from before, so the two must agree before anything is.

        Raises:
            RunError: they do not.
        """
        if new and agreed is not None:
            stop_if_apart(agreed, self.models.policy.compute.dtype)
        compare = new and agreed is None
        steps: list[dict[str, float]] = []
        for epoch in range(self.settings.epochs):
            cut = minibatches(experience, self.settings.minibatches, self.seed + step, epoch)
            for rows in cut:
                steps.append(self._update_minibatch(experience, rows, compare))
                compare = compare and not steps[-1]  # a minibatch that teaches nothing shows nothing
        learned = [found for found in steps if found]
        first = self._compare_with_sampler(learned[0] if learned else {}, agreed)
        names = dict.fromkeys(name for found in learned for name in found)
        means = {name: sum(found[name] for found in learned) / len(learned) for name in names}
        return {**means, **first, "skipped_updates": float(len(steps) - len(learned))}

    def _update_minibatch(self, experience: Experience, rows: list[int], compare: bool) -> dict[str, float]:
        """One optimizer step; none where no completion has anything to teach.

        With `compare` none either where the trainer does not find the sampler's log-probabilities.
        """
        taught = rows_with_signal(experience, rows)
        quiet = "critic" not in self.algorithm.needs and experience.penalty is None
        read = taught if quiet else rows
        if not read:
            return {}
        totals = step_totals(experience, rows, read, taught)
        minibatch = experience.select(read, totals)
        self.budget.tokens += minibatch.tokens.cost + (
            self.sft_mix.tokens(self.optimizer.step_count + 1) if self.sft_mix else 0
        )
        share = self.processes.shard(micro_batches(minibatch.tokens, self.token_budget.initial_tokens))
        parts = self.token_budget.run(lambda: self._backward(minibatch, share), self.optimizer.zero_grad)
        self.processes.all_reduce_gradients(self.optimizer.parameters.values())
        everyone = [part for theirs in self.processes.all_gather(parts) for part in theirs]
        metrics = merge_metrics(everyone)
        if compare:
            stop_if_apart(metrics, self.models.policy.compute.dtype)
        rate = self.settings.learning_rate * self.optimizer.factor
        return {
            **metrics,
            "grad_norm": self.optimizer.step(describe_prompts(minibatch.names)),
            "learning_rate": rate,
        }

    def _backward(self, minibatch: Experience, share: Sequence[Sequence[int]]) -> list[dict[str, float]]:
        """Add up the gradients of this process's share; the metrics of each micro-batch."""
        parts, number = [], self.optimizer.step_count + 1
        for micro in self.token_budget.split_rows(minibatch.tokens, share):
            batch = minibatch.select(micro, minibatch.totals)
            loss, metrics = self.algorithm.loss(self.models, batch)
            if not torch.isfinite(loss):
                raise NotFiniteError(
                    f"the loss of optimizer step {number} is not finite ({describe_prompts(batch.names)})"
                )
            loss.backward()  # type: ignore[no-untyped-call]
            parts.append({name: float(value) for name, value in metrics.items()})
        if self.sft_mix:
            parts.append(self.sft_mix.backward(self.models, number, self.processes, self.token_budget))
        return parts

    def _compare_with_sampler(
        self, first: Mapping[str, float], agreed: Mapping[str, float] | None
    ) -> dict[str, float]:
        """How far the trainer was from what the sampler said, before any step; alarm if they disagree."""
        found = first if agreed is None else agreed
        if "approx_kl" not in found:
            return {}
        if self.processes.main:
            other = "training.recompute_logprobs: true, or " if agreed is None else ""
            warn(found, f"set {other}model.precision: float32")
        gap = found.get("prob_abs_diff", 0.0)
        return {"sampler_trainer_kl": found["approx_kl"], "sampler_trainer_prob_abs_diff": gap}


def minibatches(experience: Experience, count: int, seed: int, epoch: int) -> list[list[int]]:
    """Rows of each optimizer step: groups in a new order, about equally many in each, none torn apart."""
    members: dict[int, list[int]] = {}
    for row, g in enumerate(experience.tokens.group.tolist()):
        members.setdefault(g, []).append(row)
    groups = list(members.values())
    order = epoch_order(len(groups), seed, epoch)
    size = -(-len(groups) // count)
    return [
        [row for i in order[start : start + size] for row in groups[i]] for start in range(0, len(groups), size)
    ]


def rows_with_signal(experience: Experience, rows: Sequence[int]) -> list[int]:
    """Rows with an advantage other than 0 on a token that counts; the rest would cost a pass for nothing."""
    assert experience.advantages is not None
    mask = experience.tokens.mask.to(experience.advantages.device)
    taught = (masked(experience.advantages, mask) != 0).any(dim=1)
    return [row for row in rows if bool(taught[row])]


def step_totals(
    experience: Experience, rows: Sequence[int], read: Sequence[int], taught: Sequence[int]
) -> StepTotals:
    """What the losses of an optimizer step over `rows` divide by, of which it reads some and some teach."""
    counts = {r: float(experience.tokens.masks[r].sum()) for r in rows}
    tokens = sum(counts.values())
    group = experience.tokens.group.tolist()
    return replace(
        experience.totals,
        rows=len(rows),
        tokens=tokens,
        unread=tokens - sum(counts[r] for r in read),
        groups=len({group[r] for r in taught}),
    )
