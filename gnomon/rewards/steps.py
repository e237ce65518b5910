"""The score of an answer from its steps, by a process reward model (Lightman et al. 2023, section 2.6)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from gnomon.core.lazy import torch
from gnomon.core.types import Completion
from gnomon.models.settings import StepCombination

if TYPE_CHECKING:
    from torch import Tensor


def steps_of(completion: Completion, separator: str) -> list[Completion]:
    """Return an answer up to each of its steps; the last is the answer itself.

    Blank pieces are no steps. An answer of several turns is one step.

    Args:
        completion: the answer.
        separator: the text between two steps.
    """
    if completion.turns is not None:
        return [completion]
    ends, end = [], 0
    for piece in completion.text.split(separator):
        end += len(piece)
        if piece.strip():
            ends.append(end)
        end += len(separator)
    earlier = [
        replace(completion, id=f"{completion.id}, step {number}", text=completion.text[:stop], token_ids=None)
        for number, stop in enumerate(ends[:-1], start=1)
    ]
    return [*earlier, completion]


def combine_steps(probabilities: Tensor, combine: StepCombination) -> Tensor:
    """Combine the probabilities of an answer's steps, `[S]`, to its score, `[]`, between 0 and 1.

    Args:
        probabilities: that the answer is right up to each step.
        combine: the smallest, their product, or the last one.
    """
    if combine == "min":
        return probabilities.min()
    return probabilities.prod() if combine == "product" else probabilities[-1]


def combine_rows(
    values: Tensor, failures: Sequence[tuple[int, str]], counts: Sequence[int], combine: StepCombination
) -> tuple[Tensor, list[tuple[int, str]]]:
    """Combine the scores of steps to those of answers; an answer fails if one of its steps does.

    Args:
        values: logits of being right up to each step, answer by answer, `[M]`; NaN without a score.
        failures: step, from 0 to M − 1, and reason.
        counts: steps of each answer, `[N]`.
        combine: of an answer's probabilities.

    Returns:
        Scores `[N]`, NaN where a step has none; answer and reason of each of those.
    """
    scores, reasons, failed, start = torch.full((len(counts),), torch.nan), dict(failures), [], 0
    for row, count in enumerate(counts):
        logits = values[start : start + count]
        bad = (~logits.isfinite()).nonzero().flatten().tolist()
        if bad:
            reason = reasons.get(start + bad[0], "its score is not a finite number")
            failed.append((row, reason if count == 1 else f"step {bad[0] + 1}: {reason}"))
        else:
            scores[row] = combine_steps(logits.sigmoid(), combine)
        start += count
    return scores, failed
