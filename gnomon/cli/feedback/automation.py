"""`gnomon feedback generate`, `reorder`, `auto-annotate` and `power`: work done by programs, and planning."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gnomon.cli.feedback.arguments import ProjectId, Url, app
from gnomon.cli.number_options import number
from gnomon.cli.option_groups import Options, option_group
from gnomon.core import ranges

if TYPE_CHECKING:  # heavy, so imported by the commands that use it
    from gnomon.feedback.generation.generate import GenerationResult
    from gnomon.feedback.generation.requests import GenerationSettings

POWER, GENERATION = (
    "gnomon.feedback.planning.annotation_plan:PowerSettings",
    "gnomon.feedback.generation.requests:GenerationSettings",
)
PARALLEL = ranges.Range("more connections do not help", ge=1, le=1000)
TIMEOUT = ranges.Range("a server needs some time, and more than a day is too long", ge=0.1, le=86_400)
TIE = ranges.Range("it is a distance between scores", ge=0, le=1e30)
SHARE = ranges.Range("it is a share of the items", ge=0, le=1)
REPLICAS = ranges.Range("each is an annotator in the store", ge=1, le=10**4)


RandomShare = Annotated[float, number(SHARE, "Share of those items placed at random in the order.")]
UncertaintyFrom = Annotated[
    list[str] | None, typer.Option(help="Reward model whose most uncertain items come first; repeatable.")
]


GENERATION_OPTIONS: Options = {  # the fields of `GenerationSettings`
    "count": (Annotated[int, number(GENERATION + ".count", "Completions per model and prompt.")], 2),
    "temperature": (
        Annotated[
            list[float] | None,
            number(
                ranges.Temperature,
                "Sampling temperature; repeat it for several.",
                show_default="0.7, 1.0, 1.3",
            ),
        ],
        None,
    ),
    "max_tokens": (Annotated[int, number(ranges.Tokens, "Length limit of a completion.")], 256),
    "top_p": (
        Annotated[float, number(ranges.TopP, "Keep the most likely tokens up to this total probability.")],
        1.0,
    ),
    "similarity": (
        Annotated[
            float, number(GENERATION + ".similarity", "Drop completions at least this similar to another.")
        ],
        0.7,
    ),
    "rephrase_with": (
        Annotated[
            list[str] | None,
            typer.Option(help="Sentence added to a prompt whose completions are too similar; repeatable."),
        ],
        None,
    ),
    "seed": (Annotated[int, number(ranges.Seed, "Random seed.")], 0),
}


SOURCE_OPTIONS: Options = {  # how models are reached, and which items are made of their completions
    "key": (
        Annotated[
            list[str] | None,
            typer.Option(help="HOST=VARIABLE: the environment variable with the host's API key."),
        ],
        None,
    ),
    "parallel": (Annotated[int, number(PARALLEL, "Concurrent requests to an endpoint.")], 4),
    "timeout": (Annotated[float, number(TIMEOUT, "Seconds to wait for a response.")], 60.0),
    "uncertainty_from": (UncertaintyFrom, None),
    "random_share": (RandomShare, 0.2),
    "pairs": (
        Annotated[
            int | None,
            number(ranges.Count, "Items per prompt.", show_default="as many as completions"),
        ],
        None,
    ),
    "cache": (
        Annotated[
            Path | None, typer.Option(help="Folder for cached completions.", show_default="Gnomon's cache")
        ],
        None,
    ),
}
PROGRAM_OPTIONS: Options = {  # how programs judge
    "tie": (Annotated[float, number(TIE, "Scores that differ by at most this much are a tie.")], 0.0),
    "replicas": (Annotated[int, number(REPLICAS, "Simulated annotators of each kind.")], 1),
    "utility": (
        Annotated[
            str | None,
            typer.Option(
                help="Utility that simulated annotators judge by: rule:…, model:…", show_default="random"
            ),
        ],
        None,
    ),
}


def source_settings(values: dict[str, Any]) -> dict[str, Any]:
    """The arguments of `feedback_generate` for the values of `SOURCE_OPTIONS`."""
    uncertainty_from, keys = values.pop("uncertainty_from") or (), values.pop("key") or ()
    return {**values, "uncertainty_from": uncertainty_from, "keys": keys}


def generation_settings(values: dict[str, Any]) -> GenerationSettings:
    """The settings of generation for the values of `GENERATION_OPTIONS`."""
    from gnomon.core.config import validate
    from gnomon.feedback.generation.requests import GenerationSettings

    temperatures, rephrasings = values.pop("temperature"), values.pop("rephrase_with")
    settings = {**values, **({"temperatures": temperatures} if temperatures else {})}
    return validate(GenerationSettings, {**settings, "rephrasings": rephrasings or ()}, "generate")


@app.command()
@option_group("generation", GENERATION_OPTIONS, generation_settings)
@option_group("sourcing", SOURCE_OPTIONS, source_settings)
def generate(
    store: Url,
    sources: Annotated[list[str], typer.Option("--from", help="A local model, or http://host/v1#model.")],
    generation: Any,  # GenerationSettings; typer evaluates annotations, and its module is slow to import
    sourcing: dict[str, Any],
    project: ProjectId = None,
    prompts: Annotated[Path | None, typer.Option(help="File of prompts to add to the project first.")] = None,
    limit: Annotated[int | None, number(ranges.Count, "Number of prompts, selected by the default mix.")] = None,
) -> None:
    """Generate completions with models and create items from them. Ctrl-C keeps finished completions.

    [bold]Examples[/bold]

      gnomon feedback generate feedback.db --project tone --from smollm2-135m --prompts prompts.jsonl

      gnomon feedback generate feedback.db --project tone --from runs/sft --from https://api.openai.com/v1#gpt-4o-mini
    """
    from gnomon.api.feedback.automation import feedback_generate
    from gnomon.core.errors import translate_interrupt

    with translate_interrupt():
        result, items = feedback_generate(
            store,
            project,
            sources,
            generation,
            prompts=prompts,
            max_prompts=limit,
            **sourcing,
        )
    _print_result(result, items)


def _print_result(result: GenerationResult, items: int) -> None:
    typer.echo(f"{result.added} completions added, {result.known} existing, {items} items added")
    if result.forced or result.too_similar:
        typer.echo(
            f"{result.forced} needed a higher temperature or a rephrased prompt; "
            f"{result.too_similar} dropped as too similar"
        )
    for prompt, reason in result.refused[:3]:
        typer.echo(f"no completion for '{prompt}': {reason}")
    if len(result.refused) > 3:
        typer.echo(f"and none for {len(result.refused) - 3} others")


@app.command()
def reorder(
    store: Url,
    project: ProjectId = None,
    uncertainty_from: UncertaintyFrom = None,
    random_share: RandomShare = 0.2,
    seed: Annotated[int, number(ranges.Seed, "Random seed of the random share.")] = 0,
) -> None:
    """Reorder open items by the uncertainty of reward models; without one, in the order they were added.

    [bold]Examples[/bold]

      gnomon feedback reorder feedback.db --project tone --uncertainty-from runs/rm2/judge

      gnomon feedback reorder feedback.db --project tone
    """
    from gnomon.api.feedback.automation import feedback_reorder

    judges = uncertainty_from or ()
    priorities = feedback_reorder(store, project, judges, random_share=random_share, seed=seed)
    if not judges or not priorities:
        typer.echo(f"{len(priorities)} open items, in the order in which they were added")
    else:
        first, last = max(priorities), min(priorities)
        typer.echo(f"{len(priorities)} open items, uncertainty {first:.3g} first and {last:.3g} last")


@app.command("auto-annotate")
@option_group("judging", PROGRAM_OPTIONS)
def auto_annotate(
    store: Url,
    annotator: Annotated[
        list[str], typer.Option(help="rule:longer, model:PATH, or simulated:careful; repeatable.")
    ],
    judging: dict[str, Any],
    project: ProjectId = None,
    count: Annotated[int | None, number(ranges.Count, "Judgements per program in this call.")] = None,
    seed: Annotated[int, number(ranges.Seed, "Random seed of simulated annotators.")] = 0,
) -> None:
    """Annotate a project's items with programs: rules, reward models or simulated annotators.

    [bold]Examples[/bold]

      gnomon feedback auto-annotate feedback.db --project tone --annotator model:runs/rm/judge --tie 0.1

      gnomon feedback auto-annotate feedback.db --project tone --annotator rule:shorter --count 50

      gnomon feedback auto-annotate trial.db --project tone --annotator simulated:noisy,position=0.5 --replicas 3
    """
    from gnomon.api.feedback.automation import feedback_auto_annotate
    from gnomon.core.errors import translate_interrupt

    with translate_interrupt():
        summaries = feedback_auto_annotate(
            store,
            project,
            annotator,
            max_judgements=count,
            seed=seed,
            **judging,
        )
    for name, summary in summaries.items():
        skipped = f", {len(summary.skipped)} skipped ({summary.skipped[0][1]})" if summary.skipped else ""
        typer.echo(f"{name}: {summary.judged} judged{skipped}")


POWER_OPTIONS: Options = {  # the fields of `PowerSettings`
    "effect": (
        Annotated[
            float, number(POWER + ".effect", "True win rate, as an annotator without error would measure it.")
        ],
        0.6,
    ),
    "kappa": (Annotated[float, number(POWER + ".kappa", "Cohen's κ of two annotators.")], 0.4),
    "power": (
        Annotated[float, number(POWER + ".power", "Statistical power to detect a difference from 50%.")],
        0.8,
    ),
    "votes": (Annotated[int, number(POWER + ".votes", "Judgements per item.")], 3),
    "ties": (Annotated[float, number(POWER + ".ties", "Share of the judgements that are ties.")], 0.0),
    "ci_halfwidth": (
        Annotated[float, number(POWER + ".ci_halfwidth", "Half-width of the win rate's confidence interval.")],
        0.05,
    ),
    "accuracy": (
        Annotated[float, number(POWER + ".accuracy", "Target share of items with a correct majority.")],
        0.9,
    ),
    "per_annotator": (Annotated[int, number(POWER + ".per_annotator", "Judgements per annotator.")], 200),
    "alpha": (
        Annotated[
            float, number(POWER + ".alpha", "Significance level; the interval's confidence level is 1 - alpha.")
        ],
        0.05,
    ),
}


@app.command("power")
@option_group("settings", POWER_OPTIONS)
def power_command(
    settings: dict[str, Any],
    simulate: Annotated[bool, typer.Option("--simulate", help="Check the numbers by simulation.")] = False,
    seed: Annotated[int, number(ranges.Seed, "Random seed of the simulation.")] = 0,
) -> None:
    """Estimate how many judgements, items and annotators a study needs.

    [bold]Example[/bold]

      gnomon feedback power --effect 0.6 --kappa 0.4 --power 0.8 --votes 3 --simulate
    """
    from gnomon.core.config import validate
    from gnomon.feedback.planning.annotation_plan import PowerSettings
    from gnomon.feedback.planning.power_table import show

    show(validate(PowerSettings, settings, "power"), seed if simulate else None)
