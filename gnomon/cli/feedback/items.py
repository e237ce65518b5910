"""`gnomon feedback import`, `select-prompts` and `gold`: what is judged."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from gnomon.cli.data import LAYOUT, layout_of
from gnomon.cli.feedback.arguments import Mix, ProjectId, Url, app, counted, shares_of
from gnomon.cli.number_options import number
from gnomon.cli.option_groups import option_group
from gnomon.core import ranges


@app.command("import")
@option_group("layout", LAYOUT, layout_of)
def import_(
    store: Url,
    file: Annotated[
        str, typer.Argument(help="Rows with a prompt and completions, or chosen and rejected; or prompts.")
    ],
    layout: dict[str, Any],
    project: ProjectId = None,
    prompts: Annotated[
        bool, typer.Option("--prompts", help="Add prompts to the prompt bank, without items to judge.")
    ] = False,
    ratings: Annotated[
        bool, typer.Option("--ratings", help="The rows are ratings: a text, a rater, a rating.")
    ] = False,
    judgements: Annotated[
        bool,
        typer.Option(
            "--judgements", help="The rows are people's choices or rankings: an export of another tool."
        ),
    ] = False,
    prompt: Annotated[str | None, typer.Option(help="Prompt for judged texts that have none.")] = None,
    scale: Annotated[
        str | None, typer.Option(help="Range of the ratings: LOW,HIGH.", show_default="1,10")
    ] = None,
) -> None:
    """Import prompts with completions, prompts alone, ratings or judgements; existing rows are skipped.

    Where annotators write the answers, each row is a prompt.

    The columns category, tags, value, edge, language, domain and skills are stored with the prompt. Instead of
    a file of ratings, give film-reviews, product-reviews, editorials or tweets to download a published set.

    [bold]Examples[/bold]

      gnomon feedback import feedback.db answers.jsonl --project tone

      gnomon feedback import feedback.db film-reviews --project films --ratings

      gnomon feedback import feedback.db label-studio.json --project old --judgements
    """
    from gnomon.api.feedback.projects import feedback_import, feedback_import_judgements, feedback_import_ratings
    from gnomon.core.errors import ConfigError

    if prompts + ratings + judgements > 1:
        raise ConfigError("--prompts, --ratings and --judgements exclude each other; give one of them.")
    if scale is not None and not ratings:
        raise ConfigError("--scale applies only with --ratings; remove it, or add --ratings.")
    if ratings:
        bounds = bounds_of(scale) if scale else None
        counts = feedback_import_ratings(store, project, file, prompt=prompt, scale=bounds, **layout)
        typer.echo(f"{counted(counts.added, 'judgements')} added, {counts.known} there already")
        return
    if judgements:
        if layout["columns"]:
            raise ConfigError("--columns does not apply with --judgements; give a file in a known format.")
        counts = feedback_import_judgements(store, project, file, prompt=prompt, format=layout["format"])
        typer.echo(f"{counted(counts.added, 'judgements')} added, {counts.known} there already")
        return
    if prompt is not None or layout["format"] or layout["columns"]:
        raise ConfigError(
            "--prompt, --format and --columns apply only with --ratings or --judgements; remove them, or add one."
        )
    counts = feedback_import(store, project, file, bare=prompts)
    typer.echo(f"{counts.added} {'prompts' if prompts else 'items'} added, {counts.known} there already")


def bounds_of(scale: str) -> tuple[float, float]:
    """The two numbers of `LOW,HIGH`."""
    from gnomon.core.errors import ConfigError

    try:
        low, high = (float(part) for part in scale.split(","))
    except ValueError:
        raise ConfigError(f"the scale is '{scale}'; give two numbers, as in --scale 0,5.") from None
    if not low < high:
        raise ConfigError(f"the scale {scale} is not increasing; give LOW,HIGH.")
    return low, high


@app.command("select-prompts")
def select_prompts(
    store: Url,
    count: Annotated[int, number(ranges.Count, "Number of prompts.")],
    out: Annotated[Path, typer.Option(help="JSON-lines file to write.")],
    project: ProjectId = None,
    mix: Mix = None,
    seed: Annotated[int, number(ranges.Seed, "Random seed.")] = 0,
) -> None:
    """Select the next prompts to annotate: by value, coverage, edge cases and at random.

    [bold]Example[/bold]

      gnomon feedback select-prompts feedback.db --count 50 --out next.jsonl
    """
    from gnomon.api.feedback.projects import feedback_select_prompts
    from gnomon.cli.out_file import check_out
    from gnomon.core.storage.files import write_jsonl
    from gnomon.data.record_rows import prompt_row
    from gnomon.feedback.store.database import sqlite_file

    shares = shares_of(mix)
    check_out(out, [sqlite_file(store)])
    selected, coverage = feedback_select_prompts(store, project, count, shares, seed=seed)
    rows = (
        {
            "prompt": prompt_row(one.prompt.prompt),
            "category": one.prompt.category,
            "tags": list(one.prompt.tags),
            "value": one.prompt.value,
            "edge": one.prompt.edge,
            "picked_as": one.part,
        }
        for one in selected
    )
    typer.echo(f"{write_jsonl(out, rows)} prompts in {out}")
    for row in coverage:
        new = sum(one.prompt.category == row.category for one in selected)
        name = row.category or "(no category)"
        typer.echo(f"{name}: {row.prompts} prompts, {row.items} items ({row.share:.0%}), {new} selected")


@app.command()
def gold(
    store: Url,
    file: Annotated[Path, typer.Argument(help="Rows with a prompt, chosen and rejected.")],
    project: ProjectId = None,
) -> None:
    """Add gold items: known answers that test annotators unnoticed; existing items become gold.

    [bold]Example[/bold]

      gnomon feedback gold feedback.db known.jsonl --project tone
    """
    from gnomon.api.feedback.projects import feedback_gold

    counts = feedback_gold(store, project, file)
    typer.echo(f"{counts.added} gold items added, {counts.known} existing items marked as gold")
