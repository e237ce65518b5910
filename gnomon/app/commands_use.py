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
OF_SAMPLING = "gnomon.rollouts.sampling:Sampling"
MinTokens = Annotated[int, number(OF_SAMPLING + ".min_tokens", "No end before so many tokens.")]
RepetitionPenalty = Annotated[
    float, number(OF_SAMPLING + ".repetition_penalty", "Above 1: tokens that were there already are less likely.")
]
NoRepeatNgram = Annotated[
    int, number(OF_SAMPLING + ".no_repeat_ngram", "No n-gram of so many tokens comes twice; 0 allows all.")
]
Stop = Annotated[list[str] | None, typer.Option(help="A text that ends a completion; several times.")]
BestOfN = Annotated[int | None, number(ranges.Finite, "Draw so many for each, and keep the best.")]
By = Annotated[
    str | None, typer.Option(help="Which is best: a reward model, vader, or path/to/file.py:function.")
]
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

    Of files of RewardBench 1 and 2, which name a subset in each row, its own scores follow.

    [bold]Examples[/bold]

      gnomon score runs/rm/reward_model preferences.jsonl --out scored.jsonl

      gnomon score vader demonstrations.jsonl
    """
    from gnomon.app.out_file import check_out
    from gnomon.app.scoring import accuracy_of, as_lines, bench_lines, score_file
    from gnomon.core.progress import console
    from gnomon.core.run_folder import write_jsonl

    check_out(out, [file, model])
    rows = score_file(model, file, precision.value)
    if out is None:
        typer.echo(as_lines(rows), nl=False)
    else:
        write_jsonl(out, rows)
        console.print(f"{len(rows)} rows in {out}", markup=False, highlight=False, soft_wrap=True)
    said = accuracy_of(rows)
    for line in [*([said] if said else []), *bench_lines(file, rows)]:
        console.print(line, markup=False, highlight=False, soft_wrap=True)


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
    min_tokens: MinTokens = 0,
    repetition_penalty: RepetitionPenalty = 1.0,
    no_repeat_ngram: NoRepeatNgram = 0,
    stop: Stop = None,
    best_of: BestOfN = None,
    by: By = None,
    out: Annotated[Path | None, typer.Option(help="Write JSON lines here.", show_default="text")] = None,
) -> None:
    """Draw completions, or the best of several by a judge.

    [bold]Examples[/bold]

      gnomon sample smollm2-135m --prompt "Name three films." -k 4 --temperature 0.7

      gnomon sample runs/ppo/ppo --prompts prompts.jsonl -k 8 --out samples.jsonl

      gnomon sample runs/sft/sft --prompt "Name three films." --best-of 16 --by runs/rm/reward_model
    """
    from gnomon.app.drawing import draw_completions, shown
    from gnomon.app.out_file import check_out
    from gnomon.core.run_folder import write_jsonl

    settings = {
        "completions": completions,
        "temperature": temperature,
        "top_p": top_p,
        "top_k": top_k,
        "max_tokens": max_tokens,
        "min_tokens": min_tokens,
        "repetition_penalty": repetition_penalty,
        "no_repeat_ngram": no_repeat_ngram,
        "stop": stop or (),
    }
    check_out(out, [prompts, model, by])
    rows = draw_completions(model, prompt, prompts, settings, seed, best_of, by)
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
    min_tokens: MinTokens = 0,
    repetition_penalty: RepetitionPenalty = 1.0,
    no_repeat_ngram: NoRepeatNgram = 0,
    stop: Stop = None,
    best_of: BestOfN = None,
    by: By = None,
    seed: Seed = 0,
) -> None:
    """Talk with a model. It remembers the conversation; /reset starts anew, /quit or Ctrl-D ends.

    [bold]Examples[/bold]

      gnomon chat smollm2-135m

      echo "What is a gnomon?" | gnomon chat runs/ppo/ppo --temperature 0.3
    """
    from gnomon.app.chat import talk

    settings = {
        "temperature": temperature,
        "top_p": top_p,
        "top_k": top_k,
        "max_tokens": max_tokens,
        "min_tokens": min_tokens,
        "repetition_penalty": repetition_penalty,
        "no_repeat_ngram": no_repeat_ngram,
        "stop": stop or (),
    }
    talk(model, settings, system=system, seed=seed, best=best_of, by=by)
