"""`gnomon score`, `gnomon sample` and `gnomon chat`: models at work."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from gnomon.app.options import number
from gnomon.core import ranges

Model = Annotated[str, typer.Argument(help="Catalogue name, folder, GGUF file or hub name.")]
Temperature = Annotated[float, number(ranges.Temperature, "Divides the logits; lower is more cautious.")]
TopP = Annotated[
    float,
    number(ranges.TopP, "Keep the likeliest tokens with this much probability."),
]
TopK = Annotated[int, number(ranges.TopK, "Keep this many of the likeliest tokens; 0 keeps all.")]
Seed = Annotated[int, number(ranges.Seed, "The same seed gives the same completions.")]


class PrecisionName(StrEnum):
    """The precision of matrix products."""

    auto = "auto"
    float32 = "float32"
    bfloat16 = "bfloat16"


def score(
    model: Annotated[str, typer.Argument(help="A reward model, vader, or path/to/file.py:function.")],
    file: Annotated[Path, typer.Argument(help="Rows with a prompt and completion, or chosen and rejected.")],
    out: Annotated[
        Path | None, typer.Option(help="Where the scored rows go.", show_default="standard output")
    ] = None,
    precision: Annotated[
        PrecisionName, typer.Option(help="auto is faster where the processor has bfloat16, and rounds there.")
    ] = PrecisionName.float32,
) -> None:
    """Score completions; of preferences, say how many are ordered as people order them.

    [bold]Examples[/bold]

      gnomon score runs/rm/reward_model preferences.jsonl --out scored.jsonl

      gnomon score vader demonstrations.jsonl
    """
    from gnomon.app.scoring import accuracy_of, as_lines, score_file
    from gnomon.core.progress import console
    from gnomon.core.run_folder import write_jsonl

    rows = score_file(model, file, precision.value)
    if out is None:
        typer.echo(as_lines(rows), nl=False)
    else:
        write_jsonl(out, rows)
        console.print(f"{len(rows)} rows in {out}", markup=False, highlight=False, soft_wrap=True)
    if (said := accuracy_of(rows)) is not None:
        console.print(said, markup=False, highlight=False, soft_wrap=True)


def sample(
    model: Model,
    prompt: Annotated[str | None, typer.Option(help="One prompt, as text.")] = None,
    prompts: Annotated[Path | None, typer.Option(help="A file of prompts.")] = None,
    completions: Annotated[
        int, number(ranges.Completions, "How many for each prompt.", "-k", "--completions")
    ] = 1,
    temperature: Temperature = 1.0,
    top_p: TopP = 1.0,
    top_k: TopK = 0,
    max_tokens: Annotated[int, number(ranges.Tokens, "Length limit of a completion.")] = 128,
    seed: Seed = 0,
    best_of: Annotated[int | None, number(ranges.Finite, "Draw so many for each, and keep the best.")] = None,
    by: Annotated[
        str | None, typer.Option(help="Which is best: a reward model, vader, or path/to/file.py:function.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Write JSON lines here.", show_default="text")] = None,
) -> None:
    """Draw completions, or the best of several by a judge.

    [bold]Examples[/bold]

      gnomon sample smollm2-135m --prompt "Name three films." -k 4 --temperature 0.7

      gnomon sample runs/ppo/ppo --prompts prompts.jsonl -k 8 --out samples.jsonl

      gnomon sample runs/sft/sft --prompt "Name three films." --best-of 16 --by runs/rm/reward_model
    """
    from gnomon.app.drawing import best_of as asked_for
    from gnomon.app.drawing import draw_completions, shown
    from gnomon.core.run_folder import write_jsonl

    settings = {
        "completions": completions,
        "temperature": temperature,
        "top_p": top_p,
        "top_k": top_k,
        "max_tokens": max_tokens,
    }
    rows = draw_completions(model, prompt, prompts, settings, seed, asked_for(best_of, by))
    if out is None:
        typer.echo(shown(rows), nl=False)
    else:
        write_jsonl(out, rows)
        typer.echo(out)


def chat(
    model: Model,
    system: Annotated[str | None, typer.Option(help="What the model is told before the first turn.")] = None,
    temperature: Temperature = 0.7,
    top_p: TopP = 1.0,
    top_k: TopK = 0,
    max_tokens: Annotated[int, number(ranges.Tokens, "Length limit of an answer.")] = 256,
    seed: Seed = 0,
) -> None:
    """Talk with a model. It remembers the conversation; /reset starts anew, /quit or Ctrl-D ends.

    [bold]Examples[/bold]

      gnomon chat smollm2-135m

      echo "What is a gnomon?" | gnomon chat runs/ppo/ppo --temperature 0.3
    """
    from gnomon.app.chat import talk

    settings = {"temperature": temperature, "top_p": top_p, "top_k": top_k, "max_tokens": max_tokens}
    talk(model, settings, system=system, seed=seed)
