"""The examination on a terminal: tables; plain lines with tabs if output is piped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from gnomon.data.reading.counting import counted
from gnomon.evaluation.examination.results import Accuracy, RewardExamination

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
    tables = [_accuracies(result), _categories(result), _differences(result)]
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
