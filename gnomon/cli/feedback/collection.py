"""`gnomon feedback collect`: prompts, completions and judgements in rounds, until a number of preferences."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gnomon.cli.feedback.arguments import Mix, ProjectId, Url, app, counted, shares_of
from gnomon.cli.feedback.automation import (
    GENERATION_OPTIONS,
    PROGRAM_OPTIONS,
    SOURCE_OPTIONS,
    generation_settings,
    source_settings,
)
from gnomon.cli.filter_options import EXPORT_OPTIONS, SELECTION_OPTIONS, filter_settings, selection_settings
from gnomon.cli.number_options import number
from gnomon.cli.option_groups import Options, option_group
from gnomon.core import ranges

if TYPE_CHECKING:  # heavy, so imported by the command that uses it
    from gnomon.feedback.collection.summary import CollectSummary

TARGET = "gnomon.feedback.collection.plan:CollectTarget"
UNREACHED = 1  # exit status if the collection ends before its target

BUDGET_OPTIONS: Options = {  # the fields of `CollectTarget` that may be left out
    "max_judgements": (
        Annotated[
            int | None,
            number(TARGET + ".max_judgements", "Stop after so many judgements, by anybody, of this call."),
        ],
        None,
    ),
    "max_hours": (
        Annotated[float | None, number(TARGET + ".max_hours", "Stop after so many hours of this call.")],
        None,
    ),
}
SERVER_OPTIONS: Options = {  # where the page is served
    "host": (
        Annotated[str, typer.Option(help="Address of the page; 0.0.0.0 accepts other machines.")],
        "127.0.0.1",
    ),
    "port": (Annotated[int, number(ranges.Port, "Port of the page; 0 takes a free one.")], 8000),
    "https": (Annotated[bool, typer.Option("--https", help="Browsers connect through a TLS proxy.")], False),
}


@app.command()
@option_group("filters", EXPORT_OPTIONS)
@option_group("selection", SELECTION_OPTIONS)
@option_group("server", SERVER_OPTIONS)
@option_group("judging", PROGRAM_OPTIONS)
@option_group("sourcing", SOURCE_OPTIONS, source_settings)
@option_group("generation", GENERATION_OPTIONS, generation_settings)
@option_group("budget", BUDGET_OPTIONS)  # the help shows it first
def collect(
    store: Url,
    until: Annotated[int, number(TARGET + ".until", "Number of valid preferences that the project shall have.")],
    budget: dict[str, Any],
    generation: Any,  # GenerationSettings; typer evaluates annotations, and its module is slow to import
    sourcing: dict[str, Any],
    judging: dict[str, Any],
    server: dict[str, Any],
    selection: dict[str, Any],
    filters: dict[str, Any],
    project: ProjectId = None,
    prompts: Annotated[Path | None, typer.Option(help="File of prompts to add to the project first.")] = None,
    sources: Annotated[
        list[str] | None,
        typer.Option("--from", help="Model that writes completions: a local one, or http://host/v1#model."),
    ] = None,
    annotator: Annotated[
        list[str] | None,
        typer.Option(help="Program that judges: rule:longer, model:PATH, or simulated:careful; repeatable."),
    ] = None,
    serve: Annotated[
        bool | None,
        typer.Option(
            "--serve/--no-serve",
            help="Let people judge on the project's page.",
            show_default="if there is no --annotator",
        ),
    ] = None,
    mix: Mix = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Collect judgements until a number of valid preferences exist: select, generate, judge, check, store.

    [bold]Examples[/bold]

      People judge answers of two models, on a page that this command serves:

      gnomon feedback collect tone.db --until 500 --prompts prompts.jsonl --from runs/sft --from smollm2-135m

      A reward model judges, and its near-ties are no preferences:

      gnomon feedback collect tone.db --until 2000 --from runs/sft --annotator model:runs/rm/judge --tie 0.1

      Judge what the store has already, with a limit of cost:

      gnomon feedback collect tone.db --until 500 --max-judgements 1500 --max-hours 8

      Try a project out with simulated annotators:

      gnomon feedback collect trial.db --until 50 --from tiny-random --annotator simulated:careful --replicas 3

    A preference is valid if feedback export --valid-only writes it with the same options: its item is resolved,
    not as a tie or as both bad, by annotators who are neither paused nor withdrawn, and no filter drops it. Each
    round has as many prompts as the yield so far suggests. Ctrl-C keeps everything; the same command continues.
    The exit status is 0 if the target is reached, and 1 if prompts, time or judgements ran out, or if items give
    no preference.
    """
    from gnomon.api.feedback.collection import feedback_collect
    from gnomon.core.errors import Interrupted, translate_interrupt
    from gnomon.feedback.export.exporter import ExportSpec

    spec = ExportSpec(filters=filter_settings(filters), **selection_settings(selection))
    with translate_interrupt(f"stopped; everything is stored; go on with: {_command(sys.argv[1:], {})}"):
        summary = feedback_collect(
            store,
            project,
            until,
            prompts=prompts,
            mix=shares_of(mix),
            sources=sources or (),
            generation=generation,
            annotators=annotator or (),
            serve=serve,
            spec=spec,
            **budget,
            **sourcing,
            **judging,
            **server,
        )
    following = _following(summary, store, project, {**selection, **filters}, budget)
    if as_json:
        typer.echo(json.dumps({**summary.to_json(), "next": following}, ensure_ascii=False, indent=2))
    else:
        _print_summary(summary)
    if summary.outcome == "stopped":
        raise Interrupted(f"stopped; everything is stored; go on with: {following}")
    if not as_json:
        typer.echo(f"{'next' if summary.outcome == 'reached' else 'go on with'}: {following}")
    if summary.outcome != "reached":
        raise typer.Exit(UNREACHED)


def _print_summary(summary: CollectSummary) -> None:
    parts = {name: getattr(summary, name) for name in ("prompts", "completions", "items", "judgements")}
    typer.echo(
        f"{summary.added} valid preferences added in {counted(summary.rounds, 'rounds')}: "
        + ", ".join(counted(count, name) for name, count in parts.items())
    )
    typer.echo(summary.sentence())
    for reason, count in summary.skipped.items():
        typer.echo(f"{counted(count, 'items skipped')} by {reason}")
    for source, problem in summary.failures.items():
        typer.echo(f"generator {source} failed: {problem}")
    if summary.advice:
        typer.echo(f"advice: {summary.advice}")


def _following(
    summary: CollectSummary,
    store: str,
    project: str | None,
    options: Mapping[str, Any],
    budget: Mapping[str, Any],
) -> str:
    """The next command: the export with the options that the target counted by, or the rest of this one."""
    if summary.outcome != "reached":
        judgements, hours = budget["max_judgements"], budget["max_hours"]
        left = {
            "--max-judgements": judgements and max(1, judgements - summary.judgements),
            "--max-hours": hours and f"{max(0.01, hours - summary.hours):.3g}",
        }
        spent = summary.outcome in ("max_judgements", "max_hours")
        return _command(sys.argv[1:], {} if spent else {name: n for name, n in left.items() if n})
    words = ["feedback", "export", store, *(["--project", project] if project else []), "--valid-only"]
    defaults = {name: default for name, (_, default) in {**SELECTION_OPTIONS, **EXPORT_OPTIONS}.items()}
    for name, value in options.items():
        if value not in (defaults[name], []):
            for one in value if isinstance(value, list) else [value]:
                words += [f"--{name.replace('_', '-')}", str(one)]
    return _command([*words, "--out", "FOLDER"], {})


def _command(arguments: Sequence[str], changed: Mapping[str, object]) -> str:
    """A command line of `gnomon` as text, without passwords.

    Args:
        arguments: the arguments.
        changed: options whose value is replaced.
    """
    from gnomon.core.redaction import redact_arguments

    words = list(arguments)
    for index, word in enumerate(words):
        name, equals, _ = word.partition("=")
        if name in changed and equals:
            words[index] = f"{name}={changed[name]}"
        elif index and words[index - 1] in changed:
            words[index] = str(changed[words[index - 1]])
    return shlex.join(["gnomon", *redact_arguments(words)])
