"""`gnomon feedback generate`, `judge` and `plan`: programs that answer or judge, and what it takes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gnomon.cli.feedback import ProjectId, Url, app
from gnomon.cli.number_options import number
from gnomon.core import ranges

__all__ = ["app"]
WISH, DRAWING = "gnomon.feedback.planning.annotation_plan:Wish", "gnomon.feedback.generation.requests:Drawing"
PARALLEL = ranges.Range("more connections serve nobody", ge=1, le=1000)
TIMEOUT = ranges.Range("a server needs some time, and nobody waits for more than a day", ge=0.1, le=86_400)
TIE = ranges.Range("it is a distance between scores", ge=0, le=1e30)
SHARE = ranges.Range("it is a share of the items", ge=0, le=1)
COPIES = ranges.Range("each is an annotator in the store", ge=1, le=10**4)


RandomShare = Annotated[float, number(SHARE, "Share of those items at a random place of the order.")]


@app.command()
def generate(
    store: Url,
    sources: Annotated[list[str], typer.Option("--from", help="A local model, or http://host/v1#model.")],
    project: ProjectId = None,
    count: Annotated[
        int,
        number(DRAWING + ".count", "Answers of each model to each prompt."),
    ] = 2,
    prompts: Annotated[Path | None, typer.Option(help="A file of prompts, added to the bank first.")] = None,
    limit: Annotated[int | None, number(ranges.Count, "So many prompts, by the bank's mix.")] = None,
    temperature: Annotated[
        list[float] | None,
        number(ranges.Temperature, "A step of the ladder.", show_default="0.7, 1.0, 1.3"),
    ] = None,
    max_tokens: Annotated[int, number(ranges.Tokens, "Length limit of an answer.")] = 256,
    top_p: Annotated[
        float,
        number(ranges.TopP, "Keep the likeliest tokens with this much probability."),
    ] = 1.0,
    alike: Annotated[
        float,
        number(
            DRAWING + ".alike",
            "Answers as similar as this are nearly the same.",
        ),
    ] = 0.7,
    wording: Annotated[
        list[str] | None, typer.Option(help="Added to a prompt whose answers are too alike.")
    ] = None,
    key: Annotated[
        list[str] | None, typer.Option(help="HOST=VARIABLE: the environment variable with its key.")
    ] = None,
    parallel: Annotated[int, number(PARALLEL, "Requests on their way to an endpoint.")] = 4,
    timeout: Annotated[float, number(TIMEOUT, "Seconds without a word from it.")] = 60.0,
    uncertain_by: Annotated[
        list[str] | None, typer.Option(help="A reward model; what it is unsure of comes first.")
    ] = None,
    random_share: RandomShare = 0.2,
    pairs: Annotated[
        int | None,
        number(ranges.Count, "Items a prompt.", show_default="as many as answers"),
    ] = None,
    cache: Annotated[
        Path | None, typer.Option(help="A folder for answers.", show_default="Gnomon's cache")
    ] = None,
    seed: Annotated[int, number(ranges.Seed, "Of everything drawn.")] = 0,
) -> None:
    """Have models answer a project's prompts, and make items of the answers. Ctrl-C keeps what is made.

    [bold]Examples[/bold]

      gnomon feedback generate feedback.db --project tone --from smollm2-135m --prompts prompts.jsonl

      gnomon feedback generate feedback.db --project tone --from runs/sft --from https://api.openai.com/v1#gpt-4o-mini
    """
    from gnomon.api.feedback_automation import feedback_generate
    from gnomon.core.config import validate
    from gnomon.core.errors import translate_interrupt
    from gnomon.feedback.generation.requests import Drawing

    settings: dict[str, object] = {"count": count, "max_tokens": max_tokens, "top_p": top_p, "alike": alike}
    settings |= {"temperatures": temperature} if temperature else {}
    drawing = validate(Drawing, {**settings, "wordings": wording or (), "seed": seed}, "generate")
    with translate_interrupt():
        found = feedback_generate(
            store,
            project,
            sources,
            drawing,
            prompts=prompts,
            most=limit,
            keys=key or (),
            cache=cache,
            uncertain_by=uncertain_by or (),
            random_share=random_share,
            pairs=pairs,
            parallel=parallel,
            timeout=timeout,
        )
    made = found.made
    typer.echo(f"{made.added} answers added, {made.known} there already, {found.items} items added")
    if made.forced or made.alike:
        typer.echo(
            f"{made.forced} took a hotter or otherwise worded try; {made.alike} left out, alike at every try"
        )
    for prompt, reason in made.refused[:3]:
        typer.echo(f"no answer to '{prompt}': {reason}")
    if len(made.refused) > 3:
        typer.echo(f"and none to {len(made.refused) - 3} others")


@app.command()
def reorder(
    store: Url,
    project: ProjectId = None,
    uncertain_by: Annotated[
        list[str] | None, typer.Option(help="A reward model; what it is unsure of comes first.")
    ] = None,
    random_share: RandomShare = 0.2,
    seed: Annotated[int, number(ranges.Seed, "Of the random share.")] = 0,
) -> None:
    """Reorder the items that wait by what reward models are unsure of; without one, as they were added.

    [bold]Examples[/bold]

      gnomon feedback reorder feedback.db --project tone --uncertain-by runs/rm2/judge

      gnomon feedback reorder feedback.db --project tone
    """
    from gnomon.api.feedback_automation import feedback_reorder

    judges = uncertain_by or ()
    priorities = feedback_reorder(store, project, judges, random_share=random_share, seed=seed)
    if not judges or not priorities:
        typer.echo(f"{len(priorities)} waiting items, in the order in which they were added")
    else:
        first, last = max(priorities), min(priorities)
        typer.echo(f"{len(priorities)} waiting items, uncertainty {first:.3g} first and {last:.3g} last")


@app.command()
def judge(
    store: Url,
    by: Annotated[list[str], typer.Option(help="rule:longer, model:PATH, or simulated:careful.")],
    project: ProjectId = None,
    count: Annotated[int | None, number(ranges.Count, "Judgements of each program now.")] = None,
    tie: Annotated[float, number(TIE, "Scores that differ by no more are equally good.")] = 0.0,
    copies: Annotated[int, number(COPIES, "Simulated annotators of each manner.")] = 1,
    truth: Annotated[
        str | None, typer.Option(help="What simulated annotators see: rule:…, model:…", show_default="made up")
    ] = None,
    seed: Annotated[int, number(ranges.Seed, "Of simulated annotators.")] = 0,
) -> None:
    """Have programs judge a project's items, as annotators of their own kind.

    [bold]Examples[/bold]

      gnomon feedback judge feedback.db --project tone --by model:runs/rm/judge --tie 0.1

      gnomon feedback judge feedback.db --project tone --by rule:shorter --count 50

      gnomon feedback judge trial.db --project tone --by simulated:noisy,position=0.5 --copies 3
    """
    from gnomon.api.feedback_automation import feedback_judge
    from gnomon.core.errors import translate_interrupt

    with translate_interrupt():
        found = feedback_judge(store, project, by, copies=copies, most=count, tie=tie, truth=truth, seed=seed)
    for name, done in found.items():
        back = f", {len(done.skipped)} given back ({done.skipped[0][1]})" if done.skipped else ""
        typer.echo(f"{name}: {done.judged} judged{back}")


@app.command()
def plan(
    effect: Annotated[
        float,
        number(
            WISH + ".effect",
            "Win rate that a judge without error would find.",
        ),
    ] = 0.6,
    kappa: Annotated[
        float,
        number(WISH + ".kappa", "Cohen's κ of two annotators."),
    ] = 0.4,
    power: Annotated[
        float,
        number(WISH + ".power", "With which it is to be told from 50%."),
    ] = 0.8,
    votes: Annotated[int, number(WISH + ".votes", "Judgements of each item.")] = 3,
    ties: Annotated[
        float,
        number(WISH + ".ties", "Share of the judgements that are ties."),
    ] = 0.0,
    width: Annotated[
        float,
        number(
            WISH + ".width",
            "How far the win rate's interval may reach.",
        ),
    ] = 0.05,
    accuracy: Annotated[
        float,
        number(WISH + ".accuracy", "How often a majority is to be right."),
    ] = 0.9,
    each: Annotated[
        int,
        number(WISH + ".each", "Judgements that one annotator makes."),
    ] = 200,
    alpha: Annotated[
        float,
        number(
            WISH + ".alpha",
            "Of the test; the interval has the level 1 - alpha.",
        ),
    ] = 0.05,
    simulate: Annotated[bool, typer.Option("--simulate", help="Also try it with simulated annotators.")] = False,
    seed: Annotated[int, number(ranges.Seed, "Of the simulated annotators.")] = 0,
) -> None:
    """Say how many judgements, items and annotators it takes, before anybody is asked.

    [bold]Example[/bold]

      gnomon feedback plan --effect 0.6 --kappa 0.4 --power 0.8 --votes 3 --simulate
    """
    from gnomon.cli.power_table import show
    from gnomon.core.config import validate
    from gnomon.feedback.planning.annotation_plan import Wish

    numbers = {"effect": effect, "kappa": kappa, "power": power, "votes": votes, "ties": ties, "width": width}
    wish = validate(Wish, {**numbers, "accuracy": accuracy, "each": each, "alpha": alpha}, "plan")
    show(wish, seed if simulate else None)
