"""One protocol for everything that scores completions."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from gnomon.core.lazy import torch
from gnomon.core.progress import SHORT_SECONDS, progress
from gnomon.core.types import Completion, Prompt
from gnomon.data.batching import token_groups, within_budget
from gnomon.data.encoding import context_length, encode_completions

if TYPE_CHECKING:
    from torch import Tensor

    from gnomon.models.policy import RewardModel

Report = Callable[[int], None]  # takes the number of rows that are scored
Numbers = tuple[list[float], list[tuple[int, str]]]  # scores, and row and reason of each failure


@dataclass(frozen=True)
class Scores:
    """Scores of N completions.

    Attributes:
        values: `[N]`, float32; NaN where the reward failed, never a made-up 0.
        parts: named components, `[N]` each.
        failures: row and reason of each failed row.
    """

    values: Tensor
    parts: Mapping[str, Tensor] = field(default_factory=dict)
    failures: Sequence[tuple[int, str]] = ()


def _silent(done: int) -> None:
    """Tell nobody."""


@contextmanager
def watched_scores(reward: Reward, label: str, rows: int) -> Iterator[None]:
    """Inside, scoring so many rows shows its progress where it takes more than a few seconds."""
    parts = [reward, *(part for _, part in getattr(reward, "parts", ()))]
    watched = [part for part in parts if isinstance(part, LearnedReward | FunctionReward)]
    with progress(label, rows, after=SHORT_SECONDS) as bar:
        for part in watched:
            part.report = bar.at
        try:
            yield
        finally:
            for part in watched:
                part.report = _silent


class Reward(Protocol):
    """Scores completions, higher is better."""

    name: str

    def score(self, prompts: Sequence[Prompt], completions: Sequence[Completion]) -> Scores:
        """`prompts[n]` was answered by `completions[n]`."""


class LearnedReward:
    """A reward model as a reward.

    Attributes:
        sampled_by: the tokenizer whose ids completions bring. Where it has the model's vocabulary they are read
            as they are; otherwise, and where nothing is said, the texts are tokenised.
        budget: tokens of a micro-batch.
        report: is told how many rows are scored, after each micro-batch.
    """

    def __init__(self, model: RewardModel, name: str, *, sampled_by: Any = None, budget: int = 4096):
        self.model = model
        self.name = name
        self.sampled_by = sampled_by
        self.budget = budget
        self.report: Report = _silent

    def score(self, prompts: Sequence[Prompt], completions: Sequence[Completion]) -> Scores:
        """Scores in logits of being preferred; 0 is the average of the completions it was centred on.

        A row longer than the model's context is a failure: no part of a text is judged for the whole.
        """
        examples = encode_completions(prompts, completions, self.model.tokenizer, self.sampled_by)
        context = context_length(self.model.network.config)
        lengths = [e.cost for e in examples]
        failures = [
            (row, f"it has {length} tokens, more than the reward model's context of {context}")
            for row, length in enumerate(lengths)
            if context is not None and length > context
        ]
        beyond = {row for row, _ in failures}
        read = [row for row in range(len(examples)) if row not in beyond]
        values, done = torch.full((len(examples),), torch.nan), 0
        for part in within_budget([lengths[r] for r in read], self.budget):
            rows = [read[place] for place in part]
            with torch.no_grad():  # not inference mode: a critic may learn from states that were read here
                values[rows] = self.model.scores(token_groups([examples[r] for r in rows])).cpu()
            done += len(rows)
            self.report(done)
        return Scores(values, {self.name: values}, failures)


class PlainReward(ABC):
    """A reward that computes plain numbers and so needs no torch: `score` gives them as tensors."""

    name: str

    @abstractmethod
    def numbers(self, prompts: Sequence[Prompt], completions: Sequence[Completion]) -> Numbers:
        """The score of each row, NaN where it failed, and the failures."""

    def score(self, prompts: Sequence[Prompt], completions: Sequence[Completion]) -> Scores:
        """The same in float32."""
        numbers, failures = self.numbers(prompts, completions)
        values = torch.tensor(numbers, dtype=torch.float32)
        return Scores(values, {self.name: values}, failures)


def numbers_of(reward: Reward, prompts: Sequence[Prompt], completions: Sequence[Completion]) -> Numbers:
    """Scores as plain numbers, NaN where the reward failed, and the failures."""
    if isinstance(reward, PlainReward):
        return reward.numbers(prompts, completions)
    scores = reward.score(prompts, completions)
    return scores.values.tolist(), list(scores.failures)


def number(value: Any) -> float:
    """A function's value as a number; text is none, not even `"1"`."""
    if isinstance(value, str | bytes):
        raise TypeError(f"{value!r} is text, not a number")
    return float(value)


def said(error: BaseException) -> str:
    """An exception on one line."""
    words = " ".join(str(error).split())
    return f"{type(error).__name__}: {words}" if words else type(error).__name__


class FunctionReward(PlainReward):
    """A Python function of prompt and completion text as a reward; one failing row does not fail the others."""

    def __init__(self, function: Callable[[Prompt, str], float], name: str):
        self.function = function
        self.name = name
        self.report: Report = _silent

    def numbers(self, prompts: Sequence[Prompt], completions: Sequence[Completion]) -> Numbers:
        """The function's value for each row; a row on which it raises becomes a failure."""
        values = [math.nan] * len(completions)
        failures: list[tuple[int, str]] = []
        for row, (prompt, completion) in enumerate(zip(prompts, completions, strict=True)):
            try:
                values[row] = number(self.function(prompt, completion.text))
            except Exception as error:  # noqa: BLE001 - a user's function may raise anything; the row is reported
                failures.append((row, said(error)))
            self.report(row + 1)
        return values, failures
