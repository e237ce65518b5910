"""The figures of each stage in a report."""

from __future__ import annotations

from dataclasses import dataclass

from gnomon.evaluation.results import RewardModelEvaluation
from gnomon.reporting import plots
from gnomon.reporting.run_reader import RecordedStage
from gnomon.stages.common.results import ComparisonResult

CURVES = (
    "loss",
    "accuracy",
    "reward_margin",
    "chosen_reward",
    "rejected_reward",
    "nll",
    "score_mean",
    "uncertainty",
    "kl",
    "kl_coef",
    "entropy",
    "length_mean",
    "frac_truncated",
    "frac_zero_std_groups",
    "clip_fraction",
    "kl_loss",
    "value_loss",
    "explained_variance",
    "sft_loss",
)


@dataclass(frozen=True)
class Curve:
    """A metric's curve over the training."""

    metric: str
    svg: str
    first: float
    last: float


@dataclass(frozen=True)
class WinRateFigure:
    """The win rates of one model against another."""

    model: str
    against: str
    svg: str


def curves(stage: RecordedStage) -> list[Curve]:
    """Plot a curve for each known metric that was recorded more than once."""
    return [
        Curve(
            metric=metric,
            svg=plots.curve(f"{stage.name}-{metric}", points),
            first=points[0][1],
            last=points[-1][1],
        )
        for metric in CURVES
        if len(points := stage.metrics.get(metric, [])) > 1
    ]


def accuracy(stage: RecordedStage, evaluation: RewardModelEvaluation) -> str:
    """Plot the pair accuracy of the reward model, the baselines and one person; "" without any."""
    rows = [
        plots.IntervalRow(row.name, row.pair_accuracy, row.pair_low, row.pair_high, marked=row.kind == "model")
        for row in evaluation.rows
        if row.pair_accuracy is not None
    ]
    return plots.intervals(f"{stage.name}-judges", rows, line=0.5, shares=(0.4, 1)) if rows else ""


def scatter(stage: RecordedStage, evaluation: RewardModelEvaluation) -> str:
    """Plot scores against people's mean ratings; "" without any."""
    return plots.scatter(f"{stage.name}-scatter", evaluation.scatter) if evaluation.scatter else ""


def calibration(stage: RecordedStage, evaluation: RewardModelEvaluation) -> str:
    """Plot predicted against observed shares; "" without any."""
    bins = [
        (row.predicted, row.observed, row.count or 0.0)
        for row in evaluation.calibration.bins
        if row.predicted is not None and row.observed is not None
    ]
    return plots.calibration(f"{stage.name}-calibration", bins) if bins else ""


def scores(stage: RecordedStage, evaluation: ComparisonResult) -> dict[str, str]:
    """Plot for each judge the mean scores of the models."""
    pictures = {}
    for index, judge in enumerate(evaluation.judges):
        rows = [
            plots.IntervalRow(
                row.model, score.mean, score.low, score.high, marked=row.model == evaluation.candidate
            )
            for row in evaluation.table
            if (score := row.scores.get(judge.name)) is not None and score.mean is not None
        ]
        if rows:
            pictures[judge.name] = plots.intervals(f"{stage.name}-scores-{index}", rows)
    return pictures


def comparisons(stage: RecordedStage, evaluation: ComparisonResult) -> list[WinRateFigure]:
    """Plot for each compared pair of models the win rates by every judge."""
    independent = {judge.name for judge in evaluation.judges if judge.independent}
    pairs: dict[tuple[str, str], list[plots.IntervalRow]] = {}
    for row in evaluation.win_rates:
        if row.rate is not None:
            interval_row = plots.IntervalRow(
                row.judge, row.rate, row.low, row.high, marked=row.judge in independent
            )
            pairs.setdefault((row.model, row.against), []).append(interval_row)
    return [
        WinRateFigure(*pair, plots.intervals(f"{stage.name}-wins-{index}", rows, line=0.5, shares=(0, 1)))
        for index, (pair, rows) in enumerate(pairs.items())
    ]
