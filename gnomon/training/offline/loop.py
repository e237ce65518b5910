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

from gnomon.algorithms.contract import needs_step_statistics
from gnomon.core.batches import StepTotals, merge_metrics, pad_rows
from gnomon.core.errors import ConfigError, DataError, NotFiniteError
from gnomon.core.progress import console
from gnomon.data.batching import COLLATE, epoch_order, pack_by_tokens, token_groups, totals_of
from gnomon.data.encoding import Example, token_limit
from gnomon.data.mismatched_pairs import mismatched_pairs
from gnomon.models.roles import RewardModel
from gnomon.training.checks import data_fault
from gnomon.training.offline.reference_cache import Answers, ReferenceEvaluator
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


def batches(examples: Sequence[Example], settings: OfflineSettings, seed: int) -> Iterator[list[Example]]:
    """The examples of each step; every epoch has its own order.

    Args:
        examples: of the stage.
        settings: of the loop.
        seed: of the order.
    """
    left = planned_steps(len(examples), settings)
    size = _step_size(len(examples), settings)
    waiting: list[Example] = []
    for epoch in itertools.count():  # a step is no larger than an epoch, so each brings the end nearer
        waiting += [examples[i] for i in epoch_order(len(examples), seed, epoch)]
        while len(waiting) >= size:
            yield waiting[:size]
            waiting = waiting[size:]
            left -= 1
            if not left:
                return


def visited(examples: Sequence[Example], settings: OfflineSettings, seed: int) -> list[Example]:
    """The examples that training reads: all, except with less than one epoch.

    Args:
        examples: of the stage.
        settings: of the loop.
        seed: of the order.
    """
    if settings.epochs >= 1:
        return list(examples)
    seen = {id(e) for batch in batches(examples, settings, seed) for e in batch}
    return [e for e in examples if id(e) in seen]


def split(
    examples: Sequence[Example], validation: Validation | None, seed: int
) -> tuple[list[Example], list[Example]]:
    """Split examples into training and validation by prompt, so that no prompt is in both.

    Args:
        examples: all examples.
        validation: settings; `None` holds out nothing.
        seed: of the split.

    Raises:
        ConfigError: no prompt would be left to train on.
    """
    if validation is None:
        return list(examples), []
    names = list(dict.fromkeys(e.prompt_id for e in examples))
    count = max(1, round(validation.share * len(names)))
    if count >= len(names):
        raise ConfigError(
            f"training.validation.share holds back {count} of {len(names)} prompts and leaves none to train on; "
            "lower it or remove validation."
        )
    order = epoch_order(len(names), seed, 1_000)
    held = {names[i] for i in order[:count]}
    return [e for e in examples if e.prompt_id not in held], [e for e in examples if e.prompt_id in held]


@dataclass(kw_only=True)
class OfflineLoop(TrainingLoop):
    """One stage of training on stored examples, one optimizer step per batch.

    Attributes:
        examples: encoded rows.
        reference_cache: folder of cached reference log-probs; `None` caches none.
        training: examples to train on.
        held_out: examples for validation.
        mismatched: for each example, by its id, its prompt with another prompt's completion.
        answers: reference log-probs.

    Raises:
        DataError: there are no examples.
        ConfigError: the settings do not suit the algorithm or the model.
    """

    safe_to_repeat: ClassVar[bool] = True
    settings: OfflineSettings
    examples: Sequence[Example]
    reference_cache: Path | None = None
    training: list[Example] = field(init=False)
    held_out: list[Example] = field(init=False)
    mismatched: dict[int, Example] = field(init=False)
    answers: Answers = field(init=False)
    _batches: Iterator[list[Example]] = field(init=False)

    def __post_init__(self) -> None:
        if not self.examples:
            raise DataError(
                f"stage '{self.label}' has no examples to learn from; give data with at least one row."
            )
        if fault := data_fault(self.algorithm, self.examples) or _dropout_fault(self.models, self.settings):
            raise ConfigError(fault)
        self.training, self.held_out = split(self.examples, self.settings.validation, self.seed)
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
        used = [*visited(self.training, self.settings, self.seed), *self.held_out]
        self.mismatched = self.mismatch(self.examples)
        others = [self.mismatched[id(e)] for e in used if id(e) in self.mismatched]
        self.answers = self.reference_logprobs([*used, *others])
        super().resume()
        self._fill([*used, *others] if self.answers else used)
        self._batches = itertools.islice(batches(self.training, self.settings, self.seed), self.step_count, None)

    def _fill(self, examples: Sequence[Example]) -> None:
        """Cache the frozen layers' activations of all examples, in an order that a resumed run shares.

        The reference pass has left them already, unless its log-probs were cached; the numbers are the same. Not
        for several processes, each of which sees a share, nor, without a reference, under a budget, which may end
        long before all examples are seen.
        """
        model, limited = self.models.trained, self.settings.budget_seconds or self.settings.budget_tokens
        for frozen in self.frozen:
            known = bool(self.answers) and not frozen.size
            if self.processes.count == 1 and (known or not (self.answers or limited)):
                for rows in pack_by_tokens([e.cost for e in examples], self.token_budget.tokens):
                    tokens = token_groups([examples[r] for r in rows])
                    frozen.fill(tokens, dtype=model.compute.dtype, layout=model.layout)
            frozen.open = False

    def step(self, step: int) -> dict[str, float]:
        """Train on the next batch; returns the metrics."""
        batch, started = next(self._batches), time.monotonic()
        metrics = self.train_step(batch)
        metrics["tokens_per_second"] = sum(e.cost for e in batch) / (time.monotonic() - started)
        self.budget.tokens += sum(e.cost for e in batch) + (self.sft_mix.tokens(step) if self.sft_mix else 0)
        return metrics

    def train_step(self, batch: Sequence[Example]) -> dict[str, float]:
        """One optimizer step over `batch`, split into micro-batches that add up to it."""
        totals = self._survey(batch, totals_of(batch))
        masked = self.settings.adapter_dropout or self.settings.head_dropout
        with self._dropout() if masked else nullcontext():
            parts = self.token_budget.run(lambda: self._backward(batch, totals), self.optimizer.zero_grad)
        self.processes.all_reduce_gradients(self.optimizer.parameters.values())
        rate = self.settings.learning_rate * self.optimizer.factor
        norm = self.optimizer.step(describe_prompts([e.prompt_id for e in batch]))
        return {**self._merged(parts), "grad_norm": norm, "learning_rate": rate}

    def _dropout(self) -> AbstractContextManager[None]:
        """Dropout of the optimizer step that comes, which a resumed run draws again."""
        return self.models.trained.dropout(
            adapter=self.settings.adapter_dropout,
            head=self.settings.head_dropout,
            key=f"{self.seed} {self.optimizer.step_count}",
        )

    def _backward(self, batch: Sequence[Example], totals: StepTotals) -> list[dict[str, float]]:
        """Accumulate gradients over this process's shard; returns the metrics of each micro-batch."""
        parts = []
        for loss, metrics in self._losses(batch, totals):
            if not torch.isfinite(loss):
                number, names = self.optimizer.step_count + 1, describe_prompts([e.prompt_id for e in batch])
                raise NotFiniteError(f"the loss of optimizer step {number} is not finite ({names})")
            loss.backward()  # type: ignore[no-untyped-call]
            parts.append({name: float(value) for name, value in metrics.items()})
        if self.sft_mix:
            parts.append(
                self.sft_mix.backward(
                    self.models, self.optimizer.step_count + 1, self.processes, self.token_budget
                )
            )
        return parts

    @torch.no_grad()
    def evaluate(self) -> dict[str, float]:
        """Metrics of the held-out examples."""
        examples = self.held_out
        totals = self._survey(examples, totals_of(examples))
        return self._merged(
            self.token_budget.run(
                lambda: [{n: float(v) for n, v in m.items()} for _, m in self._losses(examples, totals)]
            )
        )

    def _losses(
        self, batch: Sequence[Example], totals: StepTotals
    ) -> Iterator[tuple[Tensor, Mapping[str, Tensor]]]:
        for part in self._micro_batches(batch):
            yield self.algorithm.loss(self.models, self._collate(part, totals))

    def _survey(self, batch: Sequence[Example], totals: StepTotals) -> StepTotals:
        """Add the sums over the whole step that the algorithm's losses need."""
        algorithm = self.algorithm
        if not needs_step_statistics(algorithm):
            return totals

        def attempt() -> list[dict[str, float]]:
            parts = []
            for part in self._micro_batches(batch):
                others = [self.mismatched[id(e)] for e in part if id(e) in self.mismatched]
                strange = self._collate(others, totals) if others else None
                sums = algorithm.step_statistics(self.models, self._collate(part, totals), strange)
                parts.append({name: float(value) for name, value in sums.items()})
            return parts

        return replace(totals, sums=self._merged(self.token_budget.run(attempt)))

    def _micro_batches(self, batch: Sequence[Example]) -> list[list[Example]]:
        """This process's shard of a step, split to the token budget."""
        cut = list(pack_by_tokens([e.cost for e in batch], self.token_budget.initial_tokens))
        return self.token_budget.split_examples([[batch[r] for r in rows] for rows in self.processes.shard(cut)])

    def _collate(self, part: Sequence[Example], totals: StepTotals) -> Any:
        made: Any = COLLATE[self.algorithm.consumes](part, totals)
        if not self.answers:
            return made
        return replace(made, reference_logprobs=pad_rows([t for e in part for t in self.answers[id(e)]], 0.0))

    def _merged(self, metrics: list[dict[str, float]]) -> dict[str, float]:
        return merge_metrics([part for shard in self.processes.all_gather(metrics) for part in shard])

    def mismatch(self, examples: Sequence[Example]) -> dict[int, Example]:
        """By id(example): its prompt with another prompt's completion, if the algorithm needs it."""
        if "mismatched" not in self.algorithm.needs:
            return {}
        limit = token_limit(self.settings.max_tokens, self.models.trained.network.config)
        others = mismatched_pairs(examples, limit, self.seed)
        return {id(e): other for e, other in zip(examples, others, strict=True) if other is not None}

    def reference_logprobs(self, examples: Sequence[Example]) -> Answers:
        """Reference log-probs, computed once for all epochs; the reference is the initial model by default."""
        if "reference" not in self.algorithm.needs:
            return {}
        policy = self.models.policy
        weights = self.reference_weights or (policy.reference_weights() if policy.adapter is None else None)
        cache = self.reference_cache
        return ReferenceEvaluator(policy, weights, self.token_budget, cache, self.label, self.processes).logprobs(
            examples
        )


def _dropout_fault(models: TrainedModels, settings: OfflineSettings) -> str | None:
    """An error sentence if dropout is set for a part that the model does not have, else `None`."""
    if settings.adapter_dropout and models.trained.adapter is None:
        return "training.adapter_dropout needs adapter: lora; set adapter_dropout to 0."
    if settings.head_dropout and not isinstance(models.trained, RewardModel):
        return "training.head_dropout is for reward models; set head_dropout to 0."
    return None
