"""`gnomon feedback invite` and `set-annotator`: who may judge."""

from __future__ import annotations

from typing import Annotated

import typer

from gnomon.cli.feedback.arguments import ProjectId, Url, app


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
    from gnomon.api.feedback.projects import Role, feedback_invite, feedback_invite_again
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
    from gnomon.api.feedback.projects import feedback_set_annotator
    from gnomon.core.errors import ConfigError

    if state not in ("active", "paused", "withdrawn"):
        raise ConfigError(f"the state is '{state}'; give active, paused or withdrawn.")
    feedback_set_annotator(store, id, state)  # type: ignore[arg-type]  # checked above
    typer.echo(f"{id} is {state}")
