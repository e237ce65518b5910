"""Detection of stages that learned nothing, from their metrics.

A run that learned nothing must not look like a success.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from gnomon.core.progress import console
from gnomon.core.storage.result_model import Number, ResultModel, Words

REASONS: dict[str, str] = {
    "no_gradient": "no step had a gradient",
    "scores_alike": "the scores never differed",
    "groups_alike": "the scores of no group ever differed",
}
TOLERANCE = 1e-6  # relative rounding error between equal scores


class Outcome(ResultModel):
    """Counts over a stage's steps.

    Attributes:
        steps: recorded steps: rounds online, optimizer steps offline.
        with_gradient: steps with a gradient other than 0.
        cut_off: rounds in which every completion reached the length limit.
        without_variance: rounds in which all compared scores were equal.
        nothing: why nothing was learned, a key of `REASONS`, or "".
    """

    steps: Number = None
    with_gradient: Number = None
    cut_off: Number = None
    without_variance: Number = None
    nothing: Words = ""


def outcome(rows: Iterable[Mapping[str, Any]], *, min_group_size: int = 1) -> Outcome:
    """Count over the rows of `metrics.jsonl`.

    A group method learns from scores that differ within a group. Others compare a score with a critic or with
    earlier rounds: for them it is enough that any two scores of the stage differ.

    Args:
        rows: metrics of each step.
        min_group_size: completions of a prompt that the algorithm compares; 1 for none.
    """
    steps = list(rows)
    rounds = [row for row in steps if "score_mean" in row]
    with_gradient = sum((row.get("grad_norm") or 0.0) > 0 for row in steps)
    cut_off = sum(row.get("frac_truncated") == 1 for row in rounds)
    without = sum(not _varies(row, min_group_size) for row in rounds)
    flat = bool(rounds) and without == len(rounds) and (min_group_size > 1 or _constant(rounds))
    nothing = "no_gradient" if steps and not with_gradient else ""
    if flat:
        nothing = "scores_alike" if min_group_size == 1 else "groups_alike"
    return Outcome(
        steps=len(steps), with_gradient=with_gradient, cut_off=cut_off, without_variance=without, nothing=nothing
    )


def why_nothing_learned(learning: Outcome) -> str:
    """Describe why a training learned nothing, as part of a sentence; "" if it learned."""
    reason = REASONS.get(learning.nothing, "")
    if reason and learning.cut_off and learning.cut_off == learning.steps:
        reason += ", and every answer was cut off at the length limit"
    return reason


def _varies(row: Mapping[str, Any], min_group_size: int) -> bool:
    """Return whether scores of the round differ: within a group for a group method, otherwise at all."""
    if min_group_size > 1 and "frac_zero_std_groups" in row:
        return bool(row["frac_zero_std_groups"] != 1)
    spread, mean = row.get("score_std"), row.get("score_mean")
    return spread is None or mean is None or spread > TOLERANCE * max(abs(mean), TOLERANCE)


def _constant(rounds: list[Mapping[str, Any]]) -> bool:
    means = [row["score_mean"] for row in rounds if row["score_mean"] is not None]
    low, high = min(means, default=0.0), max(means, default=0.0)
    return len(means) > 1 and bool(high - low <= TOLERANCE * max(abs(low), abs(high), TOLERANCE))


@dataclass
class Alarms:
    """Console warnings about a round's samples, each printed once per start.

    Attributes:
        min_group_size: as in `outcome`.
        limit: the length limit of a completion, in tokens.
    """

    min_group_size: int
    limit: int
    raised: set[str] = field(default_factory=set)

    def check(self, step: int, metrics: Mapping[str, Any]) -> None:
        """Print the warnings that apply to this round and were not printed before."""
        if metrics.get("frac_truncated") == 1:
            self._once(
                "cut off",
                f"round {step}: every answer was cut off at {self.limit} tokens[/yellow]; raise "
                "sampling.max_tokens, or start from a model that ends its answers",
            )
        if not _varies(metrics, self.min_group_size):
            where = "of no group" if self.min_group_size > 1 else "of no two answers"
            self._once(
                "alike",
                f"round {step}: the scores {where} differ, so it teaches nothing[/yellow]; choose easier or "
                "harder prompts, or more completions of each",
            )

    def _once(self, kind: str, sentence: str) -> None:
        if kind not in self.raised:
            self.raised.add(kind)
            console.print(f"  [yellow]{sentence} (this warning comes once)", highlight=False, soft_wrap=True)
