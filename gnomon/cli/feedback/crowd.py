"""`gnomon feedback crowd-link` and `payments`: workers of crowd platforms such as Prolific."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from gnomon.cli.feedback.arguments import ProjectId, Url, app
from gnomon.cli.number_options import number
from gnomon.cli.option_groups import Options, option_group
from gnomon.core import ranges

LINK = "gnomon.feedback.crowd_platforms:CrowdLink"

LINK_OPTIONS: Options = {  # the fields of `CrowdLink`
    "platform": (
        Annotated[str | None, typer.Option(help="prolific, mturk, or another with --worker-parameter.")],
        None,
    ),
    "worker_parameter": (
        Annotated[
            str | None,
            typer.Option(help="Parameter of the address with the worker's id.", show_default="the platform's"),
        ],
        None,
    ),
    "context_parameters": (
        Annotated[
            list[str] | None,
            typer.Option("--context-parameter", help="Parameter to store with the worker's visit; repeatable."),
        ],
        None,
    ),
    "max_judgements": (
        Annotated[int | None, number(LINK + ".max_judgements", "Judgements of a worker, then the code.")],
        None,
    ),
    "min_judgements": (
        Annotated[
            int | None,
            number(
                LINK + ".min_judgements",
                "Judgements required for the code if no items are left.",
                show_default="1",
            ),
        ],
        None,
    ),
    "max_workers": (Annotated[int | None, number(LINK + ".max_workers", "Workers who may join.")], None),
    "code": (
        Annotated[
            str | None,
            typer.Option(help="Completion code of all workers.", show_default="a random one for each worker"),
        ],
        None,
    ),
    "redirect": (
        Annotated[str | None, typer.Option(help="Address at which workers finish, with {code} and {worker}.")],
        None,
    ),
    "languages": (
        Annotated[list[str] | None, typer.Option("--language", help="Language of the workers; repeatable.")],
        None,
    ),
    "domains": (
        Annotated[list[str] | None, typer.Option("--domain", help="Domain of the workers; repeatable.")],
        None,
    ),
    "skills": (
        Annotated[list[str] | None, typer.Option("--skill", help="Skill of the workers; repeatable.")],
        None,
    ),
}


@app.command("crowd-link")
@option_group("link", LINK_OPTIONS)
def crowd_link_command(
    store: Url,
    link: dict[str, Any],
    project: ProjectId = None,
    end: Annotated[int | None, number(ranges.Count, "Number of a link to end instead.")] = None,
) -> None:
    """Create a link for all workers of a crowd platform, which takes their ids from its address.

    [bold]Examples[/bold]

      gnomon feedback crowd-link feedback.db --platform prolific --code C1ABC2DE --max-judgements 30

      gnomon feedback crowd-link feedback.db --platform panel --worker-parameter pid --max-workers 50

      gnomon feedback crowd-link feedback.db --end 1
    """
    from gnomon.api.feedback.crowd import feedback_crowd_link, feedback_end_crowd_link
    from gnomon.core.errors import ConfigError
    from gnomon.feedback.crowd_platforms import crowd_link

    if end is not None:
        if any(value is not None for value in link.values()):
            raise ConfigError("--end ends a link; remove the other options, or --end to create one.")
        feedback_end_crowd_link(store, project, end)
        typer.echo(f"link {end} has ended")
        return
    platform = link.pop("platform")
    if platform is None:
        raise ConfigError("name the platform with --platform: prolific, mturk or another.")
    key, path = feedback_crowd_link(store, project, crowd_link(platform, **link))
    typer.echo(f"link {key}, shown only once; put your server's address in front: {path}")


@app.command("payments")
def payments_command(
    store: Url,
    project: ProjectId = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the list as JSON.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print the list as CSV.")] = False,
) -> None:
    """List the work of each crowd worker: judgements, active time, quality, completion code.

    [bold]Example[/bold]

      gnomon feedback payments feedback.db --csv > payments.csv
    """
    import csv
    import io
    import json

    from gnomon.api.feedback.crowd import feedback_payments
    from gnomon.core.errors import ConfigError
    from gnomon.core.storage.files import to_json
    from gnomon.feedback.quality.payments import payment_rows

    if as_json and as_csv:
        raise ConfigError("--json and --csv exclude each other; give one of them.")
    payments = feedback_payments(store, project)
    if as_json:
        typer.echo(json.dumps(to_json(payments), ensure_ascii=False, indent=2))
        return
    if as_csv:
        columns, rows = payment_rows(payments)
        table = io.StringIO()
        writer = csv.DictWriter(table, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        typer.echo(table.getvalue(), nl=False)
        return
    for one in payments:
        reliability = "–" if one.reliability is None else f"{one.reliability:.2f}"
        gold = f", gold {one.gold_correct}/{one.gold_items}" if one.gold_items else ""
        typer.echo(
            f"{one.platform} {one.worker}: {one.judgements} judgements in {one.active_seconds / 60:.1f} min, "
            f"reliability {reliability}{gold}, {one.state}, {one.code or 'not finished'}"
        )
    finished = sum(one.code is not None for one in payments)
    typer.echo(
        f"{len(payments)} workers, {finished} finished, {sum(one.judgements for one in payments)} judgements"
    )
