"""`gnomon feedback init`, `serve`, `status` and `agreement`: a project, its pages and its figures."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated, Any

import typer

from gnomon.cli.feedback.arguments import NewProject, ProjectId, Url, app
from gnomon.cli.feedback.setup_options import SETUP_OPTIONS, setup_settings
from gnomon.cli.number_options import number
from gnomon.cli.option_groups import option_group
from gnomon.core import ranges

LONGEST_GUIDELINES = 100_000  # characters, as on the page
VOTES = ranges.Range("it counts judgements of an item", ge=1, le=1000)


@app.command()
@option_group("settings", SETUP_OPTIONS, setup_settings)
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
    from gnomon.api.feedback.projects import feedback_init
    from gnomon.core.boundary import read_text
    from gnomon.feedback.store.store import Project

    text = read_text(guidelines, LONGEST_GUIDELINES) if guidelines else ""
    votes = votes_per_item or (1 if task == "demonstration" else 3)
    limit = max(votes, max_votes or votes)
    feedback_init(store, Project(project, title, task, votes, limit, text, settings))
    where, which = shlex.quote(store), shlex.quote(project)
    typer.echo(f"project {project} in {store}; next: gnomon feedback import {where} --project {which} FILE")


@app.command()
def serve(
    store: Annotated[str, typer.Argument(help="A SQLite file, or postgresql://user@host/name.")] = "feedback.db",
    project: ProjectId = None,
    host: Annotated[
        str, typer.Option(help="Address to listen on; 0.0.0.0 accepts other machines.")
    ] = "127.0.0.1",
    port: Annotated[int, number(ranges.Port, "Port; 0 takes a free one.")] = 8000,
    demo: Annotated[bool, typer.Option("--demo", help="Create a project with pairs of film reviews.")] = False,
    https: Annotated[bool, typer.Option("--https", help="Browsers connect through a TLS proxy.")] = False,
) -> None:
    """Serve the annotation pages. The administrator's link is printed when the project is first served.

    [bold]Examples[/bold]

      gnomon feedback serve --demo --port 8000

      gnomon feedback serve feedback.db --project tone
    """
    from gnomon.api.feedback.server import feedback_serve

    feedback_serve(store, project, host=host, port=port, demo=demo, https=https)


@app.command()
def status(store: Url, project: ProjectId = None) -> None:
    """Print a project's progress and each annotator's judgements.

    [bold]Example[/bold]

      gnomon feedback status feedback.db
    """
    from gnomon.api.feedback.crowd import feedback_crowd_links
    from gnomon.api.feedback.profiles import feedback_requirements
    from gnomon.api.feedback.projects import feedback_status, feedback_written_counts

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

    from gnomon.api.feedback.projects import feedback_agreement
    from gnomon.core.storage.files import to_json
    from gnomon.web.agreement_tables import print_report

    report = feedback_agreement(store, project)
    if as_json:
        typer.echo(json.dumps(to_json(report.to_json()), ensure_ascii=False, indent=2))
    else:
        print_report(report)
