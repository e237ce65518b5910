"""The reward protocol, rewards by a reward model, and what rewards of plain functions share."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from gnomon.core.errors import RunError
from gnomon.core.extensions import describe_error
from gnomon.core.lazy import torch
from gnomon.core.progress import SHORT_SECONDS, progress
from gnomon.core.types import Completion, Prompt, RejectedRow
from gnomon.data.batching import pack_by_tokens, token_groups
from gnomon.data.encoding import Example, context_length, encode_completions, encode_conversations
from gnomon.data.reading.media.parts import media_of, media_reason
from gnomon.rewards.steps import combine_rows, steps_of

if TYPE_CHECKING:
    from torch import Tensor

    from gnomon.core.batches import TokenGroups
    from gnomon.models.roles import RewardModel

Report = Callable[[int], None]  # called with the number of scored rows
ScoreFunction = Callable[[Sequence[Any], Sequence[Any]], "Scores"]  # of prompts and completions
Numbers = tuple[list[float], list[tuple[int, str]]]  # scores; row and reason for each row without a score
ABSTAINED = "it abstained"
LATE_IN_A_ROW = 3  # rows in a row on which a function may exceed its time limit


@dataclass(frozen=True)
class Scores:
    """Scores of N completions.

    Attributes:
        values: `[N]`, float32; NaN if the reward failed or abstained, never 0.
        parts: named components, `[N]` each.
        failures: row and reason of each failed row.
        abstentions: rows on which a named component abstained, `[N]` boolean each: no score, and no failure.
        uncertainties: of components that are ensembles: the standard deviation over members, `[N]` each.
    """

    values: Tensor
    parts: Mapping[str, Tensor] = field(default_factory=dict)
    failures: Sequence[tuple[int, str]] = ()
    abstentions: Mapping[str, Tensor] = field(default_factory=dict)
    uncertainties: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def abstained(self) -> Tensor:
        """Rows on which all components abstained, `[N]` boolean."""
        named = [self.abstentions.get(name) for name in self.parts]
        abstentions = [where for where in named if where is not None]
        if not abstentions or len(abstentions) < len(named):
            return torch.zeros(len(self.values), dtype=torch.bool)
        return torch.stack(abstentions).all(dim=0)

    def reason(self, row: int) -> str:
        """Return why a row has no score."""
        reason = dict(self.failures).get(row)
        return reason or (ABSTAINED if bool(self.abstained[row]) else "its score is not a finite number")


def no_report(rows: int) -> None:
    """Report nothing."""


@contextmanager
def watched_scores(reward: Reward, label: str, rows: int) -> Iterator[None]:
    """Context manager: show the progress of scoring that takes more than a few seconds.

    Args:
        reward: reward that scores.
        label: label of the progress bar.
        rows: number of rows to score.
    """
    parts = [reward, *(part for _, part in getattr(reward, "parts", ()))]
    watched: list[Any] = [part for part in parts if hasattr(part, "report")]
    with progress(label, rows, after=SHORT_SECONDS) as bar:
        for part in watched:
            part.report = bar.at
        try:
            yield
        finally:
            for part in watched:
                part.report = no_report


class Reward(Protocol):
    """Scores completions, higher is better."""

    name: str

    def score(self, prompts: Sequence[Prompt], completions: Sequence[Completion]) -> Scores:
        """Score `completions[n]` as an answer to `prompts[n]`."""


class LearnedReward:
    """A reward model as a reward.

    Attributes:
        sampled_by: tokenizer of the completions' ids. If its vocabulary is the model's, the ids are used as they
            are; otherwise, and without it, the texts are tokenized.
        budget: tokens of a micro-batch.
        report: called with the number of scored rows after each micro-batch.
    """

    def __init__(self, model: RewardModel, name: str, *, sampled_by: Any = None, budget: int = 4096):
        self.model = model
        self.name = name
        self.sampled_by = sampled_by
        self.budget = budget
        self.report: Report = no_report

    def score(self, prompts: Sequence[Prompt], completions: Sequence[Completion]) -> Scores:
        """Scores in logits of being preferred; 0 is the mean of the completions that the model was centered on.

        Named scores that the model has beside are among the parts, as `NAME#score`, on people's scale; one that
        is selected is the score.

        A row that the model's chat template refuses is a failure, and so is one longer than the model's context:
        texts are never cut. An ensemble's scores are combined by its own rule. A process reward model scores the
        steps of an answer and gives a probability.
        """
        if self.model.steps is None:
            return self.score_encoded(self._encoded(prompts, completions))
        members, failures = self.member_scores(prompts, completions)
        values = self.model.combined(members)
        return Scores(values, {self.name: values}, failures)

    def member_scores(
        self, prompts: Sequence[Prompt], completions: Sequence[Completion]
    ) -> tuple[Tensor, list[tuple[int, str]]]:
        """Scores by each member of an ensemble, `[E, N]`, with E = 1 for a single model; and the failures."""
        settings = self.model.steps
        if settings is None:
            return self.encoded_member_scores(self._encoded(prompts, completions))
        whole = settings.combine == "last"
        rows = [[one] if whole else steps_of(one, settings.separator) for one in completions]
        counts = [len(steps) for steps in rows]
        repeated = [prompt for prompt, count in zip(prompts, counts, strict=True) for _ in range(count)]
        encoded = self._encoded(repeated, [step for steps in rows for step in steps])
        flat, of_steps = self.encoded_member_scores(encoded)
        by_member = [combine_rows(logits, of_steps, counts, settings.combine) for logits in flat]
        reasons = {row: reason for _, failures in by_member for row, reason in failures}
        return torch.stack([values for values, _ in by_member]), sorted(reasons.items())

    def score_encoded(self, encoded: Sequence[Example | RejectedRow]) -> Scores:
        """Scores of encoded completions; rejected rows, and those longer than the context, are failures."""
        names = self.model.score_names if self.model.selected is None and self.model.has_score else []
        if names and self.model.member_count == 1:
            table, failures = self._computed(encoded, 1 + len(names), self.model.score_table)
            named = {f"{self.name}#{name}": row for name, row in zip(names, table[1:], strict=True)}
            return Scores(table[0], {self.name: table[0], **named}, failures)
        members, failures = self.encoded_member_scores(encoded)
        values = self.model.combined(members)
        return Scores(values, {self.name: values}, failures)

    def _encoded(
        self, prompts: Sequence[Prompt], completions: Sequence[Completion]
    ) -> Sequence[Example | RejectedRow]:
        from gnomon.models.special_tokens import (
            end_ids,
        )  # imports transformers, which rewards without a model do not need

        if self.model.whole_conversation:
            padding = self.model.network.config.get_text_config().pad_token_id
            return encode_conversations(prompts, completions, self.model.tokenizer, padding)
        ends = end_ids(self.model.network, self.model.tokenizer)
        return encode_completions(prompts, completions, self.model.tokenizer, self.sampled_by, ends)

    def encoded_member_scores(
        self, encoded: Sequence[Example | RejectedRow]
    ) -> tuple[Tensor, list[tuple[int, str]]]:
        """Scores of encoded completions by each member of an ensemble, `[E, N]`, and the failures."""
        return self._computed(encoded, self.model.member_count, self.model.member_scores)

    def _computed(
        self, encoded: Sequence[Example | RejectedRow], count: int, compute: Callable[[TokenGroups], Tensor]
    ) -> tuple[Tensor, list[tuple[int, str]]]:
        """Several numbers of each row, `[count, N]`, and the failures.

        Args:
            encoded: rows.
            count: numbers of a row.
            compute: them from completions, `[count, M]`.
        """
        context = context_length(self.model.network.config)
        readable: list[tuple[int, Example]] = []
        failures: list[tuple[int, str]] = []
        for row, one in enumerate(encoded):
            if isinstance(one, RejectedRow):
                failures.append((row, one.reason))
            elif context is not None and one.cost > context:
                failures.append(
                    (row, f"it has {one.cost} tokens, more than the reward model's context of {context}")
                )
            else:
                readable.append((row, one))
        values, scored = torch.full((count, len(encoded)), torch.nan), 0
        for part in pack_by_tokens([example.cost for _, example in readable], self.budget):
            rows, examples = zip(*(readable[index] for index in part), strict=True)
            with torch.no_grad():  # not inference mode: a critic may train on states computed here
                values[:, list(rows)] = compute(token_groups(examples)).float().cpu()
            scored += len(rows)
            self.report(scored)
        return values, failures


class PlainReward(ABC):
    """Base of rewards that compute plain numbers, without torch; `score` returns them as tensors."""

    name: str

    @abstractmethod
    def numbers(self, prompts: Sequence[Prompt], completions: Sequence[Completion]) -> Numbers:
        """The score of each row, NaN if there is none; row and reason (or `ABSTAINED`) of those rows."""

    def score(self, prompts: Sequence[Prompt], completions: Sequence[Completion]) -> Scores:
        """The scores as float32 tensors."""
        numbers, reasons = self.numbers(prompts, completions)
        values = torch.tensor(numbers, dtype=torch.float32)
        abstained = torch.zeros(len(numbers), dtype=torch.bool)
        abstained[[row for row, reason in reasons if reason == ABSTAINED]] = True
        failures = [(row, reason) for row, reason in reasons if reason != ABSTAINED]
        return Scores(values, {self.name: values}, failures, {self.name: abstained})


def numbers_of(reward: Reward, prompts: Sequence[Prompt], completions: Sequence[Completion]) -> Numbers:
    """Scores as plain numbers, NaN for rows without one; and row and reason of those rows.

    A row with images, sounds or videos has none, whatever the reward: it would be judged without them.

    Args:
        reward: any reward.
        prompts: N prompts.
        completions: N completions.
    """
    reasons = _media_reasons(prompts, completions)
    if reasons:
        rows = [row for row in range(len(prompts)) if row not in reasons]
        some = [prompts[row] for row in rows], [completions[row] for row in rows]
        values, failures = numbers_of(reward, *some) if rows else ([], [])
        by_row = dict(zip(rows, values, strict=True))
        others = [(rows[row], reason) for row, reason in failures]
        return [by_row.get(row, math.nan) for row in range(len(prompts))], sorted([*others, *reasons.items()])
    if isinstance(reward, PlainReward):
        return reward.numbers(prompts, completions)
    scores = reward.score(prompts, completions)
    abstained = [(row, ABSTAINED) for row in scores.abstained.nonzero().flatten().tolist()]
    return scores.values.tolist(), [*scores.failures, *abstained]


def _media_reasons(prompts: Sequence[Prompt], completions: Sequence[Completion]) -> dict[int, str]:
    """Return why rows with images, sounds or videos have no score, by row: every reward reads text alone."""
    pairs = enumerate(zip(prompts, completions, strict=True))
    media = ((row, media_of([*prompt.messages, *(one.turns or ())])) for row, (prompt, one) in pairs)
    return {row: media_reason(some) for row, some in media if some}


def score_rows(name: str, count: int, score: Callable[[int], Any], report: Report = no_report) -> Numbers:
    """Score rows one by one; a row on which the user's code raises is a failure.

    Args:
        name: name of the reward.
        count: number of rows.
        score: returns the score of a row.
        report: called with the number of scored rows.

    Raises:
        RunError: it exceeded its time limit on several consecutive rows.
    """
    values = [math.nan] * count
    reasons: list[tuple[int, str]] = []
    late = 0
    for row in range(count):
        try:
            value = score(row)
            if value is None:
                reasons.append((row, ABSTAINED))
            else:
                values[row] = number(value)
            late = 0
        except KeyboardInterrupt:  # from the user, not from the function
            raise
        except BaseException as error:  # noqa: BLE001 - a user's function may raise anything; the row is reported
            reasons.append((row, describe_error(error)))
            late = late + 1 if isinstance(error, TimeoutError) else 0
        if late == LATE_IN_A_ROW:
            raise RunError(
                f"the reward '{name}' exceeded its time limit on {late} completions in a row ({reasons[-1][1]}); "
                "fix it, or give it as a part of the reward with a longer timeout."
            )
        report(row + 1)
    return values, reasons


def number(value: Any) -> float:
    """Convert the result of a user's function to a finite score.

    Raises:
        TypeError: it is no number.
        ValueError: it is not finite.
    """
    if isinstance(value, str | bytes):
        raise TypeError(f"{value!r:.40} is a text, not a number")
    score = float(value)
    if not math.isfinite(score):
        raise ValueError(f"the score is {score}")
    return score
