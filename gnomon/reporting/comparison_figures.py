"""Figures of a comparison: score over KL, training curves, win rates, time and memory."""

from __future__ import annotations

from gnomon.core.storage.result_model import IntervalEstimate
from gnomon.reporting import plots
from gnomon.reporting.comparison_results import Comparison


def frontiers(comparison: Comparison) -> dict[str, str]:
    """Plot for each judge the mean score of each run over its KL; the cross is the reference at KL 0."""
    pictures = {}
    for index, judge in enumerate(comparison.judges):
        series = [
            plots.Series(
                name,
                [
                    (run.kl, run.scores[judge.name])
                    for run in comparison.of(name)
                    if run.kl is not None and judge.name in run.scores
                ],
            )
            for name in comparison.algorithms
        ]
        reference = comparison.reference_score(judge.name).value
        if any(one.dots for one in series):
            mark = None if reference is None else (0.0, reference)
            pictures[judge.name] = plots.frontier(f"frontier-{index}", series, mark)
    return pictures


def courses(comparison: Comparison) -> str:
    """Plot score over KL during training, for the online algorithms; "" without any."""
    series = [
        plots.Series(name, courses=[run.course for run in comparison.of(name) if len(run.course) > 1])
        for name in comparison.algorithms
    ]
    return plots.frontier("courses", series) if any(one.courses for one in series) else ""


def win_rates(comparison: Comparison) -> dict[str, str]:
    """Plot for each judge how often each algorithm's completions beat the reference's."""
    rows_by_judge = {
        judge.name: _rows(
            {name: comparison.win_rate(name, judge.name) for name in comparison.algorithms}, comparison
        )
        for judge in comparison.judges
    }
    return {
        name: plots.intervals(f"wins-{index}", rows, line=0.5, shares=(0, 1))
        for index, (name, rows) in enumerate(rows_by_judge.items())
        if rows
    }


def costs(comparison: Comparison) -> dict[str, str]:
    """Plot seconds and memory of each algorithm, by field name."""
    names = ("seconds", "memory", "device_memory")
    rows_by_figure = {
        n: _rows({a: comparison.figure(a, n) for a in comparison.algorithms}, comparison) for n in names
    }
    return {name: plots.intervals(f"cost-{name}", rows) for name, rows in rows_by_figure.items() if rows}


def _rows(estimates: dict[str, IntervalEstimate], comparison: Comparison) -> list[plots.IntervalRow]:
    leader = comparison.leader.algorithm
    return [
        plots.IntervalRow(name, estimate.value, estimate.low, estimate.high, marked=name == leader)
        for name, estimate in estimates.items()
        if estimate.value is not None
    ]
