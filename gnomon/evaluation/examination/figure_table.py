"""The table of figures with a column for each reward, and remarks; texts are keys of the translations."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from gnomon.core.storage.result_model import Interval
from gnomon.evaluation.examination.results import (
    Accuracy,
    LengthFigures,
    ModelExamination,
    RankFigures,
    RewardExamination,
)

DASH = "—"
Row = tuple[str, list[str]]  # key of the label, a cell for each reward
Remark = tuple[str, dict[str, Any]]  # key of the text, its values


def figure_rows(result: RewardExamination) -> list[Row]:
    """Return the rows of figures that at least one reward has."""
    rows = [
        *_ranks(result.models),
        *_probabilities(result.models),
        *_lengths(result.models),
        *_rest(result.models),
    ]
    return [(f"examined.{key}", cells) for key, cells in rows if any(cell != DASH for cell in cells)]


def _ranks(models: Sequence[ModelExamination]) -> Iterator[Row]:
    ranks = [model.ranks or RankFigures() for model in models]
    yield "tau", [_with_bounds(one.tau) for one in ranks]
    yield "tau_pooled", [plain(one.tau_pooled) for one in ranks]
    yield "spearman", [_with_bounds(one.spearman) for one in ranks]
    yield "spearman_all", [plain(one.spearman_all) for one in ranks]


def _probabilities(models: Sequence[ModelExamination]) -> Iterator[Row]:
    for name in ("ece", "ece_equal_mass", "nll", "brier"):
        yield name, [plain(getattr(model.probabilities, name)) for model in models]
    scores = [model.distributions for model in models]
    yield "preferred_mean", [plain(one.preferred.mean) for one in scores]
    yield "other_mean", [plain(one.other.mean) for one in scores]
    yield "margin_mean", [plain(one.margin.mean) for one in scores]
    yield "margin_sd", [plain(one.margin.sd) for one in scores]


def _lengths(models: Sequence[ModelExamination]) -> Iterator[Row]:
    for unit in ("characters", "tokens"):
        lengths = [next((one for one in m.lengths if one.unit == unit), LengthFigures()) for m in models]
        yield f"pearson_{unit}", [plain(one.pearson) for one in lengths]
        yield f"spearman_{unit}", [plain(one.spearman) for one in lengths]
        if unit == "characters":
            yield "prefers_longer", [share(one.prefers_longer) for one in lengths]
            yield "people_prefer_longer", [share(one.people_prefer_longer) for one in lengths]
            yield "shorter", [_of_pairs(one.shorter) for one in lengths]
            yield "longer", [_of_pairs(one.longer) for one in lengths]


def _rest(models: Sequence[ModelExamination]) -> Iterator[Row]:
    orders = [model.order.difference for model in models]
    yield "order", [DASH if one is None else f"{one:.1e}" for one in orders]
    own = [model.prompts.own if model.prompts else Accuracy() for model in models]
    yield "own_prompt", [share(one.value) for one in own]
    yield "same_prompt", [DASH if not one.pairs else share((one.equal or 0) / one.pairs) for one in own]


def remarks(result: RewardExamination) -> list[Remark]:
    """Return what a reader must know of the figures: undefined ones, unstable scores, texts without a score."""
    lines: list[Remark] = []
    if result.without_prompt:
        lines.append(("examined.without_prompt", {"count": number(result.without_prompt)}))
    for model in result.models:
        name = {"name": model.name}
        if model.probabilities.calibration:
            lines.append(("examined.calibrated", {**name, "method": model.probabilities.calibration}))
        if model.probabilities.one_outcome:
            lines.append((f"examined.all_{model.probabilities.one_outcome}", name))
        if model.order.stable is False:
            lines.append(("examined.unstable", name))
        if model.prompts is not None and model.prompts.own.equal == model.prompts.own.pairs:
            lines.append(("examined.ignores_prompt", name))
        if model.failed:
            total = len(model.failed) + int(model.scored or 0)
            counts = {"failed": number(len(model.failed)), "total": number(total)}
            lines.append(("examined.failed", {**name, **counts}))
        if model.failed_changed:
            lines.append(("examined.failed_changed", {**name, "count": number(model.failed_changed)}))
    return lines


def plain(value: float | None) -> str:
    """Format a number with three decimals."""
    return DASH if value is None else f"{value:.3f}".replace("-", "−")


def share(value: float | None) -> str:
    """Format a share as a percentage."""
    return DASH if value is None else f"{100 * value:.1f}%"


def number(value: float | None) -> str:
    """Format a count."""
    return DASH if value is None else f"{value:,.0f}"


def signed(value: float | None) -> str:
    """Format a difference of shares in percentage points with its sign."""
    return DASH if value is None else f"{100 * value:+.1f}%".replace("-", "−")


def bounds(low: float | None, high: float | None) -> str:
    """Format an interval of shares."""
    return DASH if low is None else f"[{share(low)}, {share(high)}]"


def offset(value: float | None) -> str:
    """Format a shift with its sign; one that rounds to 0 has none."""
    if value is None:
        return DASH
    return f"{value:+.2f}".replace("-", "−") if abs(value) >= 0.005 else "0.00"


def _with_bounds(estimate: Interval) -> str:
    if estimate.low is None:
        return plain(estimate.value)
    return f"{plain(estimate.value)} [{plain(estimate.low)}, {plain(estimate.high)}]"


def _of_pairs(accuracy: Accuracy) -> str:
    return f"{share(accuracy.value)} / {number(accuracy.pairs)}" if accuracy.pairs else DASH
