"""RewardBench scores, printed by `gnomon score` for files of preferences that name RewardBench's subsets."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from gnomon.core.errors import DataError
from gnomon.core.types import Completion, Prompt
from gnomon.data.reading.conversations import completion_of, prompt_of
from gnomon.data.reading.readers import read_rows
from gnomon.data.reading.row_fields import required
from gnomon.evaluation.rewardbench import (
    SECTIONS,
    SUBSETS_2,
    Answers,
    best_of_answers,
    overall_2,
    section_scores,
    subset_accuracy,
    ties_score,
)

Row = dict[str, Any]
SUBSETS_1 = {subset for subsets in SECTIONS.values() for subset in subsets}
TIES = "Ties"


def is_version_2(row: Mapping[str, Any]) -> bool:
    """Whether a row has several right or wrong answers and a subset of version 2."""
    return row.get("subset") in SUBSETS_2 and isinstance(row.get("rejected"), list)


def read_version_2(path: Path) -> list[tuple[Row, Prompt, list[Completion], list[Completion]]]:
    """Each row with its prompt, its right and its wrong answers.

    Raises:
        DataError: a row is not one of RewardBench 2.
    """
    result = []
    for where, row in read_rows(path):
        try:
            prompt = prompt_of(required(row, "prompt"))
            right, wrong = (_answers(row, key, prompt) for key in ("chosen", "rejected"))
        except DataError as error:
            raise DataError(
                f"{path}, {where}: {str(error).rstrip('.')}; give rows of RewardBench 2: prompt, chosen, "
                "rejected, subset and id."
            ) from None
        result.append((row, prompt, right, wrong))
    return result


def _answers(row: Mapping[str, Any], key: str, prompt: Prompt) -> list[Completion]:
    texts = required(row, key)
    if not isinstance(texts, list) or not texts:
        raise DataError(f"{key} is not a list of answers")
    return [completion_of(text, prompt) for text in texts]


def lines_of(rows: Sequence[Mapping[str, Any]], subsets: Sequence[object]) -> Iterator[str]:
    """RewardBench's scores as lines; none if the subsets are not RewardBench's.

    Args:
        rows: with `chosen_score` and `rejected_score`, or `chosen_scores` and `rejected_scores`. Rows without a
            score are left out.
        subsets: the subset of each row.
    """
    if not rows or not all(isinstance(name, str) for name in subsets):
        return
    if "chosen_scores" in rows[0]:
        yield from _version_2(rows)
    elif set(subsets) <= SUBSETS_1:
        yield from _version_1(rows, [str(name) for name in subsets])


def _version_1(rows: Sequence[Mapping[str, Any]], subsets: Sequence[str]) -> Iterator[str]:
    pairs: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for row, subset in zip(rows, subsets, strict=True):
        if row["chosen_score"] is not None and row["rejected_score"] is not None:
            pairs[subset].append((row["chosen_score"], row["rejected_score"]))
    right = {name: share for name, some in pairs.items() if (share := subset_accuracy(some)) is not None}
    result = {name: share for name, share in section_scores(right).items() if share is not None}
    for name, share in result.items():
        yield f"RewardBench, {name}: {share:.1%}"
    if len(result) == len(SECTIONS):
        yield f"RewardBench: {fmean(result.values()):.1%}"


def _version_2(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    answers: dict[str, list[Answers]] = defaultdict(list)
    ties: dict[str, dict[Hashable, Answers]] = {"ref": {}, "tied": {}}
    for row in rows:
        scores = (row["chosen_scores"], row["rejected_scores"])
        if None in (*scores[0], *scores[1]):
            continue
        if row["subset"] != TIES:
            answers[row["subset"]].append(scores)
            continue
        kind, _, number = str(row["id"]).partition(":")
        if kind not in ties or not number:
            raise DataError(f"the id '{row['id']}' of a row of {TIES} is neither ref:NUMBER nor tied:NUMBER.")
        ties[kind][number] = scores
    result = {name: share for name, some in answers.items() if (share := best_of_answers(some)) is not None}
    if (tied := ties_score(ties["ref"], ties["tied"])) is not None:
        result[TIES] = tied.score
    for name in SUBSETS_2:
        if name in result:
            yield f"RewardBench 2, {name}: {result[name]:.1%}"
    if (overall := overall_2(result)) is not None:
        yield f"RewardBench 2: {overall:.1%}"
