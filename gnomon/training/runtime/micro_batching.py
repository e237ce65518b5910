"""Token budget of a micro-batch: fixed (`micro_batch_tokens`) or derived from `memory_gb`.

It is halved after an out-of-memory error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch

from gnomon.core.batches import TokenGroups
from gnomon.core.errors import RunError
from gnomon.core.progress import console
from gnomon.core.storage.files import read_json, write_json
from gnomon.data.batching import micro_batches, pack_by_tokens
from gnomon.training.runtime.distributed import Processes
from gnomon.training.runtime.memory_profile import Shape, fit
from gnomon.training.runtime.model_bundle import TrainedModels
from gnomon.training.settings import LoopSettings

SMALLEST = 16  # tokens below which it is not halved further


class Attempt:
    """Context manager that notes an out-of-memory error instead of raising it.

    Attributes:
        ran_out: whether there was one.
    """

    def __init__(self) -> None:
        self.ran_out = False

    def __enter__(self) -> None:
        """Begin the attempt."""

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> bool:
        """End the attempt; tensors of one that failed are freed as its frames are."""
        self.ran_out = isinstance(error, torch.OutOfMemoryError)
        return self.ran_out


class TokenBudget:
    """Token budget of micro-batches, halved after each out-of-memory error.

    Losses do not depend on how a step is split, so the step is repeated with smaller micro-batches and the
    numbers stay the same. Processes shard the initial split; each splits its own shard further.

    Attributes:
        initial_tokens: tokens of a micro-batch at the start, the same in all processes.
        tokens: the same now, in this process.
    """

    def __init__(self, tokens: int):
        self.initial_tokens = tokens
        self.tokens = tokens

    def micro_batches(self, rows: Sequence[int], costs: Sequence[int], processes: Processes) -> list[list[int]]:
        """This process's micro-batches of a step.

        Args:
            rows: of the step.
            costs: tokens of each row, by its number.
            processes: each takes a shard of the micro-batches.
        """
        packed = pack_by_tokens([costs[row] for row in rows], self.initial_tokens)
        return self.split(processes.shard([[rows[i] for i in part] for part in packed]), costs)

    def split(self, share: Sequence[Sequence[int]], costs: Sequence[int]) -> list[list[int]]:
        """A shard of a step's micro-batches, split further to the current budget.

        Args:
            share: rows of each micro-batch.
            costs: tokens of each row, by its number.
        """
        if self.tokens == self.initial_tokens:
            return [list(part) for part in share]
        return [
            [part[i] for i in rows]
            for part in share
            for rows in pack_by_tokens([costs[row] for row in part], self.tokens)
        ]

    def split_groups(self, tokens: TokenGroups, share: Sequence[Sequence[int]]) -> list[list[int]]:
        """The same for rows of token groups; completions of one prompt stay together."""
        if self.tokens == self.initial_tokens:
            return [list(part) for part in share]
        return [
            [part[i] for i in rows] for part in share for rows in micro_batches(tokens.select(part), self.tokens)
        ]

    def attempts(self) -> Iterator[Attempt]:
        """Attempts at work that may run out of memory, until one succeeds; the budget is halved in between.

        The work must split its rows in each attempt, and start from the beginning:

            for attempt in token_budget.attempts():
                with attempt:
                    output = work()

        Raises:
            RunError: not even the smallest parts fit.
        """
        while True:
            attempt = Attempt()
            yield attempt
            if not attempt.ran_out:
                return
            self._halve()

    def _halve(self) -> None:
        if self.tokens < SMALLEST:
            raise RunError(
                "the device's memory does not hold a micro-batch of one prompt; set gradient_checkpointing: "
                "true or a smaller max_tokens, train fewer layers, or use a smaller model."
            )
        self.tokens //= 2
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        console.print(
            f"  [yellow]the device's memory ran out[/yellow]; continuing with micro-batches of {self.tokens} "
            f"tokens; set training.micro_batch_tokens: {self.tokens} to start with them"
        )


def make_token_budget(
    settings: LoopSettings,
    models: TrainedModels,
    shape: Callable[[], Shape],
    folder: Path,
    processes: Processes,
) -> tuple[TokenBudget, float]:
    """Token budget and gigabytes of activation cache, from the settings or from a trial pass.

    The result of a trial is saved in the loop's folder, so that a resumed loop splits its steps as before.

    Args:
        settings: of the loop.
        models: that are trained.
        shape: lengths of typical prompts and completions, needed for a trial.
        folder: of the loop.
        processes: all training processes; the smallest result counts.

    Returns:
        The token budget, and the activation cache's size in gigabytes.
    """
    if settings.memory_gb is None:
        return TokenBudget(settings.micro_batch_tokens), settings.activation_cache_gb
    file, memory_gb = folder / "token_budget.json", settings.memory_gb
    known = processes.broadcast(read_json(file) if processes.main and file.exists() else {})
    if known.get("memory_gb") != memory_gb:
        fits = processes.all_gather(fit(models, memory_gb, shape(), folder.name, settings.optimizer))
        known = {
            "memory_gb": memory_gb,
            "tokens": min(one.tokens for one in fits),
            "states_gb": min(settings.activation_cache_gb, *(one.states_gb for one in fits)),
        }
        if processes.main:
            write_json(file, known)
            console.print(f"  micro-batches of {known['tokens']} tokens fit into {memory_gb:g} GB")
    return TokenBudget(known["tokens"]), known["states_gb"]
