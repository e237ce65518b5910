"""`gnomon feedback`: collect human judgements and export them as training data."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated, Any

import typer

from gnomon.cli.data import LAYOUT, layout_of
from gnomon.cli.filter_options import EXPORT_OPTIONS, SELECTION_OPTIONS, filter_settings, selection_settings
from gnomon.cli.number_options import number
from gnomon.cli.option_groups import Options, option_group
from gnomon.core import ranges

SETUP = "gnomon.feedback.task_types:Setup"
LONGEST_GUIDELINES = 100_000  # characters, as on the page
VOTES = ranges.Range("it counts judgements of an item", ge=1, le=1000)
PORT = ranges.Range("it is a TCP port", ge=0, le=65535)
app = typer.Typer(no_args_is_help=True, help="Collect human judgements and export them as preferences.")
Url = Annotated[str, typer.Argument(help="A SQLite file, or postgresql://user@host/name.")]
LEFT_OUT = {  # keys of `left_out` in a manifest
    "gold_items": "gold items (known answer)",
    "unjudged_items": "items without judgements",
    "weightless_items": "items judged only by annotators of weight 0",
    "both_bad_items": "items where both are bad",
    "both_bad_judgements": "judgements of “both bad”",
    "surplus_judgements": "judgements that came too late to count (surplus)",
    "withdrawn_judgements": "judgements of withdrawn annotators",
    "judgements_without": "judgements excluded by --exclude-annotator",
    "judgements_below_confidence": "judgements below --min-confidence",
    "rejected_texts": "written answers that a review rejected",
    "rejected_items": "prompts of which a reviewer's decision rejects all written answers",
    "unmatched_reviews": "reviews of written answers that do not count",
    "unreviewed_texts": "written answers that wait for a review",
    "flagged_texts": "written answers in which a check found something",
    "replaced_texts": "written answers that a reviewer's decision replaces",
    "rows_of_another_layout": "rows that the format cannot hold, such as preferences with equal votes",
    "unresolved_items": "items that are not resolved",
    "tied_items": "items that are resolved as a tie",
    "even_preferences": "preferences with equal votes",
    "paused_judgements": "judgements of paused annotators",
}
NewProject = Annotated[str, typer.Option("--project", help="The project's id.")]
Mix = Annotated[
    str | None,
    typer.Option(
        help="Shares that add up to 1.",
        show_default="high_value=0.4,under_covered=0.3,edge=0.2,random=0.1",
    ),
]
ProjectId = Annotated[
    str | None, typer.Option("--project", help="The project's id.", show_default="the only one")
]


SETUP_OPTIONS: Options = {  # the fields of `Setup`
    "criteria": (Annotated[str | None, typer.Option(help="Criteria to score, separated by commas.")], None),
    "ranking_size": (
        Annotated[int | None, number(SETUP + ".ranking_size", "Completions per ranking.", show_default="4")],
        None,
    ),
    "confidence": (
        Annotated[bool, typer.Option("--confidence", help="Ask annotators how confident they are.")],
        False,
    ),
    "rewrite": (
        Annotated[bool, typer.Option("--rewrite", help="Let annotators edit a completion into a demonstration.")],
        False,
    ),
    "approval": (
        Annotated[
            bool, typer.Option("--approval", help="Have each written answer reviewed by a second annotator.")
        ],
        False,
    ),
    "min_answer_chars": (
        Annotated[
            int | None,
            number(
                SETUP + ".min_answer_chars",
                "Minimum length of a written answer, in characters.",
                show_default="1",
            ),
        ],
        None,
    ),
    "max_answer_chars": (
        Annotated[
            int | None,
            number(
                SETUP + ".max_answer_chars",
                "Maximum length of a written answer, in characters.",
                show_default="20000",
            ),
        ],
        None,
    ),
    "check_language": (
        Annotated[
            bool,
            typer.Option("--check-language", help="Warn of a written answer in another script than its prompt."),
        ],
        False,
    ),
    "min_reason_chars": (
        Annotated[int, number(SETUP + ".min_reason_chars", "Minimum length of a reason, in characters.")],
        0,
    ),
    "gold_rate": (
        Annotated[
            float | None,
            number(SETUP + ".gold_rate", "Share of gold items among the items shown.", show_default="0.1"),
        ],
        None,
    ),
    "min_reliability": (
        Annotated[
            float | None, number(SETUP + ".min_reliability", "Pause annotators whose reliability is lower.")
        ],
        None,
    ),
    "min_votes_before_pause": (
        Annotated[
            int | None,
            number(SETUP + ".min_votes_before_pause", "Judgements required before a pause.", show_default="20"),
        ],
        None,
    ),
    "consensus_threshold": (
        Annotated[
            float | None,
            number(
                SETUP + ".consensus_threshold",
                "Share of votes that the majority must exceed.",
                show_default="0.5",
            ),
        ],
        None,
    ),
    "min_seconds": (
        Annotated[float | None, number(SETUP + ".min_seconds", "Shorter judgements count as too fast.")],
        None,
    ),
    "max_seconds": (
        Annotated[float | None, number(SETUP + ".max_seconds", "Longer judgements count as too slow.")],
        None,
    ),
    "contact": (Annotated[str | None, typer.Option(help="Whom paused annotators should contact.")], None),
    "qualification_pass": (
        Annotated[
            float | None,
            number(
                SETUP + ".qualification_pass",
                "Share of the qualification to answer correctly.",
                show_default="0.8",
            ),
        ],
        None,
    ),
    "qualification_attempts": (
        Annotated[
            int | None,
            number(
                SETUP + ".qualification_attempts", "Number of attempts at the qualification.", show_default="2"
            ),
        ],
        None,
    ),
}


def _setup_settings(values: dict[str, Any]) -> dict[str, Any]:
    """The settings that differ from their defaults."""
    criteria = values["criteria"]
    names = [name.strip() for name in criteria.replace("，", ",").split(",")] if criteria else None
    settings = {**values, "criteria": names, "min_reason_chars": values["min_reason_chars"] or None}
    return {
        name: value
        for name, value in settings.items()
        if value is not None and value is not False and value != ""
    }


@app.command()
@option_group("settings", SETUP_OPTIONS, _setup_settings)
def init(
    store: Url,
    project: NewProject,
    title: Annotated[str, typer.Option(help="The question shown above each item.")],
    settings: dict[str, Any],
    guidelines: Annotated[Path | None, typer.Option(help="A text file with instructions for annotators.")] = None,
    votes_per_item: Annotated[
        int | None,
        number(
            VOTES,
            "Judgements per item, by different people.",
            show_default="3; 1 written answer of a demonstration",
        ),
    ] = None,
    max_votes: Annotated[
        int | None, number(VOTES, "Limit per item when annotators disagree, or a written answer is rejected.")
    ] = None,
    task: Annotated[
        str, typer.Option(help="pair, ranking, rating (1 to 10), likert (1 to 5) or demonstration (write it).")
    ] = "pair",
) -> None:
    """Create a project. Its settings can be changed later on the page /admin/setup.

    [bold]Examples[/bold]

      gnomon feedback init feedback.db --project tone --title "Which answer is kinder?" --votes-per-item 3

      gnomon feedback init feedback.db --project care --title "How good is it?" --task rating --criteria kind,true

      gnomon feedback init feedback.db --project help --title "Write the answer." --task demonstration --approval
    """
    from gnomon.api.feedback import feedback_init
    from gnomon.core.boundary import read_text
    from gnomon.feedback.store.store import Project

    text = read_text(guidelines, LONGEST_GUIDELINES) if guidelines else ""
    votes = votes_per_item or (1 if task == "demonstration" else 3)
    limit = max(votes, max_votes or votes)
    feedback_init(store, Project(project, title, task, votes, limit, text, settings))
    where, which = shlex.quote(store), shlex.quote(project)
    typer.echo(f"project {project} in {store}; next: gnomon feedback import {where} --project {which} FILE")


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
    from gnomon.api.feedback import feedback_import, feedback_import_judgements, feedback_import_ratings
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
    from gnomon.api.feedback import feedback_select_prompts
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


def shares_of(mix: str | None) -> dict[str, Any] | None:
    """The shares of `high_value=0.4,random=0.6`; `None` without any."""
    from gnomon.core.config import parse_override

    return {".".join(path): value for path, value in map(parse_override, mix.split(","))} if mix else None


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


@app.command()
def serve(
    store: Annotated[str, typer.Argument(help="A SQLite file, or postgresql://user@host/name.")] = "feedback.db",
    project: ProjectId = None,
    host: Annotated[
        str, typer.Option(help="Address to listen on; 0.0.0.0 accepts other machines.")
    ] = "127.0.0.1",
    port: Annotated[int, number(PORT, "Port; 0 takes a free one.")] = 8000,
    demo: Annotated[bool, typer.Option("--demo", help="Create a project with pairs of film reviews.")] = False,
    https: Annotated[bool, typer.Option("--https", help="Browsers connect through a TLS proxy.")] = False,
) -> None:
    """Serve the annotation pages. The administrator's link is printed when the project is first served.

    [bold]Examples[/bold]

      gnomon feedback serve --demo --port 8000

      gnomon feedback serve feedback.db --project tone
    """
    from gnomon.api.feedback_server import feedback_serve

    feedback_serve(store, project, host=host, port=port, demo=demo, https=https)


@app.command()
def status(store: Url, project: ProjectId = None) -> None:
    """Print a project's progress and each annotator's judgements.

    [bold]Example[/bold]

      gnomon feedback status feedback.db
    """
    from gnomon.api.feedback import feedback_status, feedback_written_counts
    from gnomon.api.feedback_crowd import feedback_crowd_links
    from gnomon.api.feedback_profiles import feedback_requirements

    progress, annotators = feedback_status(store, project)
    for name, count in progress.items():
        typer.echo(f"{name}: {count}")
    if (texts := feedback_written_counts(store, project)) is not None:
        typer.echo(written_text(texts))
    for row in annotators:
        gold = f", and {row['gold']} of gold items" if row["gold"] else ""
        kind = "" if row["kind"] == "person" else f"{row['kind']}, "
        profile = f"; {row['profile']}" if row["profile"] else ""
        more = f"{gold}{profile}{_qualification(row['qualification'])}"
        typer.echo(f"{row['name']} ({kind}{row['state']}, id {row['id']}): {row['judgements']}{more}")
    for one in feedback_requirements(store, project):
        people = f"{one.people} people" if one.people else "nobody, so they go to everybody"
        typer.echo(f"{one.requirement}: {one.open_items} open items for {people}")
    for link in feedback_crowd_links(store, project):
        ended = ", ended" if link.revoked else ""
        typer.echo(
            f"link {link.key} ({link.link.platform}{ended}): {link.workers} workers, {link.finished} finished, "
            f"{link.judgements} judgements"
        )


def written_text(counts: Any) -> str:
    """The numbers of written answers, as `status` prints them; see `WrittenCounts`."""
    parts = {
        "accepted": counts.accepted,
        "waiting for a review": counts.unreviewed,
        "rejected": counts.rejected,
        "flagged": counts.flagged,
    }
    known = ", ".join(f"{n} {name}" for name, n in parts.items() if n)
    return f"written answers: {counts.written}" + (f" ({known})" if known else "")


def _qualification(record: Any) -> str:
    """An annotator's qualification, as `status` prints it behind their judgements."""
    if record is None:
        return ""
    words = {"qualified": "qualified", "open": "not qualified yet", "failed": "failed the qualification"}
    score = "" if record.questions is None else f" with {record.correct} of {record.questions}"
    return f"; {words[record.state]}{score}, attempt {record.attempts}"


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
    from gnomon.api.feedback import feedback_gold

    counts = feedback_gold(store, project, file)
    typer.echo(f"{counts.added} gold items added, {counts.known} existing items marked as gold")


@app.command()
def agreement(
    store: Url,
    project: ProjectId = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print all figures as JSON.")] = False,
) -> None:
    """Print agreement between annotators, by category and pair too, and each one's reliability.

    [bold]Example[/bold]

      gnomon feedback agreement feedback.db
    """
    import json

    from gnomon.api.feedback import feedback_agreement
    from gnomon.core.storage.files import to_json
    from gnomon.web.agreement_tables import print_report

    report = feedback_agreement(store, project)
    if as_json:
        typer.echo(json.dumps(to_json(report.to_json()), ensure_ascii=False, indent=2))
    else:
        print_report(report)


@app.command()
@option_group("filters", EXPORT_OPTIONS, filter_settings)
@option_group("selection", SELECTION_OPTIONS, selection_settings)
def export(
    store: Url,
    filters: dict[str, Any],
    selection: dict[str, Any],
    out: Annotated[Path, typer.Option(help="Folder for the rows and manifest.json.")],
    project: ProjectId = None,
    kinds: Annotated[
        list[str] | None,
        typer.Option(help="Only preferences, rankings or demonstrations; repeatable."),
    ] = None,
    format: Annotated[
        str,
        typer.Option(
            "--format", help="jsonl, parquet, datasets, or another tool's: trl, openrlhf, llama-factory."
        ),
    ] = "jsonl",
    valid_only: Annotated[
        bool,
        typer.Option(
            "--valid-only", help="Only items that are resolved, not as a tie; no judgements of paused annotators."
        ),
    ] = False,
    exclude_flagged: Annotated[
        bool,
        typer.Option("--exclude-flagged", help="Leave out written answers in which a check found something."),
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace files of the same names; keep all others.")
    ] = False,
) -> None:
    """Export preferences, rankings and demonstrations from all judgements, with a manifest.

    [bold]Examples[/bold]

      gnomon feedback export feedback.db --project tone --out data/tone

      gnomon feedback export feedback.db --out data/for-trl --format trl

      gnomon feedback export feedback.db --out data/tone --aggregation reliability --exclude-annotator 3f1c

      gnomon feedback export feedback.db --out data/tone --min-agreement 0.7 --min-confidence 0.5 --min-alpha 0.2

    A folder that holds anything but an earlier export is refused unless you add --overwrite.
    """
    from gnomon.api.feedback import feedback_export
    from gnomon.feedback.export.exporter import ExportSpec

    spec = ExportSpec(
        kinds=tuple(kinds or ()),
        filters=filters,
        valid_only=valid_only,
        exclude_flagged=exclude_flagged,
        **selection,
    )
    manifest = feedback_export(store, project, out, spec, format, overwrite=overwrite)
    rows = ", ".join(counted(n, kind) for kind, n in manifest["rows"].items() if n and kind != "judgements")
    judgements, annotators = (
        counted(manifest["judgements"], "judgements"),
        counted(len(manifest["annotators"]), "annotators"),
    )
    summary = f"{rows or 'nothing'} from {judgements} of {annotators}"
    typer.echo(f"{summary} in {out} (digest {manifest['digest'][:12]})")
    for reason, n in manifest["left_out"].items():
        if n:
            typer.echo(f"left out: {counted(n, left_out_text(reason))}")
    if manifest["minority_views"]:
        typer.echo(f"minority views: {len(manifest['minority_views'])}, in {out / 'manifest.json'}")


def left_out_text(reason: str) -> str:
    """Why something was left out, for a reason in a manifest."""
    name = reason.removeprefix("rows_dropped_by_")
    return LEFT_OUT[reason] if name == reason else f"rows dropped by the filter {name}"


def counted(n: int, things: str) -> str:
    """A count with its noun, singular for 1; the first word of `things` is the plural noun."""
    noun, blank, rest = things.partition(" ")
    return f"{n} {noun if n != 1 else noun.removesuffix('s')}{blank}{rest}"


@app.command()
def invite(
    store: Url,
    project: ProjectId = None,
    name: Annotated[str | None, typer.Option(help="Name of a new annotator.")] = None,
    annotator: Annotated[
        str | None, typer.Option(help="Id of an existing annotator; their earlier links end.")
    ] = None,
    admin: Annotated[bool, typer.Option("--admin", help="May administer the project too.")] = False,
    reviewer: Annotated[bool, typer.Option("--reviewer", help="May decide disputed items too.")] = False,
) -> None:
    """Create a personal link for an annotator; it is shown only once.

    [bold]Example[/bold]

      gnomon feedback invite feedback.db --project tone --name Ann
    """
    from gnomon.api.feedback import Role, feedback_invite, feedback_invite_again
    from gnomon.core.errors import ConfigError

    if (name is None) == (annotator is None):
        raise ConfigError("give either --name for a new annotator or --annotator for an existing one.")
    if annotator is not None:
        if admin or reviewer:
            raise ConfigError("an existing annotator keeps their role; remove --admin and --reviewer.")
        typer.echo(feedback_invite_again(store, project, annotator))
        return
    assert name is not None
    role: Role = "admin" if admin else "reviewer" if reviewer else "annotator"
    typer.echo(feedback_invite(store, project, name, role))


@app.command("set-annotator")
def set_annotator(
    store: Url,
    id: Annotated[str, typer.Argument(help="The annotator's id, as gnomon feedback status lists it.")],
    state: Annotated[str, typer.Argument(help="active, paused or withdrawn.")],
) -> None:
    """Pause, reactivate or withdraw an annotator; withdrawing also removes their links and judgements.

    [bold]Example[/bold]

      gnomon feedback set-annotator feedback.db 3f1c withdrawn
    """
    from gnomon.api.feedback import feedback_set_annotator
    from gnomon.core.errors import ConfigError

    if state not in ("active", "paused", "withdrawn"):
        raise ConfigError(f"the state is '{state}'; give active, paused or withdrawn.")
    feedback_set_annotator(store, id, state)  # type: ignore[arg-type]  # checked above
    typer.echo(f"{id} is {state}")
