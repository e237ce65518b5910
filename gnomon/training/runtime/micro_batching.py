"""How many tokens a micro-batch may have: what the settings say, or what fits into so much memory.

Where an accelerator's memory runs out nevertheless, half as many, and the work goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import torch

from gnomon.core.batches import TokenGroups
from gnomon.core.errors import RunError
from gnomon.core.progress import console
from gnomon.core.storage.files import read_json, write_json
from gnomon.data.batching import micro_batches, pack_by_tokens
from gnomon.data.encoding import Example
from gnomon.training.runtime.distributed import Processes
from gnomon.training.runtime.memory_profile import Shape, fit
from gnomon.training.runtime.model_bundle import TrainedModels
from gnomon.training.settings import LoopSettings

T = TypeVar("T")
SMALLEST = 16  # tokens below which cutting further is hopeless


class TokenBudget:
    """The token budget of micro-batches, halved each time that memory runs out.

    Losses do not depend on how a step is cut, so the step is done again with smaller parts and the numbers stay
    what they were. Processes agree on the first cut, whose parts they share; each cuts its own further.

    Attributes:
        tokens: of a micro-batch now.
    """

    def __init__(self, tokens: int):
        self.initial_tokens = tokens
        self.tokens = tokens

    def split_examples(self, share: Sequence[Sequence[Example]]) -> list[list[Example]]:
        """A share of a step's micro-batches, cut to what there is room for now."""
        if self.tokens == self.initial_tokens:
            return [list(part) for part in share]
        return [
            [part[i] for i in rows]
            for part in share
            for rows in pack_by_tokens([e.cost for e in part], self.tokens)
        ]

    def split_rows(self, tokens: TokenGroups, share: Sequence[Sequence[int]]) -> list[list[int]]:
        """The same for rows of token groups, where completions of one prompt stay together."""
        if self.tokens == self.initial_tokens:
            return [list(part) for part in share]
        return [
            [part[i] for i in rows] for part in share for rows in micro_batches(tokens.select(part), self.tokens)
        ]

    def run(self, attempt: Callable[[], T], undo: Callable[[], None] | None = None) -> T:
        """What `attempt` returns, once its parts fit; `undo` takes back what a failed attempt left behind.

        Raises:
            RunError: not even the smallest parts fit.
        """
        while True:
            try:
                return attempt()
            except torch.OutOfMemoryError:
                pass  # the failed attempt's tensors are let go of only when this block is left
            if undo:
                undo()
            self._halve()

    def _halve(self) -> None:
        if self.tokens < SMALLEST:
            raise RunError(
                "the device's memory does not hold a micro-batch of one prompt; set gradient_checkpointing: "
                "true or a smaller max_tokens, train fewer layers, or take a smaller model."
            )
        self.tokens //= 2
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        console.print(
            f"  [yellow]the device's memory ran out[/yellow]; going on with micro-batches of {self.tokens} "
            f"tokens; training.micro_batch_tokens: {self.tokens} would begin there"
        )


def make_token_budget(
    settings: LoopSettings,
    models: TrainedModels,
    shape: Callable[[], Shape],
    folder: Path,
    processes: Processes,
) -> tuple[TokenBudget, float]:
    """The loop's room and its gigabytes for frozen layers' states, from its settings or from a trial.

    What a trial found is kept in the loop's folder: a loop that goes on cuts its steps as it did before.
    """
    if settings.memory_gb is None:
        return TokenBudget(settings.micro_batch_tokens), settings.activation_cache_gb
    file, asked = folder / "token_budget.json", settings.memory_gb
    known = processes.broadcast(read_json(file) if processes.main and file.exists() else {})
    if known.get("memory_gb") != asked:
        found = processes.all_gather(fit(models, asked, shape(), folder.name, settings.optimizer))
        known = {
            "memory_gb": asked,
            "tokens": min(one.tokens for one in found),
            "states_gb": min(settings.activation_cache_gb, *(one.states_gb for one in found)),
        }
        if processes.main:
            write_json(file, known)
            console.print(f"  micro-batches of {known['tokens']} tokens fit into {asked:g} GB")
    return TokenBudget(known["tokens"]), known["states_gb"]
