"""The pictures and tables of an examination of rewards, for its page and for the report of a run."""

from __future__ import annotations

from markupsafe import Markup

from gnomon.evaluation.examination.figure_table import (
    bounds as bounds,
    figure_rows as figure_rows,
    number as number,
    offset as offset,
    remarks as remarks,
    share as share,
    signed as signed,
)
from gnomon.evaluation.examination.results import ModelExamination, RewardExamination, ScorerAccuracy
from gnomon.evaluation.examination.text_report import benchmark_rows as benchmark_rows
from gnomon.reporting import plots
from gnomon.reporting.formatting import text

MOST_ROWS = 20  # categories in one picture
SHOWN_FAILURES = 50  # of each reward on the page


def scorer_name(row: ScorerAccuracy) -> Markup:
    """Return the name of a reward, escaped, or of a baseline in all languages."""
    if row.kind == "baseline":
        return text(f"examined.{row.name.replace(' ', '_')}")
    return Markup("<bdi>{}</bdi>").format(row.name)


def accuracy(result: RewardExamination, section: str) -> str:
    """Plot the accuracy of rewards, baselines and one person; "" without any.

    Args:
        result: the examination.
        section: makes the picture's name unique within the page.
    """
    rows = [
        plots.IntervalRow(
            row.name, row.overall.value, row.overall.low, row.overall.high, marked=row.kind == "model"
        )
        for row in result.accuracy
        if row.overall.value is not None
    ]
    if result.person is not None and result.person.person.value is not None:
        one = result.person.person
        rows.append(plots.IntervalRow("one person", float(one.value or 0), one.low, one.high))
    return plots.intervals(f"{section}-examined", rows, line=0.5, shares=(0, 1)) if rows else ""


def categories(row: ScorerAccuracy, section: str) -> str:
    """Plot the accuracy of one reward by category; "" without categories, or with very many.

    Args:
        row: the accuracies.
        section: makes the picture's name unique within the page.
    """
    rows = [
        plots.IntervalRow(one.name, one.accuracy.value, one.accuracy.low, one.accuracy.high, marked=not one.few)
        for one in row.categories
        if one.accuracy.value is not None
    ]
    if not rows or len(rows) > MOST_ROWS:
        return ""
    return plots.intervals(f"{section}-{row.name}-categories", rows, line=0.5, shares=(0, 1))


def reliability(model: ModelExamination, section: str) -> str:
    """Plot the calibration of one reward; "" if it is undefined.

    Args:
        model: the figures of the reward.
        section: makes the picture's name unique within the page.
    """
    bins = [
        (row.predicted, row.observed, row.count or 0.0)
        for row in model.probabilities.bins
        if row.predicted is not None and row.observed is not None
    ]
    return plots.calibration(f"{section}-{model.name}-reliability", bins) if bins else ""


def distribution(model: ModelExamination, section: str) -> str:
    """Plot histograms of the scores of preferred and other texts; "" without scores.

    Args:
        model: the figures of the reward.
        section: makes the picture's name unique within the page.
    """
    scores = model.distributions
    edges = [edge for edge in scores.edges if edge is not None]
    sides = [[count or 0 for count in side] for side in (scores.preferred_counts, scores.other_counts)]
    if len(edges) < 2 or any(len(side) != len(edges) - 1 for side in sides):
        return ""
    return plots.histograms(f"{section}-{model.name}-scores", edges, sides[0], sides[1])


def flips(model: ModelExamination, section: str) -> str:
    """Plot the share of verdicts that flip with each change; "" without any.

    Args:
        model: the figures of the reward.
        section: makes the picture's name unique within the page.
    """
    rows = [
        plots.IntervalRow(row.change.replace("_", " "), row.flips, row.flips_low, row.flips_high)
        for row in model.robustness
        if row.flips is not None
    ]
    return plots.intervals(f"{section}-{model.name}-flips", rows, shares=(0, 1)) if rows else ""
