"""`gnomon data`: look at data files, convert them, make pairs of them, clean them, render them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from gnomon.cli.filter_options import CLEAN_OPTIONS, filter_settings
from gnomon.cli.number_options import number
from gnomon.cli.option_groups import Options, option_group
from gnomon.core import ranges
from gnomon.core.ranges import Range
from gnomon.data.reading.counting import counted

JOBS = Range("it counts processes", ge=1, le=4096)
ROWS = Range("it counts records", ge=0, le=10**9)
SIMILARITY = Range("below 0.5 unrelated prompts of one domain are alike", ge=0.5, le=1)
app = typer.Typer(no_args_is_help=True, help="Inspect, convert, clean and split data; make pairs.")
File = Annotated[
    Path, typer.Argument(help="A file, a folder of datasets, a pattern in quotes, - or a hub name; #split.")
]

PAIRS = "gnomon.data.pairs.settings:PairSettings"
PAIR_OPTIONS: Options = {  # the fields of `PairSettings`
    "min_gap": (Annotated[float, number(f"{PAIRS}.min_gap", "Least difference of two mean ratings.")], 0.0),
    "ties": (Annotated[str, typer.Option(help="soft: a tie is a pair of probability 0.5; drop.")], "soft"),
    "standardize": (
        Annotated[bool, typer.Option("--standardize", help="Standardize each rater's ratings first.")],
        False,
    ),
    "closure": (
        Annotated[bool, typer.Option("--closure", help="Add a > c where a > b and b > c, if never compared.")],
        False,
    ),
    "closure_factor": (
        Annotated[float, number(f"{PAIRS}.closure_factor", "Margin and weight of such a pair, per step.")],
        0.5,
    ),
    "max_per_prompt": (
        Annotated[int, number(f"{PAIRS}.max_per_prompt", "Most pairs of a prompt; 0 for all.")],
        0,
    ),
    "balance_length": (
        Annotated[
            bool, typer.Option("--balance-length", help="Leave pairs out until length predicts no choice.")
        ],
        False,
    ),
    "seed": (Annotated[int, number(f"{PAIRS}.seed", "Of everything random.")], 0),
}

LAYOUT: Options = {  # how the rows of a file are laid out
    "format": (
        Annotated[str, typer.Option(help="The file's format, where it is ambiguous.", show_default="recognized")],
        "",
    ),
    "columns": (
        Annotated[
            list[str] | None,
            typer.Option(help="KEY=COLUMN, several times, or a YAML file: the columns of another layout."),
        ],
        None,
    ),
}


def layout_of(values: dict[str, Any]) -> dict[str, Any]:
    """The arguments `format` and `columns` of a call."""
    from gnomon.data.formats.columns import parse_columns

    columns = values["columns"]
    return {"format": values["format"], "columns": parse_columns(columns) if columns else None}


@app.command()
@option_group("layout", LAYOUT, layout_of)
def inspect(
    file: File,
    layout: dict[str, Any],
    model: Annotated[
        str | None, typer.Option(help="Count tokens and render rows with this model's tokenizer.")
    ] = None,
    rows: Annotated[int, number(ROWS, "Number of records to show.")] = 3,
    chat_template: Annotated[
        str | None, typer.Option(help="plain or a Jinja file, for a model without a chat template.")
    ] = None,
    as_json_object: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Inspect a data file: format with the reason, counts, lengths, problems with their rows, some records.

    [bold]Examples[/bold]

      gnomon data inspect preferences.jsonl

      gnomon data inspect my-dataset#train --model smollm2-135m --rows 5

      gnomon data inspect votes.csv --columns prompt=q --columns "chosen={by: vote, A: a, B: b}" \
--columns "rejected={by: vote, A: b, B: a}"
    """
    from gnomon.data.formats.registry import RowLayout
    from gnomon.data.inspection import inspect as read
    from gnomon.data.inspection.view import as_json, show

    tokenizer = None
    if model is not None:
        from gnomon.models.loading import load_tokenizer

        tokenizer = load_tokenizer(model, chat_template)
    result = read(file, tokenizer, RowLayout.of(layout["format"], layout["columns"]), records=rows)
    if as_json_object:
        typer.echo(json.dumps(as_json(result, tokenizer, rows), ensure_ascii=False, indent=2))
    else:
        show(result, tokenizer, rows)


@app.command()
@option_group("layout", LAYOUT, layout_of)
def convert(
    file: File,
    layout: dict[str, Any],
    to: Annotated[str, typer.Option(help="The format to write; gnomon is Gnomon's own.")],
    out: Annotated[
        Path, typer.Option("--out", "--output", help="The file to write: JSON lines, a list for label-studio.")
    ],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing file.")] = False,
) -> None:
    """Convert a data file to another format. Rows that are not used go to OUT.rejected.jsonl, with the reason.

    [bold]Examples[/bold]

      gnomon data convert hh.jsonl.gz --to gnomon --out pairs.jsonl

      gnomon data convert pairs.jsonl --to trl --out trl.jsonl

      gnomon data convert pairs.jsonl --to label-studio --out tasks.json
    """
    from gnomon.api.data import data_convert

    counts = data_convert(file, out, to=to, overwrite=overwrite, **layout)
    typer.echo(counts.sentence(out))


@app.command()
@option_group("layout", LAYOUT, layout_of)
@option_group("settings", PAIR_OPTIONS)
def pairs(
    file: File,
    layout: dict[str, Any],
    settings: dict[str, Any],
    out: Annotated[Path, typer.Option("--out", "--output", help="The file to write: JSON lines.")],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing file.")] = False,
    as_json_object: Annotated[bool, typer.Option("--json", help="Print the counts as JSON.")] = False,
) -> None:
    """Make preferences of ratings, rankings, labels or other preferences, without cycles.

    [bold]Examples[/bold]

      gnomon data pairs ratings.csv --out pairs.jsonl --min-gap 1 --standardize

      gnomon data pairs rankings.jsonl --out pairs.jsonl --max-per-prompt 6

      gnomon data pairs votes.jsonl --out pairs.jsonl --closure --ties drop --balance-length
    """
    from gnomon.api.data import data_pairs

    result = data_pairs(file, out, overwrite=overwrite, **layout, **settings)
    typer.echo(
        json.dumps(result.counts(), ensure_ascii=False, indent=2) if as_json_object else result.sentence(out)
    )


@app.command()
@option_group("filters", CLEAN_OPTIONS, filter_settings)
@option_group("layout", LAYOUT, layout_of)
def clean(
    file: File,
    layout: dict[str, Any],
    filters: dict[str, Any],
    out: Annotated[Path, typer.Option("--out", "--output", help="The file to write: JSON lines.")],
    model: Annotated[str | None, typer.Option(help="Count tokens with this model's tokenizer.")] = None,
    chat_template: Annotated[
        str | None, typer.Option(help="plain or a Jinja file, for a model without a chat template.")
    ] = None,
    jobs: Annotated[int | None, number(JOBS, "Worker processes; by default one for each core.")] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace existing files, and checked rows that differ.")
    ] = False,
) -> None:
    """Clean a data file. Each row goes into --out, or with the reason into rejected.jsonl beside it.

    Exact and near duplicates and pairs of equal sides are dropped; what other filters find is reported, in
    flagged.jsonl and in report.json. `gnomon data filters` lists all filters. A stopped command, run again, goes
    on where it was.

    [bold]Examples[/bold]

      gnomon data clean pairs.jsonl --out clean.jsonl

      gnomon data clean pairs.jsonl --out clean.jsonl --filter personal_data=mask --filter refusals=drop

      gnomon data clean pairs.jsonl --out clean.jsonl --held-out test.jsonl --filter duplicates=report

      gnomon data clean pairs.jsonl --out clean.jsonl --filter "judge={judge: vader, min_score: -0.5}"
    """
    from gnomon.api.data import data_clean

    report = data_clean(
        file,
        out,
        filters=filters,
        model=model or "",
        chat_template=chat_template,
        jobs=jobs,
        overwrite=overwrite,
        **layout,
    )
    typer.echo(report.as_text(), nl=False)


@app.command()
@option_group("layout", LAYOUT, layout_of)
def augment(
    file: File,
    layout: dict[str, Any],
    model: Annotated[str, typer.Option(help="The model that the reward models start from.")],
    kind: Annotated[
        list[str],
        typer.Option(
            help="other_prompts, chains, soft_labels, paraphrase, back_translation; NAME.SETTING=VALUE."
        ),
    ],
    out: Annotated[Path, typer.Option(help="The run folder.")] = Path("runs/augmented"),
    settings: Annotated[list[str] | None, typer.Argument(help="key=value: any setting by name.")] = None,
    as_json_object: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Make preferences of judged ones; each kind is kept if a reward model gains by it on held-out prompts.

    One reward model is trained without any, and one with each kind; the same command resumes. The preferences
    are then in OUT/augmented/preferences.jsonl, the whole recipe in OUT/config.yaml.

    [bold]Examples[/bold]

      gnomon data augment pairs.jsonl --model smollm2-135m --kind other_prompts --kind chains.factor=0.3

      gnomon data augment pairs.jsonl --model smollm2-135m --kind paraphrase.by=http://127.0.0.1:8080/v1#qwen \
keep=likely epochs=2
    """
    import json

    from gnomon.api.augmentation import data_augment
    from gnomon.core.errors import translate_interrupt
    from gnomon.data.augmentation.registry import parse_kinds
    from gnomon.pipeline.single_stage import parse_settings

    with translate_interrupt():
        given = {".".join(path): value for path, value in parse_settings(settings or [])}
        result = data_augment(file, out, model=model, kinds=parse_kinds(kind), **layout, **given)
        typer.echo(
            json.dumps(result, ensure_ascii=False, indent=2)
            if as_json_object
            else out / "augmented" / "preferences.jsonl"
        )


@app.command("filters")
def list_filters() -> None:
    """List the filters of `gnomon data clean`: action by default, settings, what each finds."""
    from gnomon.data.quality.registry import describe_filters

    typer.echo(describe_filters(), nl=False)


@app.command()
@option_group("layout", LAYOUT, layout_of)
def split(
    file: File,
    layout: dict[str, Any],
    out: Annotated[Path, typer.Option("--out", "--output", help="The folder of the parts.")],
    parts: Annotated[str, typer.Option(help="The share of each part.")] = "train=0.9,test=0.1",
    stratify: Annotated[str | None, typer.Option(help="A column with the same shares in each part.")] = None,
    similarity: Annotated[
        float, number(SIMILARITY, "From which on two prompts are near-duplicates; 1: only equal ones.")
    ] = 0.8,
    seed: Annotated[int, number(ranges.Seed, "Of the order of the prompts.")] = 0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace existing files.")] = False,
    as_json_object: Annotated[bool, typer.Option("--json", help="Print the counts as JSON.")] = False,
) -> None:
    """Split a data file by prompt; near-duplicates of a prompt are in one part.

    [bold]Examples[/bold]

      gnomon data split pairs.jsonl --out parts

      gnomon data split pairs.jsonl --out parts --parts train=0.8,valid=0.1,test=0.1 --stratify category
    """
    from gnomon.api.data import data_split

    result = data_split(
        file,
        out,
        parts=parts,
        seed=seed,
        stratify=stratify,
        similarity=similarity,
        overwrite=overwrite,
        **layout,
    )
    typer.echo(json.dumps(result.counts(), ensure_ascii=False, indent=2) if as_json_object else result.sentence())


@app.command()
@option_group("layout", LAYOUT, layout_of)
def render(
    file: File,
    layout: dict[str, Any],
    model: Annotated[str, typer.Option(help="The model whose tokenizer and chat template are used.")],
    rows: Annotated[int, number(ROWS, "Number of rows to show.")] = 3,
    html: Annotated[Path | None, typer.Option(help="Write a page to this file.")] = None,
    chat_template: Annotated[
        str | None, typer.Option(help="plain or a Jinja file, in place of the model's own template.")
    ] = None,
    language: Annotated[str, typer.Option(help="Initial language of the page: en or zh.")] = "en",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing page.")] = False,
    as_json_object: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show rows after the chat template: tokens that are trained, that end a turn, that are only read.

    [bold]Examples[/bold]

      gnomon data render pairs.jsonl --model smollm2-135m

      gnomon data render calls.jsonl --model smollm2-135m --rows 20 --html calls.html
    """
    from gnomon.api.data import data_render
    from gnomon.data.rendering.view import as_json, show

    result = data_render(
        file,
        model=model,
        rows=rows,
        html=html,
        chat_template=chat_template,
        language=language,
        overwrite=overwrite,
        **layout,
    )
    if as_json_object:
        typer.echo(json.dumps(as_json(result), ensure_ascii=False, indent=2))
    elif html is None:
        show(result)
    else:
        typer.echo(f"{counted(len(result.records), 'rows')} in {html}")
