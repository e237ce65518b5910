"""The figures of each reward by name: for conditions such as `accuracy<0.7`, and for tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from gnomon.evaluation.examination.cases import Cases
from gnomon.evaluation.examination.results import ModelExamination, RewardExamination, ScorerAccuracy

Figures = Mapping[str, float | None]


def figures_of(result: RewardExamination) -> dict[str, Figures]:
    """Return the figures of each reward by name; `None` where one is undefined."""
    models = {one.name: one for one in result.models}
    rows = [row for row in result.accuracy if row.kind == "model"]
    return {row.name: dict(_figures(result, row, models[row.name])) for row in rows}


def figure_names(cases: Cases) -> list[str]:
    """Return the names of the figures that an examination of these cases has, before any text is scored."""
    votes = any(pair.persons for pair in cases.decided)
    return [
        "accuracy",
        "accuracy_low",
        "accuracy_high",
        "margin_over_length",
        *(["margin_over_person"] if votes else []),
        "failed_share",
        *(f"accuracy.{name}" for name in cases.categories),
    ]


def _figures(
    result: RewardExamination, row: ScorerAccuracy, model: ModelExamination
) -> Iterator[tuple[str, float | None]]:
    overall = row.overall
    yield from (("accuracy", overall.value), ("accuracy_low", overall.low), ("accuracy_high", overall.high))
    yield "margin_over_length", _gap(overall.value, _baseline(result))
    if result.person is not None:
        yield "margin_over_person", _gap(result.person.models[row.name].value, result.person.person.value)
    failed = len(model.failed)
    yield "failed_share", failed / (failed + (model.scored or 0))
    for category in row.categories:
        yield f"accuracy.{category.name}", category.accuracy.value


def _baseline(result: RewardExamination) -> float | None:
    """Return the accuracy of the better one of the baselines."""
    values = [row.overall.value for row in result.accuracy if row.kind == "baseline"]
    return max((value for value in values if value is not None), default=None)


def _gap(value: float | None, other: float | None) -> float | None:
    return None if value is None or other is None else value - other
