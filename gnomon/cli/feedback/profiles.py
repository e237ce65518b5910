"""`gnomon feedback set-profile`, `set-domains` and `qualification`: who gets which items."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gnomon.cli.feedback.arguments import ProjectId, Url, app
from gnomon.cli.number_options import number
from gnomon.core import ranges

CLUSTERS = ranges.Range("it counts clusters of prompts", ge=2, le=1000)


@app.command("set-profile")
def set_profile(
    store: Url,
    id: Annotated[str, typer.Argument(help="The annotator's id, as gnomon feedback status lists it.")],
    language: Annotated[list[str] | None, typer.Option(help="Language that they read; repeatable.")] = None,
    domain: Annotated[list[str] | None, typer.Option(help="Domain that they know; repeatable.")] = None,
    skill: Annotated[list[str] | None, typer.Option(help="Skill that they have; repeatable.")] = None,
) -> None:
    """Set what an annotator can judge, instead of what was set before; without options, nothing.

    Items that require a language, a domain or skills (columns of their prompts) go to people who have them.

    [bold]Example[/bold]

      gnomon feedback set-profile feedback.db 3f1c --language zh --language en --domain law
    """
    from gnomon.api.feedback.profiles import feedback_set_profile
    from gnomon.feedback.requirements import profile

    chosen = profile(language or (), domain or (), skill or ())
    feedback_set_profile(store, id, chosen)
    typer.echo(f"{id}: {chosen}" if chosen else f"{id} has no profile")


@app.command("set-domains")
def set_domains(
    store: Url,
    project: ProjectId = None,
    clusters: Annotated[
        int | None,
        number(
            CLUSTERS,
            "Number of clusters of the prompts, by their words or embeddings.",
            show_default="the prompts' categories; with --embeddings chosen by silhouette",
        ),
    ] = None,
    embeddings: Annotated[
        str | None,
        typer.Option(help="Sentence-embedding model of the clusters: minilm, or a folder.", show_default="words"),
    ] = None,
    seed: Annotated[int, number(ranges.Seed, "Random seed of the clusters.")] = 0,
) -> None:
    """Set the domains of all prompts: their categories, or clusters that are named by their words.

    Clusters are of the prompts' words (TF-IDF), or with --embeddings of their meaning. Prompts that the model
    cannot read, such as Chinese ones for minilm, are clustered by their words, apart from the others.

    [bold]Examples[/bold]

      gnomon feedback set-domains feedback.db --project tone --clusters 8

      gnomon feedback set-domains feedback.db --project tone --embeddings minilm
    """
    from gnomon.api.feedback.profiles import feedback_set_domains

    for domain, prompts in feedback_set_domains(
        store, project, clusters, embeddings=embeddings, seed=seed
    ).items():
        typer.echo(f"{domain or '(no domain)'}: {prompts} prompts")


@app.command("qualification")
def qualification_command(
    store: Url,
    file: Annotated[
        Path | None, typer.Argument(help="Rows with a prompt, chosen, rejected and an explanation.")
    ] = None,
    project: ProjectId = None,
    clear: Annotated[bool, typer.Option("--clear", help="Remove all questions.")] = False,
) -> None:
    """Add questions that annotators answer, with feedback, before their first item.

    The page /admin/setup and the options of init set the share to answer correctly, and the number of attempts.

    [bold]Example[/bold]

      gnomon feedback qualification feedback.db practice.jsonl --project tone
    """
    from gnomon.api.feedback.profiles import feedback_clear_qualification, feedback_qualification
    from gnomon.core.errors import ConfigError

    if clear == (file is not None):
        raise ConfigError("give either a file of questions to add, or --clear to remove all.")
    if file is None:
        typer.echo(f"{feedback_clear_qualification(store, project)} questions removed")
        return
    added, count = feedback_qualification(store, project, file)
    typer.echo(f"{added} questions added; the qualification has {count}")
