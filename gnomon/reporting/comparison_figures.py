"""The pictures of a comparison: score over KL, the way there, win rates, time and memory."""

from __future__ import annotations

from gnomon.reporting import plots
from gnomon.reporting.comparison_results import Comparison
from gnomon.reporting.results import IntervalEstimate


def frontiers(found: Comparison) -> dict[str, str]:
    """For each judge: the mean score of each run over its KL, a dot a seed; a cross is the reference, at KL 0."""
    pictures = {}
    for place, judge in enumerate(found.judges):
        series = [
            plots.Series(
                name,
                [
                    (run.kl, run.scores[judge.name])
                    for run in found.of(name)
                    if run.kl is not None and judge.name in run.scores
                ],
            )
            for name in found.algorithms
        ]
        reference = found.reference_score(judge.name).value
        if any(one.dots for one in series):
            mark = None if reference is None else (0.0, reference)
            pictures[judge.name] = plots.frontier(f"frontier-{place}", series, mark)
    return pictures


def courses(found: Comparison) -> str:
    """Score over KL in training, of the algorithms that learn from their own samples; "" without any."""
    series = [
        plots.Series(name, courses=[run.course for run in found.of(name) if len(run.course) > 1])
        for name in found.algorithms
    ]
    return plots.frontier("courses", series) if any(one.courses for one in series) else ""


def win_rates(found: Comparison) -> dict[str, str]:
    """For each judge, how often each algorithm's completions beat the reference's."""
    drawn = {
        judge.name: _rows({name: found.win_rate(name, judge.name) for name in found.algorithms}, found)
        for judge in found.judges
    }
    return {
        name: plots.intervals(f"wins-{place}", rows, line=0.5, shares=(0, 1))
        for place, (name, rows) in enumerate(drawn.items())
        if rows
    }


def costs(found: Comparison) -> dict[str, str]:
    """Seconds and memory of each algorithm, by the figure's name."""
    names = ("seconds", "memory", "device_memory")
    drawn = {n: _rows({a: found.figure(a, n) for a in found.algorithms}, found) for n in names}
    return {name: plots.intervals(f"cost-{name}", rows) for name, rows in drawn.items() if rows}


def _rows(estimates: dict[str, IntervalEstimate], found: Comparison) -> list[plots.IntervalRow]:
    leader = found.leader.algorithm
    return [
        plots.IntervalRow(name, estimate.value, estimate.low, estimate.high, marked=name == leader)
        for name, estimate in estimates.items()
        if estimate.value is not None
    ]
