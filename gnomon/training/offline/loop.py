"""The offline loop: train on stored data, one optimizer step per batch.

It knows of an algorithm only `consumes`, `needs`, `trains`, `loss`, and `step_statistics` where there is one. The
data order is a function of the seed and the epoch, so a resumed run sees the same batches.
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
from gnomon.core.batches import StepTotals, merge_metrics, pad_rows
from gnomon.core.errors import ConfigError, DataError, NotFiniteError
from gnomon.core.progress import console
from gnomon.data.batching import COLLATE, epoch_order, pack_by_tokens, token_groups, totals_of
from gnomon.data.encoding import Example, token_limit
from gnomon.data.mismatched_pairs import mismatched_pairs
from gnomon.models.roles import RewardModel
from gnomon.training.checks import data_incompatibility
from gnomon.training.offline.reference_cache import ReferenceEvaluator
from gnomon.training.runtime.checkpoints import describe_prompts
from gnomon.training.runtime.loop import TrainingLoop
from gnomon.training.runtime.memory_profile import Shape, shape_of
from gnomon.training.runtime.model_bundle import TrainedModels
from gnomon.training.settings import OfflineSettings, Validation

FEW_STEPS = 5  # optimizer steps below which a stage warns


def planned_steps(count: int, settings: OfflineSettings) -> int:
    """Optimizer steps over `count` examples."""
    return max(1, math.ceil(count * settings.epochs / _step_size(count, settings)))


def _step_size(count: int, settings: OfflineSettings) -> int:
    """Examples of a step: at most all there are."""
    return min(settings.batch_size, count)


def batches(count: int, settings: OfflineSettings, seed: int) -> Iterator[list[int]]:
    """The examples of each step, by their positions; every epoch has its own order.

    Args:
        count: number of examples.
        settings: of the loop.
        seed: of the order.
    """
    left = planned_steps(count, settings)
    size = _step_size(count, settings)
    waiting: list[int] = []
    for epoch in itertools.count():  # a step is no larger than an epoch, so each brings the end nearer
        waiting += epoch_order(count, seed, epoch)
        while len(waiting) >= size:
            yield waiting[:size]
            waiting = waiting[size:]
            left -= 1
            if not left:
                return


def visited(count: int, settings: OfflineSettings, seed: int) -> list[int]:
    """Positions of the examples that training reads: all, except with less than one epoch.

    Args:
        count: number of examples.
        settings: of the loop.
        seed: of the order.
    """
    if settings.epochs >= 1:
        return list(range(count))
    return sorted({i for batch in batches(count, settings, seed) for i in batch})


def split(examples: Sequence[Example], validation: Validation | None, seed: int) -> tuple[list[int], list[int]]:
    """Split examples, by their positions, into training and validation: no prompt is in both.

    Args:
        examples: all examples.
        validation: settings; `None` holds out nothing.
        seed: of the split.

    Raises:
        ConfigError: no prompt would be left to train on.
    """
    if validation is None:
        return list(range(len(examples))), []
    names = list(dict.fromkeys(e.prompt_id for e in examples))
    count = max(1, round(validation.share * len(names)))
    if count >= len(names):
        raise ConfigError(
            f"training.validation.share holds back {count} of {len(names)} prompts and leaves none to train on; "
            "lower it or remove validation."
        )
    order = epoch_order(len(names), seed, 1_000)
    held = {names[i] for i in order[:count]}
    sides: tuple[list[int], list[int]] = ([], [])
    for i, example in enumerate(examples):
        sides[example.prompt_id in held].append(i)
    return sides


@dataclass(kw_only=True)
class OfflineLoop(TrainingLoop):
    """One stage of training on stored examples, one optimizer step per batch.

    Attributes:
        examples: encoded rows.
        reference_cache: folder of cached reference log-probs; `None` caches none.
        training: positions of the examples to train on.
        held_out: positions of the examples for validation.
        mismatched: by position, the example's prompt with another prompt's completion, where one fits.
        reference: reference log-probs of an example's completions, by its position, `[T]` each.
        mismatched_reference: the same for `mismatched`.
        costs: tokens of each example, with its prompt.

    Raises:
        DataError: there are no examples.
        ConfigError: the settings do not suit the algorithm or the model.
    """

    safe_to_repeat: ClassVar[bool] = True
    settings: OfflineSettings
    examples: Sequence[Example]
    reference_cache: Path | None = None
    training: list[int] = field(init=False)
    held_out: list[int] = field(init=False)
    mismatched: dict[int, Example] = field(init=False, default_factory=dict)
    reference: dict[int, list[Tensor]] = field(init=False, default_factory=dict)
    mismatched_reference: dict[int, list[Tensor]] = field(init=False, default_factory=dict)
    costs: list[int] = field(init=False)
    _batches: Iterator[list[int]] = field(init=False)

    def __post_init__(self) -> None:
        if not self.examples:
            raise DataError(
                f"stage '{self.label}' has no examples to learn from; give data with at least one row."
            )
        if incompatibility := data_incompatibility(self.algorithm, self.examples) or _dropout_incompatibility(
            self.models, self.settings
        ):
            raise ConfigError(incompatibility)
        self.training, self.held_out = split(self.examples, self.settings.validation, self.seed)
        self.costs = [e.cost for e in self.examples]
        super().__post_init__()
        if not (self.algorithm.needs or self.settings.epochs > 1 or self.settings.validation):
            self.cache_gb = 0.0  # no example is read again

    @property
    def planned_steps(self) -> int:
        """Optimizer steps of the stage without a budget."""
        return planned_steps(len(self.training), self.settings)

    def parameter_groups(self) -> list[tuple[Mapping[str, nn.Parameter], float]]:
        """One group: the trained model's parameters."""
        return [(self.models.trained.trainable(), self.settings.learning_rate)]

    def typical_lengths(self) -> Shape:
        """Median lengths of the examples."""
        return shape_of(self.examples)

    def progress_note(self) -> str:
        """Loss and accuracy."""
        right = f", accuracy {self.metrics['accuracy']:.0%}" if "accuracy" in self.metrics else ""
        return f"loss {self.metrics['loss']:.3f}{right}"

    def resume(self) -> None:
        """Compute reference log-probs, then restore the newest checkpoint: they are the initial model's."""
        if self.processes.main and self.planned_steps < FEW_STEPS:
            steps = f"{self.planned_steps} optimizer step{'s' if self.planned_steps > 1 else ''}"
            console.print(
                f"  [yellow]{self.label}: only {steps} over {len(self.training)} examples[/yellow]; raise "
                "training.epochs or lower training.batch_size"
            )
        used = [self.training[i] for i in visited(len(self.training), self.settings, self.seed)] + self.held_out
        if "mismatched" in self.algorithm.needs:
            self.mismatched = self._mismatched(used)
        read = [*(self.examples[i] for i in used), *self.mismatched.values()]
        if "reference" in self.algorithm.needs:
            logprobs = self.reference_logprobs(read)
            self.reference = dict(zip(used, logprobs[: len(used)], strict=True))
            self.mismatched_reference = dict(zip(self.mismatched, logprobs[len(used) :], strict=True))
        super().resume()
        self._fill(read if self.reference else read[: len(used)])
        order = batches(len(self.training), self.settings, self.seed)
        self._batches = itertools.islice(order, self.step_count, None)

    def _fill(self, examples: Sequence[Example]) -> None:
        """Cache the frozen layers' activations of all examples, in an order that a resumed run shares.

        The reference pass has left them already, unless its log-probs were cached; the numbers are the same. Not
        for several processes, each of which sees a share, nor, without a reference, under a budget, which may end
        long before all examples are seen.
        """
        model, limited = self.models.trained, self.settings.budget_seconds or self.settings.budget_tokens
        for cache in self.activation_caches:
            skipped_by_reference = bool(self.reference) and not cache.size
            if self.processes.count == 1 and (skipped_by_reference or not (self.reference or limited)):
                for rows in pack_by_tokens([e.cost for e in examples], self.token_budget.tokens):
                    tokens = token_groups([examples[r] for r in rows])
                    cache.fill(tokens, dtype=model.compute.dtype, layout=model.layout)
            cache.open = False

    def step(self, step: int) -> dict[str, float]:
        """Train on the next batch; returns the metrics."""
        batch, started = [self.training[i] for i in next(self._batches)], time.monotonic()
        metrics = self.train_step(batch)
        tokens = sum(self.costs[i] for i in batch)
        metrics["tokens_per_second"] = tokens / (time.monotonic() - started)
        self.budget.tokens += tokens + (self.sft_mix.tokens(step) if self.sft_mix else 0)
        return metrics

    def train_step(self, rows: Sequence[int]) -> dict[str, float]:
        """One optimizer step over some examples, split into micro-batches that add up to it."""
        totals = self._with_statistics(rows)
        parts: list[dict[str, float]] = []
        dropout = self.settings.adapter_dropout or self.settings.head_dropout
        with self._dropout() if dropout else nullcontext():
            for attempt in self.token_budget.attempts():
                with attempt:
                    parts = self._backward(rows, totals)
        self.processes.all_reduce_gradients(self.optimizer.parameters.values())
        rate = self.settings.learning_rate * self.optimizer.factor
        norm = self.optimizer.step(self._describe(rows))
        return {**self._merged(parts), "grad_norm": norm, "learning_rate": rate}

    def _describe(self, rows: Sequence[int]) -> str:
        return describe_prompts([self.examples[i].prompt_id for i in rows])

    def _dropout(self) -> AbstractContextManager[None]:
        """Dropout of the optimizer step that comes, which a resumed run draws again."""
        return self.models.trained.dropout(
            adapter=self.settings.adapter_dropout,
            head=self.settings.head_dropout,
            key=f"{self.seed} {self.optimizer.step_count}",
        )

    def _backward(self, rows: Sequence[int], totals: StepTotals) -> list[dict[str, float]]:
        """Compute gradients over this process's shard; returns the metrics of each micro-batch."""
        self.optimizer.zero_grad()  # an attempt that ran out of memory leaves some
        parts, step = [], self.optimizer.step_count + 1
        for loss, metrics in self._losses(rows, totals):
            if not torch.isfinite(loss):
                raise NotFiniteError(f"the loss of optimizer step {step} is not finite ({self._describe(rows)})")
            loss.backward()  # type: ignore[no-untyped-call]
            parts.append({name: float(value) for name, value in metrics.items()})
        if self.sft_mix:
            parts.append(self.sft_mix.backward(self.models, step, self.processes, self.token_budget))
        return parts

    @torch.no_grad()
    def evaluate(self) -> dict[str, float]:
        """Metrics of the held-out examples."""
        totals = self._with_statistics(self.held_out)
        parts: list[dict[str, float]] = []
        for attempt in self.token_budget.attempts():
            with attempt:
                losses = self._losses(self.held_out, totals)
                parts = [{name: float(value) for name, value in metrics.items()} for _, metrics in losses]
        return self._merged(parts)

    def _losses(self, rows: Sequence[int], totals: StepTotals) -> Iterator[tuple[Tensor, Mapping[str, Tensor]]]:
        """The losses and metrics of this process's micro-batches."""
        for part in self.token_budget.micro_batches(rows, self.costs, self.processes):
            yield self.algorithm.loss(self.models, self._collate(part, totals))

    def _with_statistics(self, rows: Sequence[int]) -> StepTotals:
        """The divisors of a step, with the sums over the whole step that the algorithm's losses need."""
        totals = totals_of([self.examples[i] for i in rows])
        if not needs_step_statistics(self.algorithm):
            return totals
        parts: list[dict[str, float]] = []
        for attempt in self.token_budget.attempts():
            with attempt:
                parts = self._statistics(self.algorithm, rows, totals)
        return replace(totals, sums=self._merged(parts))

    def _statistics(
        self, algorithm: StepStatisticsAlgorithm, rows: Sequence[int], totals: StepTotals
    ) -> list[dict[str, float]]:
        """The step statistics of this process's micro-batches."""
        parts = []
        for part in self.token_budget.micro_batches(rows, self.costs, self.processes):
            mismatched = [i for i in part if i in self.mismatched]
            others = self._collate(mismatched, totals, mismatched=True) if mismatched else None
            sums = algorithm.step_statistics(self.models, self._collate(part, totals), others)
            parts.append({name: float(value) for name, value in sums.items()})
        return parts

    def _collate(self, rows: Sequence[int], totals: StepTotals, *, mismatched: bool = False) -> Any:
        """A batch of some examples, or of their mismatched pairs, with reference log-probs."""
        source = self.mismatched if mismatched else self.examples
        reference = self.mismatched_reference if mismatched else self.reference
        batch: Any = COLLATE[self.algorithm.consumes]([source[i] for i in rows], totals)
        if not reference:
            return batch
        return replace(batch, reference_logprobs=pad_rows([t for i in rows for t in reference[i]], 0.0))

    def _merged(self, metrics: list[dict[str, float]]) -> dict[str, float]:
        return merge_metrics([part for shard in self.processes.all_gather(metrics) for part in shard])

    def _mismatched(self, rows: Sequence[int]) -> dict[int, Example]:
        """Mismatched pairs of some examples, where one fits, in the order of `rows`."""
        limit = token_limit(self.settings.max_tokens, self.models.trained.network.config)
        pairs = mismatched_pairs(self.examples, limit, self.seed)
        return {i: pair for i in rows if (pair := pairs[i]) is not None}

    def reference_logprobs(self, examples: Sequence[Example]) -> list[list[Tensor]]:
        """Reference log-probs of each example's completions, `[T]`; by default the initial model's."""
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
