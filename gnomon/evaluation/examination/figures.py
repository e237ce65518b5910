"""The figures of each reward by name: for conditions such as `accuracy<0.7`, and for tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from gnomon.evaluation.benchmarks import BENCHMARKS, ScoredCase
from gnomon.evaluation.examination.cases import Cases
from gnomon.evaluation.examination.measures.transformations import CHANGES
from gnomon.evaluation.examination.results import ModelExamination, RewardExamination, ScorerAccuracy

Figures = Mapping[str, float | None]
Named = Iterator[tuple[str, float | None]]

ALWAYS = (
    "accuracy", "accuracy_low", "accuracy_high", "margin_over_length", "failed_share", "ece", "ece_equal_mass",
    "nll", "brier", "length_pearson", "length_spearman", "prefers_longer", "accuracy_shorter", "accuracy_longer",
    "order_difference",
)  # fmt: skip
OF_VOTES = ("margin_over_person",)
OF_LISTS = ("tau", "spearman", "tau_pooled", "spearman_all")
OF_PERTURBED = ("own_prompt",)
OF_CHANGES = ("flips", "shift", "overtakes")


def figures_of(result: RewardExamination) -> dict[str, Figures]:
    """Return the figures of each reward by name; `None` where one is undefined."""
    models = {one.name: one for one in result.models}
    rows = [row for row in result.accuracy if row.kind == "model"]
    return {
        row.name: {**dict(_of_accuracy(result, row)), **dict(_of_model(models[row.name]))}
        for row in rows
        if row.name in models
    }


def figure_names(cases: Cases, perturbed: bool) -> list[str]:
    """Return the names of the figures that an examination of these cases has, before any text is scored.

    A figure that has a name may still be undefined.

    Args:
        cases: the data.
        perturbed: whether answers are changed.
    """
    names = [*ALWAYS]
    if any(pair.persons for pair in cases.decided):
        names += OF_VOTES
    if cases.lists:
        names += OF_LISTS
    if perturbed:
        names += [*OF_PERTURBED, *(f"{figure}.{change}" for change in CHANGES for figure in OF_CHANGES)]
    names += [f"accuracy.{name}" for name in cases.categories]
    for benchmark in BENCHMARKS:
        rows = cases.benchmarks.get(benchmark.name, [])
        perfect = [ScoredCase(row.id, row.subset, [1.0] * len(row.right), [0.0] * len(row.wrong)) for row in rows]
        names += [_benchmark_name(benchmark.name, name) for name in (benchmark.figures(perfect) if rows else ())]
    return names


def _of_accuracy(result: RewardExamination, row: ScorerAccuracy) -> Named:
    overall = row.overall
    yield from (("accuracy", overall.value), ("accuracy_low", overall.low), ("accuracy_high", overall.high))
    baselines = [one.overall.value for one in result.accuracy if one.kind == "baseline"]
    best = max((value for value in baselines if value is not None), default=None)
    yield "margin_over_length", _gap(overall.value, best)
    if result.person is not None and row.name in result.person.models:
        yield "margin_over_person", _gap(result.person.models[row.name].value, result.person.person.value)
    for category in row.categories:
        yield f"accuracy.{category.name}", category.accuracy.value


def _of_model(model: ModelExamination) -> Named:
    failed, scored = len(model.failed), model.scored or 0
    yield "failed_share", failed / (failed + scored) if failed + scored else None
    if model.ranks is not None:
        yield from (("tau", model.ranks.tau.value), ("spearman", model.ranks.spearman.value))
        yield from (("tau_pooled", model.ranks.tau_pooled), ("spearman_all", model.ranks.spearman_all))
    for name in ("ece", "ece_equal_mass", "nll", "brier"):
        yield name, getattr(model.probabilities, name)
    if model.lengths:
        length = model.lengths[0]
        yield from (("length_pearson", length.pearson), ("length_spearman", length.spearman))
        yield "prefers_longer", length.prefers_longer
        yield from (("accuracy_shorter", length.shorter.value), ("accuracy_longer", length.longer.value))
    yield "order_difference", model.order.difference
    if model.prompts is not None:
        yield "own_prompt", model.prompts.own.value
    for row in model.robustness:
        for figure in OF_CHANGES:
            yield f"{figure}.{row.change}", getattr(row, figure)
    for one in model.benchmarks:
        for name, value in one.figures.items():
            yield _benchmark_name(one.name, name), value


def _benchmark_name(benchmark: str, figure: str) -> str:
    return f"{benchmark}.{figure}" if figure else benchmark


def _gap(value: float | None, other: float | None) -> float | None:
    return None if value is None or other is None else value - other
