"""RewardBench scores, printed by `gnomon score` for files of preferences that name RewardBench's subsets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from gnomon.core.errors import DataError
from gnomon.core.types import Completion, Prompt
from gnomon.data.reading.readers import read_rows
from gnomon.evaluation.benchmarks import (
    SUBSETS_1,
    RewardBench2Scoring,
    RewardBenchScoring,
    ScoredCase,
    answer_lists,
)

Row = dict[str, Any]


def is_version_2(row: Mapping[str, Any]) -> bool:
    """Whether a row has several right or wrong answers and a subset of version 2."""
    return RewardBench2Scoring().has(row)


def read_version_2(path: Path) -> list[tuple[Row, Prompt, list[Completion], list[Completion]]]:
    """Each row with its prompt, its right and its wrong answers.

    Raises:
        DataError: a row is not one of RewardBench 2.
    """
    result = []
    for where, row in read_rows(path):
        try:
            prompt, right, wrong = answer_lists(row)
        except DataError as error:
            raise DataError(
                f"{path}, {where}: {str(error).rstrip('.')}; give rows of RewardBench 2: prompt, chosen, "
                "rejected, subset and id."
            ) from None
        result.append((row, prompt, right, wrong))
    return result


def lines_of(rows: Sequence[Mapping[str, Any]], subsets: Sequence[object]) -> Iterator[str]:
    """RewardBench's scores as lines; none if the subsets are not RewardBench's.

    Args:
        rows: with `chosen_score` and `rejected_score`, or `chosen_scores` and `rejected_scores`. Rows without a
            score are left out.
        subsets: the subset of each row.
    """
    if not rows or not all(isinstance(name, str) for name in subsets):
        return
    benchmark: RewardBenchScoring | RewardBench2Scoring
    if "chosen_scores" in rows[0]:
        benchmark = RewardBench2Scoring()
        sides = [(row["chosen_scores"], row["rejected_scores"]) for row in rows]
    elif set(subsets) <= SUBSETS_1:
        benchmark = RewardBenchScoring()
        sides = [([row["chosen_score"]], [row["rejected_score"]]) for row in rows]
    else:
        return
    cases = [
        ScoredCase(str(row.get("id")), str(subset), right, wrong)
        for row, subset, (right, wrong) in zip(rows, subsets, sides, strict=True)
        if None not in (*right, *wrong)
    ]
    for name, share in benchmark.figures(cases).items():
        yield f"{benchmark.name}{f', {name}' if name else ''}: {share:.1%}"
