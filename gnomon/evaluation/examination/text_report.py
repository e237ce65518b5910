"""The examination on a terminal: tables; plain lines with tabs if output is piped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from gnomon.core.storage.result_model import Interval
from gnomon.data.reading.counting import counted
from gnomon.evaluation.examination.results import (
    Accuracy,
    LengthFigures,
    ModelExamination,
    OrderFigures,
    ProbabilityFigures,
    RankFigures,
    RewardExamination,
)

DASH = "—"
LISTED_FAILURES = 3  # of each reward that are printed

TextTable = tuple[str, Sequence[str], list[Sequence[str]]]  # title, header, rows


def show_examination(result: RewardExamination) -> None:
    """Print the examination on standard output."""
    console = Console(highlight=False)
    for title, header, rows in tables_of(result):
        if not console.is_terminal:
            lines = ["", title, *("\t".join(row) for row in (header, *rows))]
            print("\n".join(lines))
            continue
        table = Table(*header, title=Text(title), title_justify="left")
        for row in rows:
            table.add_row(*map(Text, row))  # a user's text is no markup
        console.print(table)
    for line in notes_of(result):
        console.print(line, markup=False, soft_wrap=True)


def tables_of(result: RewardExamination) -> list[TextTable]:
    """Return the tables of the report; those without rows are left out."""
    tables = [
        _accuracies(result),
        _categories(result),
        _differences(result),
        _figures(result),
        *(_robustness(model) for model in result.models),
        _benchmarks(result),
    ]
    return [table for table in tables if table[2]]


def notes_of(result: RewardExamination) -> Iterable[str]:
    """Return the remarks below the tables: rows that failed."""
    for model in result.models:
        if model.failed:
            total = len(model.failed) + int(model.scored or 0)
            failed = f"{len(model.failed)} of {counted(total, 'texts')}"
            yield f"{model.name}: {failed} have no score; their pairs do not count"
            for failure in model.failed[:LISTED_FAILURES]:
                yield f"  {failure.where}: {failure.reason}"


def _accuracies(result: RewardExamination) -> TextTable:
    rows: list[Sequence[str]] = [
        (row.name, share(row.overall.value), bounds(row.overall), number(row.overall.pairs), _equal(row.overall))
        for row in result.accuracy
    ]
    if result.person is not None:
        person = result.person.person
        rows.append(("one person, of the others", share(person.value), bounds(person), number(person.pairs), ""))
        for name, one in result.person.models.items():
            rows.append((f"{name}, of the same others", share(one.value), bounds(one), number(one.pairs), ""))
    prompts = counted(int(result.prompts or 0), "prompts")
    title = f"accuracy on pairs that people decided, {prompts}"
    return title, ("", "right", "95% interval", "pairs", "equal scores"), rows


def _categories(result: RewardExamination) -> TextTable:
    names = [row.name for row in result.accuracy]
    rows: list[Sequence[str]] = []
    for index, category in enumerate(result.accuracy[0].categories if result.accuracy else []):
        cells = [row.categories[index] for row in result.accuracy]
        flag = " (few)" if category.few else ""
        rows.append(
            (
                f"{category.name}{flag}",
                number(category.accuracy.pairs),
                *(share(one.accuracy.value) for one in cells),
            )
        )
    return f"accuracy by {result.category or 'category'}", ("", "pairs", *names), rows


def _differences(result: RewardExamination) -> TextTable:
    rows: list[Sequence[str]] = [
        (
            f"{one.model} − {one.against}",
            signed(one.value),
            f"{signed(one.low)} to {signed(one.high)}" if one.low is not None else DASH,
            DASH if one.p is None else f"{one.p:.3f}",
            number(one.pairs),
        )
        for one in result.differences
    ]
    return "differences of accuracy, paired by prompt", ("", "difference", "95% interval", "p", "pairs"), rows


def _figures(result: RewardExamination) -> TextTable:
    """One row a figure, one column a reward."""
    models = result.models
    rows: list[Sequence[str]] = []

    def add(label: str, cells: Sequence[str]) -> None:
        if any(cell != DASH for cell in cells):
            rows.append((label, *cells))

    ranks = [model.ranks or RankFigures() for model in models]
    add("Kendall's tau-b, mean over prompts", [_with_bounds(one.tau) for one in ranks])
    add("Kendall's tau-b, all pairs of a prompt", [plain(one.tau_pooled) for one in ranks])
    add("Spearman's rho, mean over prompts", [_with_bounds(one.spearman) for one in ranks])
    add("Spearman's rho, all rated texts", [plain(one.spearman_all) for one in ranks])
    probabilities = [model.probabilities for model in models]
    add("ECE, bins of equal width", [_or_outcome(one, one.ece) for one in probabilities])
    add("ECE, bins of equal mass", [_or_outcome(one, one.ece_equal_mass) for one in probabilities])
    add("NLL, nats", [plain(one.nll) for one in probabilities])
    add("Brier score", [plain(one.brier) for one in probabilities])
    distributions = [model.distributions for model in models]
    add("score of preferred texts, mean", [plain(one.preferred.mean) for one in distributions])
    add("score of other texts, mean", [plain(one.other.mean) for one in distributions])
    add("difference, mean", [plain(one.margin.mean) for one in distributions])
    add("difference, standard deviation", [plain(one.margin.sd) for one in distributions])
    for unit in ("characters", "tokens"):
        lengths = [next((one for one in m.lengths if one.unit == unit), LengthFigures()) for m in models]
        add(f"correlation with {unit}, Pearson", [plain(one.pearson) for one in lengths])
        add(f"correlation with {unit}, Spearman", [plain(one.spearman) for one in lengths])
        if unit == "characters":
            add("prefers the longer text", [share(one.prefers_longer) for one in lengths])
            add("  people do", [share(one.people_prefer_longer) for one in lengths])
            add("right where the shorter is preferred", [_of_pairs(one.shorter) for one in lengths])
            add("right where the longer is preferred", [_of_pairs(one.longer) for one in lengths])
    add("scores alone and in reverse order, difference", [_order(model.order) for model in models])
    own = [model.prompts.own if model.prompts else Accuracy() for model in models]
    add(
        "higher under its own prompt",
        [f"{share(o.value)}, equal {number(o.equal)}" if o.pairs else DASH for o in own],
    )
    return "figures", ("", *(model.name for model in models)), rows


def _robustness(model: ModelExamination) -> TextTable:
    rows: list[Sequence[str]] = [
        (
            row.change.replace("_", " "),
            share(row.flips),
            f"{share(row.flips_low)} to {share(row.flips_high)}" if row.flips_low is not None else DASH,
            DASH if row.shift is None else f"{row.shift:+.2f}".replace("-", "−"),
            share(row.overtakes),
            number(row.pairs),
        )
        for row in model.robustness
    ]
    header = ("change", "verdicts flip", "95% interval", "shift, sd", "worse one overtakes", "pairs")
    return f"robustness of {model.name}", header, rows


def _benchmarks(result: RewardExamination) -> TextTable:
    figures = [
        {(one.name, name): v for one in m.benchmarks for name, v in one.figures.items()} for m in result.models
    ]
    names = list(dict.fromkeys(name for some in figures for name in some))
    rows: list[Sequence[str]] = [
        (f"{benchmark}, {name}" if name else benchmark, *(share(some.get((benchmark, name))) for some in figures))
        for benchmark, name in names
    ]
    return "benchmarks", ("", *(model.name for model in result.models)), rows


def _with_bounds(estimate: Interval) -> str:
    if estimate.low is None:
        return plain(estimate.value)
    return f"{plain(estimate.value)} ({plain(estimate.low)} to {plain(estimate.high)})"


def _or_outcome(figures: ProbabilityFigures, value: float | None) -> str:
    return f"undefined: all pairs are {figures.one_outcome}" if figures.one_outcome else plain(value)


def _of_pairs(accuracy: Accuracy) -> str:
    return f"{share(accuracy.value)} of {number(accuracy.pairs)}" if accuracy.pairs else DASH


def _order(order: OrderFigures) -> str:
    if order.difference is None:
        return DASH
    return f"{order.difference:.1e}{'' if order.stable else ', unstable'}"


def plain(value: float | None) -> str:
    """Format a number with three decimals."""
    return DASH if value is None else f"{value:.3f}".replace("-", "−")


def share(value: float | None) -> str:
    """Format a share as a percentage."""
    return DASH if value is None else f"{100 * value:.1f}%"


def signed(value: float | None) -> str:
    """Format a difference of shares in percentage points with its sign."""
    return DASH if value is None else f"{100 * value:+.1f}%".replace("-", "−")


def number(value: float | None) -> str:
    """Format a count."""
    return DASH if value is None else f"{value:,.0f}"


def bounds(accuracy: Accuracy) -> str:
    """Format an interval of shares."""
    return DASH if accuracy.low is None else f"{share(accuracy.low)} to {share(accuracy.high)}"


def _equal(accuracy: Accuracy) -> str:
    return number(accuracy.equal)
