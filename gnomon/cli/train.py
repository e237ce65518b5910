"""The commands `gnomon train` and `gnomon evaluate`: single-stage recipes without a file, and examinations."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Annotated, Any, ClassVar

import typer
from typer.core import TyperGroup

from gnomon.cli.data import LAYOUT, layout_of
from gnomon.cli.inference import PrecisionName
from gnomon.cli.number_options import number
from gnomon.cli.option_groups import Options, option_group
from gnomon.cli.sampling_options import BestOfN, BestOfReward
from gnomon.core.errors import translate_interrupt

SETTING = re.compile(r"[A-Za-z_][\w.]*=")  # key=value, unlike any path
Settings = Annotated[list[str] | None, typer.Argument(help="key=value: any setting by name.")]
EXAMINATION = "gnomon.evaluation.examination.settings:ExaminationSettings"
CONDITION_MET = 1  # exit status if a condition of --fail-if is met


@option_group("layout", LAYOUT, layout_of)
def train(
    layout: dict[str, Any],
    algorithm: Annotated[
        str, typer.Argument(help="One that [bold]gnomon algorithms[/bold] lists, or path/to/file.py:Class.")
    ],
    model: Annotated[str, typer.Option(help="Catalogue name, folder, GGUF file or hub name.")],
    settings: Settings = None,
    data: Annotated[
        str | None,
        typer.Option(
            help="Data of sft, reward_model and other offline algorithms: a file, a pattern in quotes, -."
        ),
    ] = None,
    prompts: Annotated[str | None, typer.Option(help="Prompts of ppo and other online algorithms.")] = None,
    reward: Annotated[
        str | None, typer.Option(help="A reward model, path/to/file.py:function, or vader.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="The run folder.", show_default="runs/ALGORITHM")] = None,
) -> None:
    """Train one model with one algorithm.

    [bold]Examples[/bold]

      gnomon train sft --model smollm2-135m --data demonstrations.jsonl epochs=2

      gnomon train reward_model --model runs/sft/sft --data preferences.jsonl

      gnomon train dpo --model runs/sft/sft --data votes.csv --columns columns.yaml

      gnomon train sft --model smollm2-135m --data "{own.jsonl: 1, 'shards/*.jsonl.gz': 0.5}"

      gnomon train ppo --model runs/sft/sft --prompts prompts.jsonl --reward brief.py:score steps=50

    The model is then in OUT/ALGORITHM/model, and the whole recipe in OUT/config.yaml. The same command
    resumes a stopped training.
    """
    with translate_interrupt():
        from gnomon.core.extensions import short_name
        from gnomon.pipeline.run import run_recipe
        from gnomon.pipeline.single_stage import layout_settings, parse_settings, parse_sources, training_recipe

        sources = parse_sources(data)
        stage = {"data": sources, "prompts": prompts, "reward": reward}
        recipe = training_recipe(
            algorithm,
            model=model,
            run=str(out or Path("runs") / short_name(algorithm)),
            stage=stage,
            settings=[*parse_settings(settings or []), *layout_settings(sources or prompts, **layout)],
        )
        run_recipe(recipe)
        typer.echo(Path(recipe.run) / short_name(algorithm) / "model")


def evaluate(
    models: Annotated[
        list[str], typer.Argument(help="Two or more models; the last is the candidate. Then key=value.")
    ],
    prompts: Annotated[str, typer.Option(help="Held-out prompts.")],
    judges: Annotated[
        str, typer.Option(help="vader, reward models, file.py:function; separated by commas.")
    ] = "vader",
    independent: Annotated[
        str | None, typer.Option(help="Judges that took no part in the training; separated by commas.")
    ] = None,
    texts: Annotated[str | None, typer.Option(help="Texts by people, for perplexity.")] = None,
    reference: Annotated[
        str | None, typer.Option(help="The model that the candidate is compared with.", show_default="the first")
    ] = None,
    best_of: BestOfN = None,
    reward: BestOfReward = None,
    out: Annotated[Path, typer.Option(help="The run folder.")] = Path("runs/evaluation"),
) -> None:
    """Compare models by judges, and write a report.

    [bold]Examples[/bold]

      gnomon evaluate smollm2-135m runs/sft/sft --prompts held_out.jsonl

      gnomon evaluate runs/sft/sft runs/ppo/ppo --prompts p.jsonl --judges vader,runs/rm/reward_model
    """
    with translate_interrupt():
        from gnomon.pipeline.run import run_recipe
        from gnomon.pipeline.single_stage import evaluation_recipe, parse_settings

        stage = {
            "judges": names_in(judges),
            "independent": names_in(independent) if independent else None,
            "prompts": prompts,
            "texts": texts,
            "reference": reference,
            "best_of": best_of_row(best_of, reward),
        }
        recipe = evaluation_recipe(
            [name for name in models if not SETTING.match(name)],
            run=str(out),
            stage=stage,
            settings=parse_settings(name for name in models if SETTING.match(name)),
        )
        typer.echo(run_recipe(recipe))


class EvaluateGroup(TyperGroup):
    """The group of evaluations; without the name of one, the arguments are those of `models`."""

    default_command: ClassVar[str] = "models"

    def parse_args(self, context: Any, arguments: list[str]) -> list[str]:
        """Put the default command before arguments that name none."""
        if arguments and arguments[0] not in (*self.commands, *context.help_option_names):
            arguments = [self.default_command, *arguments]
        return super().parse_args(context, arguments)


evaluations = typer.Typer(
    cls=EvaluateGroup,
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="""Compare language models by judges, or examine rewards on held-out judgements.

    [bold]Examples[/bold]

      gnomon evaluate smollm2-135m runs/sft/sft --prompts held_out.jsonl

      gnomon evaluate reward runs/rm/reward_model vader --data held_out_pairs.jsonl

    Without the name of a command the arguments are those of models.
    """,
)
evaluations.command("models")(evaluate)

SETTINGS: Options = {  # the fields of `ExaminationSettings`
    "category": (
        Annotated[
            str, typer.Option(help="Column of the categories; a.b for a nested one.", show_default="detected")
        ],
        "",
    ),
    "perturbed": (
        Annotated[int, number(f"{EXAMINATION}.perturbed", "Pairs for robustness and other prompts; 0 for none.")],
        300,
    ),
    "bins": (Annotated[int, number(f"{EXAMINATION}.bins", "Bins of calibration.")], 10),
    "resamples": (Annotated[int, number(f"{EXAMINATION}.resamples", "Resamples of the bootstrap.")], 1000),
    "seed": (Annotated[int, number(f"{EXAMINATION}.seed", "Of everything random.")], 0),
}


@evaluations.command("reward")
@option_group("layout", LAYOUT, layout_of)
@option_group("settings", SETTINGS)
def evaluate_reward(
    rewards: Annotated[
        list[str],
        typer.Argument(help="Reward models, vader, ridge, or path/to/file.py:function; one or several."),
    ],
    data: Annotated[
        list[str],
        typer.Option(help="Held-out pairs, rankings, ratings or rows of a benchmark; may be repeated."),
    ],
    layout: dict[str, Any],
    settings: dict[str, Any],
    judge_holdout: Annotated[
        Path | None, typer.Option(help="Rated texts for ridge to learn from.", show_default="no ridge")
    ] = None,
    fail_if: Annotated[
        list[str] | None,
        typer.Option(help="FIGURE<NUMBER: exit with status 1 if a reward meets it; may be repeated."),
    ] = None,
    as_json_object: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    html: Annotated[
        Path | None, typer.Option(help="Write a page with pictures here.", show_default="no page")
    ] = None,
    precision: Annotated[
        PrecisionName, typer.Option(help="auto is faster on processors with bfloat16, with rounding.")
    ] = PrecisionName.float32,
) -> None:
    """Examine rewards on held-out pairs, rankings or ratings of people.

    [bold]Examples[/bold]

      gnomon evaluate reward runs/rm/reward_model --data held_out.jsonl --html examination.html

      gnomon evaluate reward runs/rm/reward_model vader --data pairs.jsonl --data bench.jsonl --json

      gnomon evaluate reward brief.py:score --data pairs.jsonl --fail-if "accuracy<0.7" --fail-if "ece>0.1"

    The exit status is 1 if a reward meets a condition of --fail-if, or if its figure is undefined.
    """
    from gnomon.api.reward_examination import evaluate_reward as examine
    from gnomon.cli.out_file import check_out
    from gnomon.evaluation.examination.text_report import show_examination

    check_out(html, [*data, *rewards, judge_holdout], "--html")
    result = examine(
        rewards,
        data,
        judge_holdout=judge_holdout,
        fail_if=fail_if or (),
        precision=precision.value,
        **layout,
        **settings,
    )
    if as_json_object:
        typer.echo(json.dumps(result.model_dump(), ensure_ascii=False, indent=2))
    else:
        show_examination(result)
    if html is not None:
        from gnomon.reporting.examination_page import write_examination

        write_examination(result, html)
    for sentence in result.failed_conditions:
        typer.echo(f"failed: {sentence}", err=True)
    if result.failed_conditions:
        raise typer.Exit(CONDITION_MET)


def best_of_row(n: int | None, reward: str | None) -> dict[str, object] | None:
    """A stage's `best_of` from the two options, which go together."""
    from gnomon.core.errors import ConfigError

    if (n is None) != (reward is None):
        raise ConfigError(
            "--best-of and --reward go together; give the number of draws, and the judge that chooses."
        )
    return None if n is None else {"n": n, "judge": reward}


def names_in(text: str) -> list[str]:
    """The names in a comma-separated list."""
    return [name.strip() for name in text.split(",") if name.strip()]
