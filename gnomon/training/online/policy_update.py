"""Policy update on a round: several epochs in minibatches, one optimizer step each."""

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
from gnomon.training.online.sampler_mismatch import check_mismatch, warn
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
    """Takes the optimizer steps of a round; gradients are summed over micro-batches and processes."""

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
        self,
        experience: Experience,
        step: int,
        mismatch: Mapping[str, float] | None = None,
        first_update: bool = False,
    ) -> dict[str, float]:
        """Train on the round in several epochs of shuffled minibatches.

        Args:
            experience: with advantages.
            step: the round, which the shuffling depends on.
            mismatch: between sampler and trainer, if the trainer recomputed log-probs; otherwise it is measured
                on the first minibatch.
            first_update: whether the policy has not been updated yet; sampler and trainer must agree then.

        Returns:
            Means of the metrics over optimizer steps.

        Raises:
            RunError: sampler and trainer disagree.
        """
        if first_update and mismatch is not None:
            check_mismatch(mismatch, self.models.policy.compute.dtype)
        compare = first_update and mismatch is None
        step_metrics: list[dict[str, float]] = []  # of each optimizer step; empty if it was skipped
        for epoch in range(self.settings.epochs):
            for rows in minibatches(experience, self.settings.minibatches, self.seed + step, epoch):
                step_metrics.append(self._update_minibatch(experience, rows, compare))
                compare = compare and not step_metrics[-1]  # a skipped minibatch measures nothing
        taken = [metrics for metrics in step_metrics if metrics]
        sampler_metrics = self._compare_with_sampler(taken[0] if taken else {}, mismatch)
        names = dict.fromkeys(name for metrics in taken for name in metrics)
        means = {name: sum(metrics[name] for metrics in taken) / len(taken) for name in names}
        skipped = len(step_metrics) - len(taken)
        return {**means, **sampler_metrics, "skipped_updates": float(skipped)}

    def _update_minibatch(self, experience: Experience, rows: list[int], compare: bool) -> dict[str, float]:
        """One optimizer step; none if no completion has an advantage.

        With `compare`, first check the trainer's log-probs against the sampler's.
        """
        with_signal = rows_with_signal(experience, rows)
        trains_only_on_advantages = "critic" not in self.algorithm.needs and experience.penalty is None
        forward_rows = with_signal if trains_only_on_advantages else rows
        if not forward_rows:
            return {}
        totals = step_totals(experience, rows, forward_rows, with_signal)
        minibatch = experience.select(forward_rows, totals)
        self.budget.tokens += minibatch.tokens.cost + (
            self.sft_mix.tokens(self.optimizer.step_count + 1) if self.sft_mix else 0
        )
        shard = self.processes.shard(micro_batches(minibatch.tokens, self.token_budget.initial_tokens))
        micro_batch_metrics: list[dict[str, float]] = []
        for attempt in self.token_budget.attempts():
            with attempt:
                micro_batch_metrics = self._backward(minibatch, shard)
        self.processes.all_reduce_gradients(self.optimizer.parameters.values())
        gathered = self.processes.all_gather(micro_batch_metrics)
        metrics = merge_metrics([metrics for process_metrics in gathered for metrics in process_metrics])
        if compare:
            check_mismatch(metrics, self.models.policy.compute.dtype)
        rate = self.settings.learning_rate * self.optimizer.factor
        return {
            **metrics,
            "grad_norm": self.optimizer.step(describe_prompts(minibatch.prompt_names)),
            "learning_rate": rate,
        }

    def _backward(self, minibatch: Experience, shard: Sequence[Sequence[int]]) -> list[dict[str, float]]:
        """Compute gradients over this process's shard; returns the metrics of each micro-batch."""
        self.optimizer.zero_grad()  # an attempt that ran out of memory leaves some
        micro_batch_metrics, number = [], self.optimizer.step_count + 1
        for rows in self.token_budget.split_groups(minibatch.tokens, shard):
            batch = minibatch.select(rows, minibatch.totals)
            loss, metrics = self.algorithm.loss(self.models, batch)
            if not torch.isfinite(loss):
                raise NotFiniteError(
                    f"the loss of optimizer step {number} is not finite ({describe_prompts(batch.prompt_names)})"
                )
            loss.backward()  # type: ignore[no-untyped-call]
            micro_batch_metrics.append({name: float(value) for name, value in metrics.items()})
        if self.sft_mix:
            micro_batch_metrics.append(
                self.sft_mix.backward(self.models, number, self.processes, self.token_budget)
            )
        return micro_batch_metrics

    def _compare_with_sampler(
        self, first_step_metrics: Mapping[str, float], mismatch: Mapping[str, float] | None
    ) -> dict[str, float]:
        """Metrics of the sampler-trainer mismatch before any step, with a warning if it is large."""
        measured = first_step_metrics if mismatch is None else mismatch
        if "approx_kl" not in measured:
            return {}
        if self.processes.main:
            recompute = "training.recompute_logprobs: true, or " if mismatch is None else ""
            warn(measured, f"set {recompute}model.precision: float32")
        gap = measured.get("prob_abs_diff", 0.0)
        return {"sampler_trainer_kl": measured["approx_kl"], "sampler_trainer_prob_abs_diff": gap}


def minibatches(experience: Experience, count: int, seed: int, epoch: int) -> list[list[int]]:
    """Rows of each optimizer step: shuffled groups, about equally many in each, none split.

    Args:
        experience: of the round.
        count: number of minibatches.
        seed: of the round.
        epoch: number of the epoch.
    """
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
    """Rows with a nonzero advantage on an unmasked token; the others have no gradient."""
    assert experience.advantages is not None
    mask = experience.tokens.mask.to(experience.advantages.device)
    has_signal = (masked(experience.advantages, mask) != 0).any(dim=1)
    return [row for row in rows if bool(has_signal[row])]


def step_totals(
    experience: Experience, rows: Sequence[int], forward_rows: Sequence[int], with_signal: Sequence[int]
) -> StepTotals:
    """Normalizers of the losses of an optimizer step.

    Args:
        experience: of the round.
        rows: of the minibatch.
        forward_rows: rows of the forward pass; the others are skipped.
        with_signal: rows with a nonzero advantage.
    """
    counts = {r: float(experience.tokens.masks[r].sum()) for r in rows}
    tokens = sum(counts.values())
    group = experience.tokens.group.tolist()
    return replace(
        experience.totals,
        rows=len(rows),
        tokens=tokens,
        skipped_tokens=tokens - sum(counts[r] for r in forward_rows),
        groups=len({group[r] for r in with_signal}),
    )
