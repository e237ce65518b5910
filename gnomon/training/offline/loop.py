"""The offline loop: train on stored data, one optimizer step per batch.

It uses only `consumes`, `needs`, `trains`, `loss` and, if defined, `step_statistics` of an algorithm. The data
order is a function of the seed and the epoch, so a resumed run sees the same batches.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from gnomon.algorithms.contract import StepStatisticsAlgorithm, needs_step_statistics
from gnomon.algorithms.registry import consumed_kinds
from gnomon.core.batches import StepTotals, merge_metrics, pad_rows
from gnomon.core.errors import ConfigError, DataError, NotFiniteError
from gnomon.core.progress import console, watched
from gnomon.data.batching import collate_for, epoch_order, pack_by_tokens, token_groups, totals_of
from gnomon.data.encoding import Example, token_limit
from gnomon.data.example_columns import columns_of
from gnomon.data.mismatched_pairs import MismatchedPairs, mismatched_pairs
from gnomon.models.reward_ensemble import RewardEnsemble
from gnomon.models.roles import RewardModel
from gnomon.training.checks import data_incompatibility
from gnomon.training.offline.best_members import BestMembers
from gnomon.training.offline.curriculum import (
    check_pairs,
    curriculum_batches,
    pair_difficulty,
    part_count,
    part_of_step,
)
from gnomon.training.offline.lazy_sequence import LazySequence
from gnomon.training.offline.reference_cache import ReferenceEvaluator
from gnomon.training.runtime.checkpoints import BestCheckpoint, describe_prompts
from gnomon.training.runtime.loop import TrainingLoop
from gnomon.training.runtime.memory_profile import Shape, shape_of
from gnomon.training.runtime.model_bundle import TrainedModels
from gnomon.training.settings import EasyToHard, OfflineSettings, Validation

FEW_STEPS = 5  # optimizer steps below which a stage warns


def planned_steps(count: int, settings: OfflineSettings) -> int:
    """Optimizer steps over `count` examples."""
    return max(1, math.ceil(count * settings.epochs / _batch_size(count, settings)))


def _batch_size(count: int, settings: OfflineSettings) -> int:
    """Examples of a step: at most all there are."""
    return min(settings.batch_size, count)


def batches(count: int, settings: OfflineSettings, seed: int) -> Iterator[list[int]]:
    """Yield the rows of each step's batch, as indices of examples; every epoch has its own order.

    Args:
        count: number of examples.
        settings: of the loop.
        seed: of the order.
    """
    remaining_steps = planned_steps(count, settings)
    size = _batch_size(count, settings)
    pending: list[int] = []
    for epoch in itertools.count():  # a batch is no larger than an epoch, so each epoch yields at least one
        pending += epoch_order(count, seed, epoch)
        whole = len(pending) - len(pending) % size
        for start in range(0, whole, size):
            yield pending[start : start + size]
            remaining_steps -= 1
            if not remaining_steps:
                return
        pending = pending[whole:]


def rows_to_train_on(count: int, settings: OfflineSettings, seed: int) -> list[int]:
    """Rows that any step trains on: all, except with less than one epoch.

    Args:
        count: number of examples.
        settings: of the loop.
        seed: of the order.
    """
    if settings.epochs >= 1:
        return list(range(count))
    return sorted({i for batch in batches(count, settings, seed) for i in batch})


def split_rows(
    prompt_ids: Sequence[str], validation: Validation | None, seed: int
) -> tuple[list[int], list[int]]:
    """Split the rows of examples into training and validation: no prompt is in both.

    Args:
        prompt_ids: of each example.
        validation: settings; `None` holds out nothing.
        seed: of the split.

    Raises:
        ConfigError: no prompt would be left to train on.
    """
    if validation is None:
        return list(range(len(prompt_ids))), []
    prompts = list(dict.fromkeys(prompt_ids))
    count = max(1, round(validation.share * len(prompts)))
    if count >= len(prompts):
        raise ConfigError(
            f"training.validation.share holds back {count} of {len(prompts)} prompts and leaves none to train "
            "on; lower it or remove validation."
        )
    order = epoch_order(len(prompts), seed, 1_000)
    held_out_prompts = {prompts[i] for i in order[:count]}
    training: list[int] = []
    held_out: list[int] = []
    for row, prompt_id in enumerate(prompt_ids):
        (held_out if prompt_id in held_out_prompts else training).append(row)
    return training, held_out


@dataclass(kw_only=True)
class OfflineLoop(TrainingLoop):
    """One stage of training on stored examples, one optimizer step per batch.

    Attributes:
        examples: encoded examples; a row is an index into them.
        reference_cache: folder of cached reference log-probs; `None` caches none.
        training_rows: examples to train on.
        held_out_rows: examples for validation.
        mismatched: by row, the example's prompt with another prompt's completion, where one fits.
        reference_logprobs: by row, reference log-probs of the example's completions, `[T]` each.
        mismatched_reference_logprobs: the same for `mismatched`.
        token_counts: tokens of each example, with its prompt.

    Raises:
        DataError: there are no examples.
        ConfigError: the settings do not suit the algorithm or the model.
    """

    safe_to_repeat: ClassVar[bool] = True
    settings: OfflineSettings
    examples: Sequence[Example]
    reference_cache: Path | None = None
    training_rows: list[int] = field(init=False)
    held_out_rows: list[int] = field(init=False)
    mismatched: Mapping[int, Example] = field(init=False, default_factory=dict)
    reference_logprobs: dict[int, list[Tensor]] = field(init=False, default_factory=dict)
    mismatched_reference_logprobs: dict[int, list[Tensor]] = field(init=False, default_factory=dict)
    token_counts: list[int] = field(init=False)
    _batches: Iterator[list[int]] = field(init=False)
    _difficulty: list[float] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        if not self.examples:
            raise DataError(
                f"stage '{self.label}' has no examples to learn from; give data with at least one row."
            )
        incompatibility = data_incompatibility(self.algorithm, self.examples)
        if incompatibility := incompatibility or _dropout_incompatibility(self.models, self.settings):
            raise ConfigError(incompatibility)
        columns = columns_of(self.examples)
        self.training_rows, self.held_out_rows = split_rows(
            columns.prompt_ids, self.settings.validation, self.seed
        )
        self.token_counts = columns.costs
        super().__post_init__()
        if not (self.algorithm.needs or self.settings.epochs > 1 or self.settings.validation):
            self.cache_gb = 0.0  # no example is read again

    def make_best(self) -> BestCheckpoint:
        """Keep the best weights: each member's of an ensemble on a frozen trunk, else the whole model's."""
        model, validation = self.models.trained, self.settings.validation
        if isinstance(model, RewardEnsemble) and not any(p.requires_grad for p in model.trunk.parameters()):
            return BestMembers(validation, self.optimizer.parameters, model.member_count)
        return super().make_best()

    @property
    def planned_steps(self) -> int:
        """Optimizer steps of the stage without a budget."""
        return planned_steps(len(self.training_rows), self.settings)

    def parameter_groups(self) -> list[tuple[Mapping[str, nn.Parameter], float]]:
        """One group: the trained model's parameters."""
        return [(self.models.trained.trainable(), self.settings.learning_rate)]

    def typical_lengths(self) -> Shape:
        """Median lengths of the examples."""
        return shape_of(self.examples)

    def progress_note(self) -> str:
        """Loss and accuracy."""
        accuracy = f", accuracy {self.metrics['accuracy']:.0%}" if "accuracy" in self.metrics else ""
        return f"loss {self.metrics['loss']:.3f}{accuracy}"

    def resume(self) -> None:
        """Compute reference log-probs, which are the initial model's, then restore the newest checkpoint."""
        if self.processes.main and self.planned_steps < FEW_STEPS:
            steps = f"{self.planned_steps} optimizer step{'s' if self.planned_steps > 1 else ''}"
            console.print(
                f"  [yellow]{self.label}: only {steps} over {len(self.training_rows)} examples[/yellow]; raise "
                "training.epochs or lower training.batch_size"
            )
        count = len(self.training_rows)
        curriculum = self.settings.curriculum
        trained = list(range(count)) if curriculum else rows_to_train_on(count, self.settings, self.seed)
        rows = [self.training_rows[i] for i in trained] + self.held_out_rows
        if "mismatched" in self.algorithm.needs:
            self.mismatched = self._mismatched(rows)
        examples = self._in_order(rows)
        if "reference" in self.algorithm.needs:
            logprobs = self.compute_reference_logprobs(examples)
            self.reference_logprobs = dict(zip(rows, logprobs[: len(rows)], strict=True))
            self.mismatched_reference_logprobs = dict(zip(self.mismatched, logprobs[len(rows) :], strict=True))
        if curriculum is not None:
            self._difficulty = self._difficulties(curriculum)
        super().resume()
        self._fill_activation_caches(examples if self.reference_logprobs else examples[: len(rows)])
        self._batches = itertools.islice(self._order(), self.step_count, None)

    def _order(self) -> Iterator[list[int]]:
        """The batches of all steps, as indices of `training_rows`."""
        count, curriculum = len(self.training_rows), self.settings.curriculum
        if curriculum is None:
            return batches(count, self.settings, self.seed)
        size = _batch_size(count, self.settings)
        return curriculum_batches(self._difficulty, curriculum, self.planned_steps, size, self.seed)

    @torch.no_grad()
    def _difficulties(self, curriculum: EasyToHard) -> list[float]:
        """How hard each training example is; losses are those of the starting model, each example alone."""
        check_pairs(LazySequence(len(self.training_rows), self._training_example), curriculum.by, self.label)
        if curriculum.by != "loss":
            return [pair_difficulty(self.examples[row], curriculum.by) for row in self.training_rows]
        return [
            float(self.algorithm.loss(self.models, self._collate([row], self._totals([row])))[0])
            for row in watched(self.training_rows, "losses")
        ]

    def _training_example(self, index: int) -> Example:
        return self.examples[self.training_rows[index]]

    def _in_order(self, rows: Sequence[int]) -> Sequence[Example]:
        """The examples of some rows and all mismatched pairs, read when they are indexed."""
        count, partners = len(rows), list(self.mismatched)

        def example(index: int) -> Example:
            one: Example = (
                self.examples[rows[index]] if index < count else self.mismatched[partners[index - count]]
            )
            return one

        return LazySequence(count + len(partners), example)

    def _fill_activation_caches(self, examples: Sequence[Example]) -> None:
        """Cache the frozen layers' activations of all examples, in an order that a resumed run shares.

        The reference pass has left them already, unless its log-probs were cached; the numbers are the same. Not
        for several processes, each of which sees a share, nor, without a reference, under a budget, which may end
        long before all examples are seen.
        """
        model, limited = self.models.trained, self.settings.budget_seconds or self.settings.budget_tokens
        for cache in self.activation_caches:
            needs_filling = not cache.size if self.reference_logprobs else not limited
            if self.processes.count == 1 and needs_filling:
                for indices in pack_by_tokens([example.cost for example in examples], self.token_budget.tokens):
                    tokens = token_groups([examples[i] for i in indices])
                    cache.fill(tokens, dtype=model.compute.dtype, layout=model.layout)
            cache.open = False

    def step(self, step: int) -> dict[str, float]:
        """Train on the next batch; returns the metrics."""
        of_curriculum = self._begin_part()
        rows, started = [self.training_rows[i] for i in next(self._batches)], time.monotonic()
        metrics = self.train_step(rows)
        tokens = sum(self.token_counts[row] for row in rows)
        metrics["tokens_per_second"] = tokens / (time.monotonic() - started)
        self.budget.tokens += tokens + (self.sft_mix.tokens(step) if self.sft_mix else 0)
        return {**metrics, **of_curriculum}

    def _begin_part(self) -> dict[str, float]:
        """Set the learning rate's factor for the part of the curriculum; returns its metric."""
        curriculum = self.settings.curriculum
        if curriculum is None:
            return {}
        parts = part_count(curriculum, len(self.training_rows), self.planned_steps)
        part = part_of_step(self.optimizer.step_count, self.planned_steps, parts)
        self.optimizer.scale = curriculum.rate_decay**part
        return {"curriculum_part": part + 1}

    def train_step(self, rows: Sequence[int]) -> dict[str, float]:
        """Take an optimizer step over some examples, split into micro-batches whose gradients add up."""
        totals = self._totals(rows)
        micro_batch_metrics: list[dict[str, float]] = []
        dropout = self.settings.adapter_dropout or self.settings.head_dropout
        with self._dropout() if dropout else nullcontext():
            for attempt in self.token_budget.attempts():
                with attempt:
                    micro_batch_metrics = self._backward(rows, totals)
        self.processes.all_reduce_gradients(self.optimizer.parameters.values())
        rate = self.settings.learning_rate * self.optimizer.factor
        norm = self.optimizer.step(self._describe(rows))
        return {**self._merge(micro_batch_metrics), "grad_norm": norm, "learning_rate": rate}

    def _describe(self, rows: Sequence[int]) -> str:
        return describe_prompts([self.examples[row].prompt_id for row in rows])

    def _dropout(self) -> AbstractContextManager[None]:
        """Context manager: dropout of the next optimizer step; a resumed run drops the same units."""
        return self.models.trained.dropout(
            adapter=self.settings.adapter_dropout,
            head=self.settings.head_dropout,
            key=f"{self.seed} {self.optimizer.step_count}",
        )

    def _backward(self, rows: Sequence[int], totals: StepTotals) -> list[dict[str, float]]:
        """Compute gradients over this process's shard; returns the metrics of each micro-batch."""
        self.optimizer.zero_grad()  # an attempt that ran out of memory leaves some
        micro_batch_metrics, step = [], self.optimizer.step_count + 1
        for loss, metrics in self._losses(rows, totals):
            if not torch.isfinite(loss):
                raise NotFiniteError(f"the loss of optimizer step {step} is not finite ({self._describe(rows)})")
            loss.backward()  # type: ignore[no-untyped-call]
            micro_batch_metrics.append({name: float(value) for name, value in metrics.items()})
        if self.sft_mix:
            micro_batch_metrics.append(
                self.sft_mix.backward(self.models, step, self.processes, self.token_budget)
            )
        return micro_batch_metrics

    @torch.no_grad()
    def evaluate(self) -> dict[str, float]:
        """Metrics of the held-out examples."""
        totals = self._totals(self.held_out_rows)
        micro_batch_metrics: list[dict[str, float]] = []
        for attempt in self.token_budget.attempts():
            with attempt:
                micro_batch_metrics = [
                    {name: float(value) for name, value in metrics.items()}
                    for _, metrics in self._losses(self.held_out_rows, totals)
                ]
        return self._merge(micro_batch_metrics)

    def _losses(self, rows: Sequence[int], totals: StepTotals) -> Iterator[tuple[Tensor, Mapping[str, Tensor]]]:
        """The losses and metrics of this process's micro-batches."""
        for micro_batch in self.token_budget.micro_batches(rows, self.token_counts, self.processes):
            yield self.algorithm.loss(self.models, self._collate(micro_batch, totals))

    def _totals(self, rows: Sequence[int]) -> StepTotals:
        """The divisors of a step, with the sums over the whole step that the algorithm's losses need."""
        totals = totals_of([self.examples[row] for row in rows])
        if not needs_step_statistics(self.algorithm):
            return totals
        statistics: list[dict[str, float]] = []
        for attempt in self.token_budget.attempts():
            with attempt:
                statistics = self._statistics(self.algorithm, rows, totals)
        return replace(totals, sums=self._merge(statistics))

    def _statistics(
        self, algorithm: StepStatisticsAlgorithm, rows: Sequence[int], totals: StepTotals
    ) -> list[dict[str, float]]:
        """The step statistics of this process's micro-batches."""
        statistics = []
        for micro_batch in self.token_budget.micro_batches(rows, self.token_counts, self.processes):
            mismatched_rows = [row for row in micro_batch if row in self.mismatched]
            mismatched = self._collate(mismatched_rows, totals, mismatched=True) if mismatched_rows else None
            sums = algorithm.step_statistics(self.models, self._collate(micro_batch, totals), mismatched)
            statistics.append({name: float(value) for name, value in sums.items()})
        return statistics

    def _collate(self, rows: Sequence[int], totals: StepTotals, *, mismatched: bool = False) -> Any:
        """A batch of some examples, or of their mismatched pairs, with reference log-probs."""
        examples = self.mismatched if mismatched else self.examples
        logprobs = self.mismatched_reference_logprobs if mismatched else self.reference_logprobs
        batch: Any = collate_for(consumed_kinds(self.algorithm))([examples[row] for row in rows], totals)
        if not logprobs:
            return batch
        return replace(batch, reference_logprobs=pad_rows([t for row in rows for t in logprobs[row]], 0.0))

    def _merge(self, micro_batch_metrics: list[dict[str, float]]) -> dict[str, float]:
        """Sum over the micro-batches of all processes."""
        gathered = self.processes.all_gather(micro_batch_metrics)
        return merge_metrics([metrics for process_metrics in gathered for metrics in process_metrics])

    def _mismatched(self, rows: Sequence[int]) -> MismatchedPairs:
        """Mismatched pairs of some examples, where one fits, in the order of `rows`."""
        limit = token_limit(self.settings.max_tokens, self.models.trained.network.config)
        return mismatched_pairs(self.examples, limit, self.seed).of_rows(rows)

    def compute_reference_logprobs(self, examples: Sequence[Example]) -> list[list[Tensor]]:
        """Compute reference log-probs of each example's completions, `[T]`; by default the initial model's."""
        policy = self.models.policy
        weights = self.reference_weights or (policy.reference_weights() if policy.adapter is None else None)
        evaluator = ReferenceEvaluator(
            policy, weights, self.token_budget, self.reference_cache, self.label, self.processes
        )
        return evaluator.logprobs(examples)


def _dropout_incompatibility(models: TrainedModels, settings: OfflineSettings) -> str | None:
    """An error sentence if dropout is set for a part that the model does not have, else `None`."""
    if settings.adapter_dropout and models.trained.adapter is None:
        return "training.adapter_dropout needs adapter: lora; set adapter_dropout to 0."
    if settings.head_dropout and not isinstance(models.trained, RewardModel):
        return "training.head_dropout is for reward models; set head_dropout to 0."
    return None
