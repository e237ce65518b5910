"""The published figures of the benchmarks whose rows are in the data."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gnomon.evaluation.benchmarks import BENCHMARKS, ScoredCase
from gnomon.evaluation.examination.cases import Cases
from gnomon.evaluation.examination.results import BenchmarkFigures

FloatArray = NDArray[np.float64]


def benchmark_figures(cases: Cases, scores: FloatArray) -> list[BenchmarkFigures]:
    """Compute the figures of each benchmark; rows with an answer without a score are left out.

    Args:
        cases: the data.
        scores: of all texts by index, [N].
    """
    results = []
    for benchmark in BENCHMARKS:
        rows = cases.benchmarks.get(benchmark.name, [])
        scored = [
            ScoredCase(row.id, row.subset, scores[list(row.right)].tolist(), scores[list(row.wrong)].tolist())
            for row in rows
            if not np.isnan(scores[[*row.right, *row.wrong]]).any()
        ]
        if scored:
            excluded, figures = len(rows) - len(scored), benchmark.figures(scored)
            results.append(
                BenchmarkFigures(name=benchmark.name, rows=len(scored), excluded=excluded, figures=figures)
            )
    return results
