"""`gnomon feedback`: collect judgements, from a question on a page to a file of preferences."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from gnomon.cli.number_options import number
from gnomon.core import ranges

SETUP = "gnomon.feedback.task_types:Setup"
LONGEST_GUIDELINES = 100_000  # characters, as on the page
VOTES = ranges.Range("it counts judgements of an item", ge=1, le=1000)
PORT = ranges.Range("ports of TCP are numbered so", ge=0, le=65535)
app = typer.Typer(no_args_is_help=True, help="Collect judgements of people, and make preferences of them.")
Url = Annotated[str, typer.Argument(help="A SQLite file, or postgresql://user@host/name.")]
LEFT_OUT = {  # what a manifest counts so
    "gold_items": "items with a known answer (gold)",
    "unjudged_items": "items that nobody judged",
    "weightless_items": "items of which nobody is relied on",
    "both_bad_items": "items of which both are bad",
    "both_bad_judgements": "judgements of “both bad”",
    "surplus_judgements": "judgements too late to count (surplus)",
    "withdrawn_judgements": "judgements of annotators who withdrew",
    "judgements_without": "judgements left out by --without",
}
NewProject = Annotated[str, typer.Option("--project", help="The project's id.")]
ProjectId = Annotated[
    str | None, typer.Option("--project", help="The project's id.", show_default="the only one")
]


@app.command()
def init(
    store: Url,
    project: NewProject,
    title: Annotated[str, typer.Option(help="What annotators read above each item.")],
    guidelines: Annotated[Path | None, typer.Option(help="A text file: how to judge.")] = None,
    wanted: Annotated[int, number(VOTES, "Judgements an item, by different people.")] = 3,
    most: Annotated[int | None, number(VOTES, "At most, where they disagree.")] = None,
    task: Annotated[str, typer.Option(help="pair, ranking, rating (1 to 10) or likert (1 to 5).")] = "pair",
    criteria: Annotated[str | None, typer.Option(help="What is scored, with commas between.")] = None,
    size: Annotated[
        int | None,
        number(SETUP + ".size", "Answers that are ranked at once."),
    ] = None,
    confidence: Annotated[bool, typer.Option("--confidence", help="Ask how sure they are.")] = False,
    rewrite: Annotated[bool, typer.Option("--rewrite", help="Let them edit an answer into a better.")] = False,
    shortest_reason: Annotated[
        int,
        number(
            SETUP + ".shortest_reason",
            "Characters that a reason should have.",
        ),
    ] = 0,
    gold_rate: Annotated[
        float | None,
        number(SETUP + ".gold_rate", "Share of questions whose answer is known.", show_default="0.1"),
    ] = None,
    floor: Annotated[
        float | None, number(SETUP + ".floor", "Reliability below which an annotator is paused.")
    ] = None,
    least_votes: Annotated[
        int | None, number(SETUP + ".least_votes", "Judgements before anybody is paused.", show_default="20")
    ] = None,
    split: Annotated[
        float | None, number(SETUP + ".split", "Share that the commonest answer must exceed.", show_default="0.5")
    ] = None,
    fastest: Annotated[
        float | None, number(SETUP + ".fastest", "Seconds below which no judgement is careful.")
    ] = None,
    slowest: Annotated[float | None, number(SETUP + ".slowest", "Seconds above which none is.")] = None,
    contact: Annotated[str | None, typer.Option(help="Whom somebody paused may ask.")] = None,
) -> None:
    """Make a project. The page /admin/setup changes its settings later.

    [bold]Examples[/bold]

      gnomon feedback init feedback.db --project tone --title "Which answer is kinder?" --wanted 3

      gnomon feedback init feedback.db --project care --title "How good is it?" --task rating --criteria kind,true
    """
    from gnomon.api.feedback import feedback_init
    from gnomon.core.boundary import read_text
    from gnomon.feedback.store.store import Project

    text = read_text(guidelines, LONGEST_GUIDELINES) if guidelines else ""
    asked = {
        "criteria": [name.strip() for name in criteria.replace("，", ",").split(",")] if criteria else None,
        "size": size,
        "confidence": confidence,
        "rewrite": rewrite,
        "shortest_reason": shortest_reason or None,
        "gold_rate": gold_rate,
        "floor": floor,
        "least_votes": least_votes,
        "split": split,
        "fastest": fastest,
        "slowest": slowest,
        "contact": contact,
    }
    settings = {
        name: value for name, value in asked.items() if value is not None and value is not False and value != ""
    }
    feedback_init(store, Project(project, title, task, wanted, max(wanted, most or wanted), text, settings))
    where, which = shlex.quote(store), shlex.quote(project)
    typer.echo(f"project {project} in {store}; next: gnomon feedback import {where} --project {which} FILE")


@app.command("import")
def import_(
    store: Url,
    file: Annotated[str, typer.Argument(help="Rows with a prompt and completions, or chosen and rejected.")],
    project: ProjectId = None,
    prompts: Annotated[bool, typer.Option("--prompts", help="The rows are prompts alone, for the bank.")] = False,
    ratings: Annotated[
        bool, typer.Option("--ratings", help="The rows are people's ratings: a text, a rater, a rating.")
    ] = False,
    prompt: Annotated[str | None, typer.Option(help="What rated texts answer that have no prompt.")] = None,
    scale: Annotated[str | None, typer.Option(help="Of ratings: LOW,HIGH.", show_default="1,10")] = None,
) -> None:
    """Add prompts with the answers to judge, prompts alone, or ratings; what is there is not added again.

    A row's category, tags, value and edge are kept with its prompt. Instead of a file of ratings, film-reviews,
    product-reviews, editorials and tweets name sets that are fetched.

    [bold]Examples[/bold]

      gnomon feedback import feedback.db answers.jsonl --project tone

      gnomon feedback import feedback.db film-reviews --project films --ratings
    """
    from gnomon.api.feedback import feedback_import, feedback_import_ratings
    from gnomon.core.errors import ConfigError

    if ratings:
        if prompts:
            raise ConfigError("the rows are prompts or ratings; give one of --prompts and --ratings.")
        bounds = bounds_of(scale) if scale else None
        found = feedback_import_ratings(store, project, file, prompt=prompt, scale=bounds)
        typer.echo(f"{found.added} judgements added, {found.known} there already")
        return
    if prompt is not None or scale is not None:
        raise ConfigError("--prompt and --scale are of ratings; leave them away, or add --ratings.")
    found = feedback_import(store, project, file, bare=prompts)
    typer.echo(f"{found.added} {'prompts' if prompts else 'items'} added, {found.known} there already")


@app.command()
def pick(
    store: Url,
    count: Annotated[int, number(ranges.Count, "How many prompts.")],
    out: Annotated[Path, typer.Option(help="A JSON-lines file for them.")],
    project: ProjectId = None,
    mix: Annotated[
        str | None,
        typer.Option(
            help="Shares that add up to 1.",
            show_default="high_value=0.4,under_covered=0.3,edge=0.2,random=0.1",
        ),
    ] = None,
    seed: Annotated[int, number(ranges.Seed, "Of what is left to chance.")] = 0,
) -> None:
    """Choose prompts of the bank to ask next: by value, coverage, edge cases and chance.

    [bold]Example[/bold]

      gnomon feedback pick feedback.db --count 50 --out next.jsonl
    """
    from gnomon.api.feedback import feedback_pick
    from gnomon.cli.out_file import check_out
    from gnomon.core.config import parse_override
    from gnomon.core.storage.files import write_jsonl
    from gnomon.feedback.export.row_schema import prompt_row
    from gnomon.feedback.store.database import sqlite_file

    shares = {".".join(path): value for path, value in map(parse_override, mix.split(","))} if mix else None
    check_out(out, [sqlite_file(store)])
    picked, covered = feedback_pick(store, project, count, shares, seed=seed)
    rows = (
        {
            "prompt": prompt_row(one.prompt.prompt),
            "category": one.prompt.category,
            "tags": list(one.prompt.tags),
            "value": one.prompt.value,
            "edge": one.prompt.edge,
            "picked_as": one.part,
        }
        for one in picked
    )
    typer.echo(f"{write_jsonl(out, rows)} prompts in {out}")
    for row in covered:
        new = sum(one.prompt.category == row.category for one in picked)
        name = row.category or "(no category)"
        typer.echo(f"{name}: {row.prompts} prompts, asked {row.asked} times ({row.share:.0%}), {new} picked")


def bounds_of(scale: str) -> tuple[float, float]:
    """The two numbers of `LOW,HIGH`."""
    from gnomon.core.errors import ConfigError

    try:
        low, high = (float(part) for part in scale.split(","))
    except ValueError:
        raise ConfigError(f"the scale is '{scale}'; give two numbers, as in --scale 0,5.") from None
    if not low < high:
        raise ConfigError(f"the scale {scale} does not rise; give LOW,HIGH.")
    return low, high


@app.command()
def serve(
    store: Annotated[str, typer.Argument(help="A SQLite file, or postgresql://user@host/name.")] = "feedback.db",
    project: ProjectId = None,
    host: Annotated[str, typer.Option(help="Where to listen; 0.0.0.0 lets other machines in.")] = "127.0.0.1",
    port: Annotated[int, number(PORT, "0 takes a free one.")] = 8000,
    demo: Annotated[bool, typer.Option("--demo", help="A ready project with pairs of film reviews.")] = False,
    https: Annotated[bool, typer.Option("--https", help="Browsers come by a proxy with TLS.")] = False,
) -> None:
    """Serve the pages where people judge. The administrator's link is printed when the project is first served.

    [bold]Examples[/bold]

      gnomon feedback serve --demo --port 8000

      gnomon feedback serve feedback.db --project tone
    """
    from gnomon.api.feedback_server import feedback_serve

    feedback_serve(store, project, host=host, port=port, demo=demo, https=https)


@app.command()
def status(store: Url, project: ProjectId = None) -> None:
    """Say how far a project is, and who judged how much.

    [bold]Example[/bold]

      gnomon feedback status feedback.db
    """
    from gnomon.api.feedback import feedback_status

    progress, people = feedback_status(store, project)
    for name, count in progress.items():
        typer.echo(f"{name}: {count}")
    for who in people:
        gold = f", and {who['gold']} of gold questions" if who["gold"] else ""
        kind = "" if who["kind"] == "person" else f"{who['kind']}, "
        typer.echo(f"{who['name']} ({kind}{who['state']}, id {who['id']}): {who['judgements']}{gold}")


@app.command()
def gold(
    store: Url,
    file: Annotated[Path, typer.Argument(help="Rows with a prompt, chosen and rejected.")],
    project: ProjectId = None,
) -> None:
    """Add questions whose answer is known, which test annotators unseen; items that are there become such.

    [bold]Example[/bold]

      gnomon feedback gold feedback.db known.jsonl --project tone
    """
    from gnomon.api.feedback import feedback_gold

    found = feedback_gold(store, project, file)
    typer.echo(f"{found.added} gold questions added, {found.known} items that were there made gold")


@app.command()
def agreement(
    store: Url,
    project: ProjectId = None,
    as_json: Annotated[bool, typer.Option("--json", help="All figures, for programs.")] = False,
) -> None:
    """Say how far annotators agree, by category and pair too, and how far each can be relied on.

    [bold]Example[/bold]

      gnomon feedback agreement feedback.db
    """
    import json

    from gnomon.api.feedback import feedback_agreement
    from gnomon.core.storage.files import to_json
    from gnomon.web.agreement_tables import tell

    found = feedback_agreement(store, project)
    if as_json:
        typer.echo(json.dumps(to_json(found.to_json()), ensure_ascii=False, indent=2))
    else:
        tell(found)


@app.command()
def export(
    store: Url,
    out: Annotated[Path, typer.Option(help="A folder for the rows and manifest.json.")],
    project: ProjectId = None,
    by: Annotated[
        str, typer.Option(help="How voices are combined: majority, reliability, dawid_skene or bradley_terry.")
    ] = "majority",
    kinds: Annotated[
        list[str] | None,
        typer.Option("--as", help="Only preferences, rankings or demonstrations; may be said again."),
    ] = None,
    format: Annotated[str, typer.Option("--format", help="jsonl, parquet or datasets.")] = "jsonl",
    without: Annotated[
        list[str] | None, typer.Option(help="An annotator's id, whose judgements are left out; repeatable.")
    ] = None,
    criterion: Annotated[str | None, typer.Option(help="Of scores, instead of their mean.")] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace files of the same names; leave all others alone.")
    ] = False,
) -> None:
    """Make preferences, rankings and demonstrations of all judgements, with a manifest of what is in them.

    [bold]Examples[/bold]

      gnomon feedback export feedback.db --project tone --out data/tone

      gnomon feedback export feedback.db --out data/tone --by reliability --format parquet --without 3f1c

    A folder that holds anything else than an earlier export is refused, unless you add --overwrite.
    """
    from gnomon.api.feedback import feedback_export
    from gnomon.feedback.export.exporter import Wanted

    wanted = Wanted(by, tuple(kinds or ()), criterion, tuple(without or ()))
    made = feedback_export(store, project, out, wanted, format, overwrite=overwrite)
    rows = ", ".join(_counted(n, kind) for kind, n in made["rows"].items() if n and kind != "judgements")
    voices, people = _counted(made["judgements"], "judgements"), _counted(len(made["annotators"]), "annotators")
    said = f"{rows or 'nothing'} from {voices} of {people}"
    typer.echo(f"{said} in {out} (digest {made['digest'][:12]})")
    for why, n in made["left_out"].items():
        if n:
            typer.echo(f"left out: {_counted(n, LEFT_OUT[why])}")
    if made["minority_views"]:
        typer.echo(f"minority views: {len(made['minority_views'])}, in {out / 'manifest.json'}")


def _counted(n: int, things: str) -> str:
    """So many things, or one; the first word names them, in the plural."""
    noun, blank, rest = things.partition(" ")
    return f"{n} {noun if n != 1 else noun.removesuffix('s')}{blank}{rest}"


@app.command()
def link(
    store: Url,
    project: ProjectId = None,
    name: Annotated[str | None, typer.Option(help="Whose link it is: somebody new.")] = None,
    annotator: Annotated[
        str | None, typer.Option(help="The id of somebody known; their links of before end.")
    ] = None,
    admin: Annotated[bool, typer.Option("--admin", help="Who may administer the project too.")] = False,
    reviewer: Annotated[bool, typer.Option("--reviewer", help="Who may decide disputed items too.")] = False,
) -> None:
    """Make a personal link for somebody; it is shown this once.

    [bold]Example[/bold]

      gnomon feedback link feedback.db --project tone --name Ann
    """
    from gnomon.api.feedback import Role, feedback_link, feedback_link_again
    from gnomon.core.errors import ConfigError

    if (name is None) == (annotator is None):
        raise ConfigError("say whose link it is: --name for somebody new, or --annotator for somebody known.")
    if annotator is not None:
        if admin or reviewer:
            raise ConfigError("a known annotator keeps their role; leave --admin and --reviewer away.")
        typer.echo(feedback_link_again(store, project, annotator))
        return
    assert name is not None
    role: Role = "admin" if admin else "reviewer" if reviewer else "annotator"
    typer.echo(feedback_link(store, project, name, role))


@app.command()
def annotator(
    store: Url,
    id: Annotated[str, typer.Argument(help="Of the annotator; gnomon feedback status lists them.")],
    state: Annotated[str, typer.Argument(help="active, paused, or withdrawn.")],
) -> None:
    """Pause an annotator, let them go on, or withdraw them with their links and all that they said.

    [bold]Example[/bold]

      gnomon feedback annotator feedback.db 3f1c withdrawn
    """
    from gnomon.api.feedback import feedback_annotator
    from gnomon.core.errors import ConfigError

    if state not in ("active", "paused", "withdrawn"):
        raise ConfigError(f"the state is '{state}'; give active, paused or withdrawn.")
    feedback_annotator(store, id, state)  # type: ignore[arg-type]  # checked above
    typer.echo(f"{id} is {state}")
