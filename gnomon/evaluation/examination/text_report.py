"""The examination on a terminal: tables; plain lines with tabs if output is piped."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from gnomon.core.translations import texts_in
from gnomon.evaluation.examination.figure_table import (
    DASH,
    bounds,
    figure_rows,
    number,
    offset,
    remarks,
    share,
    signed,
)
from gnomon.evaluation.examination.results import Accuracy, ModelExamination, RewardExamination

LISTED_FAILURES = 3  # of each reward that are printed

TextTable = tuple[str, Sequence[str], list[Sequence[str]]]  # title, header, rows


def show_examination(result: RewardExamination) -> None:
    """Print the examination on standard output."""
    console = Console(highlight=False)
    for title, header, rows in tables_of(result):
        if not console.is_terminal:
            print("\n".join(["", title, *("\t".join(row) for row in (header, *rows))]))
            continue
        table = Table(*header, title=Text(title), title_justify="left")
        for row in rows:
            table.add_row(*map(Text, row))  # a user's text is no markup
        console.print(table)
    for line in notes_of(result):
        console.print(line, markup=False, soft_wrap=True)


def tables_of(result: RewardExamination) -> list[TextTable]:
    """Return the tables of the report; those without rows are left out."""
    names = ("", *(model.name for model in result.models))
    figures: list[Sequence[str]] = [(text(key), *cells) for key, cells in figure_rows(result)]
    tables = [
        _accuracies(result),
        _categories(result),
        _differences(result),
        (text("examined.figures"), names, figures),
        *(_robustness(model) for model in result.models),
        (text("examined.benchmarks"), names, _benchmarks(result)),
    ]
    return [table for table in tables if table[2]]


def notes_of(result: RewardExamination) -> Iterator[str]:
    """Yield the remarks below the tables, and the first texts that failed."""
    yield from (text(key, **values) for key, values in remarks(result))
    for model in result.models:
        for failure in model.failed[:LISTED_FAILURES]:
            yield f"  {model.name}: {failure.where}: {failure.reason}"


def text(key: str, **values: object) -> str:
    """Return an English text of the reports."""
    return str(texts_in("en")["reports"][key]).format(**values)


def _accuracies(result: RewardExamination) -> TextTable:
    rows = [_accuracy_row(_label(row.name, row.kind), row.overall) for row in result.accuracy]
    if result.person is not None:
        rows.append(_accuracy_row(text("examined.one_person"), result.person.person))
        for name, one in result.person.models.items():
            rows.append(_accuracy_row(text("examined.same_others", name=name), one))
    keys = ("right", "interval", "pairs", "equal", "excluded")
    header = ("", *(text(f"examined.{key}") for key in keys))
    prompts = number(result.prompts)
    return text("examined.accuracy_of", decided=number(result.decided), prompts=prompts), header, rows


def _accuracy_row(label: str, one: Accuracy) -> Sequence[str]:
    return (
        label,
        share(one.value),
        bounds(one.low, one.high),
        number(one.pairs),
        number(one.equal),
        number(one.excluded),
    )


def _label(name: str, kind: str) -> str:
    return text(f"examined.{name.replace(' ', '_')}") if kind == "baseline" else name


def _categories(result: RewardExamination) -> TextTable:
    rows: list[Sequence[str]] = []
    for index, category in enumerate(result.accuracy[0].categories if result.accuracy else []):
        cells = [share(row.categories[index].accuracy.value) for row in result.accuracy]
        flag = f" ({text('examined.few')})" if category.few else ""
        rows.append((f"{category.name}{flag}", number(category.accuracy.pairs), *cells))
    names = [_label(row.name, row.kind) for row in result.accuracy]
    title = text("examined.categories", column=result.category or "category")
    return title, ("", text("examined.pairs"), *names), rows


def _differences(result: RewardExamination) -> TextTable:
    rows: list[Sequence[str]] = [
        (
            f"{one.model} − {one.against}",
            signed(one.value),
            DASH if one.low is None else f"[{signed(one.low)}, {signed(one.high)}]",
            DASH if one.p is None else f"{one.p:.3f}",
            number(one.pairs),
        )
        for one in result.differences
    ]
    header = ("", *(text(f"examined.{key}") for key in ("difference", "interval", "p", "pairs")))
    return text("examined.differences"), header, rows


def _robustness(model: ModelExamination) -> TextTable:
    rows: list[Sequence[str]] = [
        (
            text(f"examined.change_{row.change}"),
            share(row.flips),
            bounds(row.flips_low, row.flips_high),
            offset(row.shift),
            share(row.overtakes),
            number(row.pairs),
        )
        for row in model.robustness
    ]
    keys = ("change", "flips", "interval", "shift", "overtakes", "pairs")
    header = [text(f"examined.{key}") for key in keys]
    return text("examined.robustness_of", name=model.name), header, rows


def _benchmarks(result: RewardExamination) -> list[Sequence[str]]:
    return [
        (f"{benchmark}, {name}" if name else benchmark, *map(share, values))
        for benchmark, name, values in benchmark_rows(result)
    ]


def benchmark_rows(result: RewardExamination) -> list[tuple[str, str, list[float | None]]]:
    """Return each figure of each benchmark: their names, and the values of the rewards."""
    figures = [
        {(one.name, name): value for one in model.benchmarks for name, value in one.figures.items()}
        for model in result.models
    ]
    keys = dict.fromkeys(key for some in figures for key in some)
    return [(*key, [some.get(key) for some in figures]) for key in keys]
