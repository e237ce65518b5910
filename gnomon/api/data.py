"""Python calls for data files: inspect, convert, make pairs, clean, split, render."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gnomon.api.recipes import Name
from gnomon.core.config import validate
from gnomon.core.errors import ConfigError, DataError
from gnomon.core.storage.files import write_jsonl
from gnomon.core.translations import LANGUAGES
from gnomon.data.conversion import Conversion, convert_file
from gnomon.data.formats.registry import RowLayout
from gnomon.data.inspection import Inspection, inspect as read_file
from gnomon.data.output_file import check_output
from gnomon.data.pairs.build import PairResult, make_pairs
from gnomon.data.pairs.settings import PairSettings
from gnomon.data.quality.clean import clean_file
from gnomon.data.quality.report import CleanReport
from gnomon.data.record_kinds import recognize_kind
from gnomon.data.record_rows import record_row
from gnomon.data.records import read_records
from gnomon.data.rendering.pieces import RenderedFile, render_file
from gnomon.data.splitting.by_prompt import SIMILARITY, Split, column_values, parse_shares, split_by_prompt


def inspect(file: Name, *, format: str = "", columns: Mapping[str, Any] | None = None) -> Inspection:
    """Inspect a data file: its record type, valid records, and rejected rows with reasons.

    Args:
        file: path of the file.
        format: name of its format, where that is not recognized or ambiguous.
        columns: mapping of its columns, for another layout: `{"prompt": "question", …}`.

    Raises:
        DataError: the file cannot be read, is empty, or has no valid record of any type.
    """
    return read_file(Path(file), layout=RowLayout.of(format, columns))


def data_convert(
    file: Name,
    out: Name,
    *,
    to: str,
    format: str = "",
    columns: Mapping[str, Any] | None = None,
    overwrite: bool = False,
) -> Conversion:
    """Convert a data file to another format; rows that are not used are written to OUT.rejected.jsonl.

    Args:
        file: path of the file.
        out: the file to write, JSON lines.
        to: name of the format to write, such as `trl`; `gnomon` for Gnomon's own.
        format: name of the file's format, where that is not recognized or ambiguous.
        columns: mapping of its columns, for another layout.
        overwrite: whether to replace existing files.

    Raises:
        ConfigError: a format is unknown, or `out` exists.
        DataError: the file cannot be read, or no row can be written.
    """
    return convert_file(Path(file), Path(out), to, RowLayout.of(format, columns), overwrite=overwrite)


def data_pairs(
    file: Name,
    out: Name,
    *,
    format: str = "",
    columns: Mapping[str, Any] | None = None,
    overwrite: bool = False,
    **settings: Any,
) -> PairResult:
    """Make preferences of ratings, rankings, labels or other preferences, and write them.

    Args:
        file: path of the file.
        out: the file to write, JSON lines in Gnomon's own layout.
        format: name of the file's format, where that is not recognized or ambiguous.
        columns: mapping of its columns, for another layout.
        overwrite: whether to replace an existing file.
        settings: of `gnomon.data.pairs.settings.PairSettings`.

    Raises:
        ConfigError: a setting is wrong, or `out` exists.
        DataError: the file cannot be read, or no pair can be made of it.
    """
    chosen = validate(PairSettings, settings, "pairs")
    path, target = Path(file), Path(out)
    check_output(target, path, overwrite=overwrite)
    recognition = recognize_kind(path, layout=RowLayout.of(format, columns))
    result = make_pairs(read_records(recognition.kind, path, layout=recognition.layout), chosen)
    if not result.preferences:
        raise DataError(f"{path}: no pair can be made of it; {result.reasons() or 'nothing is compared in it'}.")
    write_jsonl(target, map(record_row, result.preferences))
    return result


def data_clean(
    file: Name,
    out: Name,
    *,
    filters: Mapping[str, Any] | None = None,
    model: str = "",
    chat_template: str | None = None,
    format: str = "",
    columns: Mapping[str, Any] | None = None,
    jobs: int | None = None,
    overwrite: bool = False,
) -> CleanReport:
    """Clean a data file: every row is written to `out`, or with its reason to `rejected.jsonl` beside it.

    Args:
        file: path of the file.
        out: the cleaned file, JSON lines in Gnomon's own layout; the other files are beside it.
        filters: name of a filter → `off`, `report`, `drop` or `mask`, or a mapping of its settings:
            `{"near_duplicates": {"similarity": 0.9}, "personal_data": "mask"}`.
        model: model whose tokenizer counts tokens.
        chat_template: `plain` or a Jinja file, for a model without a chat template.
        format: name of the file's format, where that is not recognized or ambiguous.
        columns: mapping of its columns, for another layout.
        jobs: number of worker processes; `None`: one for each core, and none for a small file.
        overwrite: whether to replace existing files.

    Raises:
        ConfigError: a setting is wrong, or a file exists.
        DataError: the file cannot be read, or no row is left.
    """
    from gnomon.api.score import reward_named
    from gnomon.stages.common.filter_tools import load_filter_tools

    settings = dict(filters or {})
    tokenizer = None
    if model:
        from gnomon.models.loading import load_tokenizer

        tokenizer = load_tokenizer(model, chat_template)
    return clean_file(
        Path(file),
        Path(out),
        settings,
        tools=load_filter_tools(settings, reward_named, tokenizer),
        layout=RowLayout.of(format, columns),
        jobs=jobs,
        overwrite=overwrite,
    )


def data_split(
    file: Name,
    out: Name,
    *,
    parts: str | Mapping[str, float] = "train=0.9,test=0.1",
    seed: int = 0,
    stratify: str | None = None,
    similarity: float = SIMILARITY,
    format: str = "",
    columns: Mapping[str, Any] | None = None,
    overwrite: bool = False,
) -> Split:
    """Split a data file by prompt, near-duplicates together, and write each part to OUT/PART.jsonl.

    Args:
        file: path of the file.
        out: folder of the parts.
        parts: share of each part, such as `train=0.9,test=0.1`.
        seed: of the order in which prompts are assigned.
        stratify: a column whose values shall have the same shares in each part.
        similarity: Jaccard index of character 5-grams from which on two prompts are near-duplicates, in [0.5, 1].
        format: name of the file's format, where that is not recognized or ambiguous.
        columns: mapping of its columns, for another layout.
        overwrite: whether to replace existing files.

    Raises:
        ConfigError: an argument is wrong, or a file exists.
        DataError: the file cannot be read or has too few prompts.
    """
    shares = parse_shares(parts if isinstance(parts, str) else ",".join(f"{k}={v}" for k, v in parts.items()))
    path, folder = Path(file), Path(out)
    targets = {name: folder / f"{name}.jsonl" for name in shares}
    for target in targets.values():
        check_output(target, path, overwrite=overwrite)
    recognition = recognize_kind(path, layout=RowLayout.of(format, columns))
    records: list[Any] = read_records(recognition.kind, path, layout=recognition.layout)
    values = None if stratify is None else column_values(path, stratify, [record.where for record in records])
    result = split_by_prompt(records, shares, seed=seed, values=values, similarity=similarity)
    for name, target in targets.items():
        write_jsonl(target, map(record_row, result.parts[name]))
    return result


def data_render(
    file: Name,
    *,
    model: str,
    rows: int = 3,
    html: Name | None = None,
    chat_template: str | None = None,
    language: str = "en",
    format: str = "",
    columns: Mapping[str, Any] | None = None,
    overwrite: bool = False,
) -> RenderedFile:
    """Render the first rows of a data file with a model's chat template, as training reads them.

    Args:
        file: path of the file.
        model: the model whose tokenizer and chat template are used.
        rows: number of rows.
        html: a page to write; by default none.
        chat_template: `plain` or a Jinja file, in place of the model's own template.
        language: initial language of the page: `en` or `zh`.
        format: name of the file's format, where that is not recognized or ambiguous.
        columns: mapping of its columns, for another layout.
        overwrite: whether to replace an existing page.

    Raises:
        ConfigError: an argument is wrong, or the page exists.
        DataError: the file cannot be read.
    """
    from gnomon.models.loading import load_tokenizer
    from gnomon.reporting.rendering_page import write_page

    path, page = Path(file), None if html is None else Path(html)
    if language not in LANGUAGES:
        raise ConfigError(f"A page cannot be in {language!r}; choose one of {', '.join(LANGUAGES)}.")
    if page is not None and page.exists() and (not overwrite or page.samefile(path)):
        advice = "give another --html." if overwrite else "give another --html, or --overwrite."
        raise ConfigError(f"{page} exists; {advice}")
    tokenizer = load_tokenizer(model, chat_template)
    rendered = render_file(path, tokenizer, rows, RowLayout.of(format, columns))
    if page is not None:
        write_page(rendered, page, model, language)
    return rendered
