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
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gnomon.algorithms.contract import Algorithm, needs_step_statistics
from gnomon.core.batches import StepTotals, merge_metrics, pad_rows
from gnomon.core.errors import ConfigError, DataError, NotFiniteError
from gnomon.core.progress import StopSignal, console, progress
from gnomon.core.storage.metrics_log import MetricsLog
from gnomon.data.batching import COLLATE, epoch_order, pack_by_tokens, token_groups, totals_of
from gnomon.data.encoding import Example, token_limit
from gnomon.data.mismatched_pairs import mismatched_pairs
from gnomon.models.engine.activation_cache import FrozenLayerCache
from gnomon.models.roles import RewardModel
from gnomon.training.checks import data_fault
from gnomon.training.offline.early_stopping import BestCheckpoint, split
from gnomon.training.offline.reference_cache import Answers, ReferenceEvaluator
from gnomon.training.runtime.budget import Budget
from gnomon.training.runtime.checkpoints import (
    CheckpointManager,
    StepCallback,
    describe_prompts,
    load_checkpoint,
    save_checkpoint,
)
from gnomon.training.runtime.distributed import Processes
from gnomon.training.runtime.memory_profile import shape_of
from gnomon.training.runtime.micro_batching import make_token_budget
from gnomon.training.runtime.model_bundle import TrainedModels
from gnomon.training.runtime.model_snapshots import make_snapshot_keeper
from gnomon.training.runtime.optimizer import Optimizer
from gnomon.training.runtime.sft_mix import AuxiliarySFT
from gnomon.training.settings import OfflineSettings

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


@dataclass
class OfflineLoop:
    """One stage of offline training."""

    algorithm: Algorithm
    models: TrainedModels
    settings: OfflineSettings
    folder: Path
    seed: int
    stop: StopSignal
    label: str
    processes: Processes
    callback: StepCallback | None = None
    sft_mix: AuxiliarySFT | None = None
    reference_weights: Mapping[str, Tensor] | None = None
    reference_cache: Path | None = None

    def run(self, examples: Sequence[Example]) -> dict[str, float]:
        """Train to the end, or from the newest checkpoint to the end; returns the last step's metrics."""
        again = bool(self.algorithm.needs) or self.settings.epochs > 1 or self.settings.validation is not None
        self.token_budget, for_states = make_token_budget(
            self.settings, self.models, partial(shape_of, examples), self.folder, self.processes
        )
        memory = for_states if again else 0.0
        with self.models.rounded(), self.models.trained.activation_cache(memory) as frozen:
            return self._run(examples, frozen)

    def _run(self, examples: Sequence[Example], frozen: FrozenLayerCache | None) -> dict[str, float]:
        self.budget = budget = Budget(self.settings, self.processes)
        training, held_out = split(examples, self.settings.validation, self.seed)
        planned = planned_steps(len(training), self.settings)
        weights, main = self.models.trained.trainable(), self.processes.main
        if main and planned < FEW_STEPS:
            steps = f"{planned} optimizer step{'s' if planned > 1 else ''} over {len(training)} examples"
            console.print(
                f"  [yellow]{self.label}: only {steps}[/yellow]; raise training.epochs or lower "
                "training.batch_size"
            )
        self.optimizer = Optimizer([(weights, self.settings.learning_rate)], self.settings, planned)
        used = [*visited(training, self.settings, self.seed), *held_out]
        self.strangers = self.mismatch(examples)
        strange = [self.strangers[id(e)] for e in used if id(e) in self.strangers]
        # Before a checkpoint is loaded: these are the start's.
        self.answers = self.reference_logprobs(read := [*used, *strange])
        root = self.folder / "checkpoints"
        saved = load_checkpoint(root, weights, self.optimizer)
        done = int(saved["step"]) if saved else 0
        last: dict[str, float] = saved["metrics"] if saved else {}
        ended = bool(saved and saved.get("ended"))
        budget.restore(saved["budget"]) if saved else budget.start()
        if frozen:
            self._fill(frozen, read if self.answers else used)
        best = BestCheckpoint(self.settings.validation, weights, saved)
        log = MetricsLog(self.folder / "metrics.jsonl", keep_steps=done, write=main)

        def save(step: int) -> None:
            if main:
                state = {"metrics": last, "ended": ended, "budget": budget.state(), **best.state()}
                save_checkpoint(root, step, weights, self.optimizer, state, best.weights)

        keeper = make_snapshot_keeper(self.models.trained, self.folder, self.settings)
        saver = CheckpointManager(save, self.stop, self.settings.checkpoint_seconds, self.processes, root, keeper)
        self.stop.waits = True
        with progress(self.label, budget.progress(0, planned)[1], quiet=not main) as bar:
            for step, batch in enumerate(batches(training, self.settings, self.seed), start=1):
                if step <= done:
                    continue
                if ended or best.exhausted or (budget.exhausted and step > 1):
                    break
                self.optimizer.total_steps = ends = budget.planned_steps(step - 1, planned)
                started = time.monotonic()
                with saver.report_non_finite(step - 1):
                    last = self.train_step(batch)
                last["tokens_per_second"] = sum(e.cost for e in batch) / (time.monotonic() - started)
                budget.tokens += self._tokens(batch, step)
                budget.update()
                last["tokens_seen"] = float(budget.tokens)
                if best.due(step, step if budget.exhausted else planned):
                    last |= best.update(self.measure(held_out), step)
                log.record(step, last)
                right = f", accuracy {last['accuracy']:.0%}" if "accuracy" in last else ""
                bar.at(budget.progress(step, planned)[0], f"loss {last['loss']:.3f}{right}")
                # Before the checkpoint: a step that is saved is one that trackers have, and whose end is known.
                ended = bool(self.callback and self.callback(step, last))
                saver.after_step(step, ends)
        best.restore_weights()
        return last

    def _fill(self, frozen: FrozenLayerCache, examples: Sequence[Example]) -> None:
        """Cache the frozen layers' activations of all examples, in an order that a resumed run shares.

        The reference's pass has left them already, unless its answers were known; the numbers are the same. Not
        for several processes, each of which sees a share, nor, without a reference, under a budget, which may end
        long before all examples are seen.
        """
        model, limited = self.models.trained, self.settings.budget_seconds or self.settings.budget_tokens
        known = bool(self.answers) and not frozen.size
        if self.processes.count == 1 and (known or not (self.answers or limited)):
            for rows in pack_by_tokens([e.cost for e in examples], self.token_budget.tokens):
                tokens = token_groups([examples[r] for r in rows])
                frozen.fill(tokens, dtype=model.compute.dtype, layout=model.layout)
        frozen.open = False

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

    def _tokens(self, batch: Sequence[Example], step: int) -> int:
        """Count the tokens that a step adds to `tokens_seen`."""
        return sum(e.cost for e in batch) + (self.sft_mix.tokens(step) if self.sft_mix else 0)

    @torch.no_grad()
    def measure(self, examples: Sequence[Example]) -> dict[str, float]:
        """Metrics of held-out examples."""
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
                others = [self.strangers[id(e)] for e in part if id(e) in self.strangers]
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


def train_offline(
    algorithm: Algorithm,
    models: TrainedModels,
    examples: Sequence[Example],
    settings: OfflineSettings,
    *,
    folder: Path,
    seed: int,
    stop: StopSignal,
    label: str,
    processes: Processes | None = None,
    callback: StepCallback | None = None,
    sft_mix: AuxiliarySFT | None = None,
    reference_weights: Mapping[str, Tensor] | None = None,
    reference_cache: Path | None = None,
) -> dict[str, float]:
    """Train on stored examples, from the newest checkpoint if there is one.

    Args:
        algorithm: an offline algorithm.
        models: that are trained.
        examples: encoded rows.
        settings: of the loop.
        folder: of the stage.
        seed: of the data order.
        stop: set when the user interrupts.
        label: of the stage.
        processes: all training processes.
        callback: called after each step; `True` ends the loop.
        sft_mix: demonstrations for an SFT term beside the loss.
        reference_weights: of the reference, by name `[…]`; `None` uses the initial model.
        reference_cache: folder of cached reference log-probs.

    Returns:
        The last step's metrics.

    Raises:
        DataError: there are no examples.
        ConfigError: the settings do not suit the algorithm or the model.
    """
    if not examples:
        raise DataError(f"stage '{label}' has no examples to learn from; give data with at least one row.")
    if fault := data_fault(algorithm, examples) or _dropout_fault(models, settings):
        raise ConfigError(fault)
    loop = OfflineLoop(
        algorithm,
        models,
        settings,
        folder,
        seed,
        stop,
        label,
        processes or Processes(),
        callback,
        sft_mix,
        reference_weights,
        reference_cache,
    )
    return loop.run(examples)
