"""The commands `gnomon score`, `gnomon sample` and `gnomon chat`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from gnomon.cli.number_options import number
from gnomon.cli.sampling_options import SamplingOptions, sampling_options
from gnomon.core import ranges
from gnomon.data.reading.counting import counted

Model = Annotated[str, typer.Argument(help="Catalogue name, folder, GGUF file or hub name.")]


class PrecisionName(StrEnum):
    """The precision of matrix products."""

    auto = "auto"
    float32 = "float32"
    bfloat16 = "bfloat16"


def score(
    model: Annotated[str, typer.Argument(help="A reward model, vader, path/to/file.py:function, or a server.")],
    file: Annotated[Path, typer.Argument(help="Rows with a prompt and completion, or chosen and rejected.")],
    out: Annotated[
        Path | None, typer.Option(help="The file of scored rows.", show_default="standard output")
    ] = None,
    precision: Annotated[
        PrecisionName, typer.Option(help="auto is faster on processors with bfloat16, with rounding.")
    ] = PrecisionName.float32,
) -> None:
    """Score completions; for preferences, print the share that is ordered as people order them.

    For files of RewardBench 1 and 2, which name a subset in each row, its own scores follow.

    [bold]Examples[/bold]

      gnomon score runs/rm/reward_model preferences.jsonl --out scored.jsonl

      gnomon score vader demonstrations.jsonl
    """
    from gnomon.api.score import accuracy_of, as_lines, bench_lines, score_file
    from gnomon.cli.out_file import check_out
    from gnomon.core.progress import console
    from gnomon.core.storage.files import write_jsonl

    check_out(out, [file, model])
    rows = score_file(model, file, precision.value)
    if out is None:
        typer.echo(as_lines(rows), nl=False)
    else:
        write_jsonl(out, rows)
        console.print(f"{counted(len(rows), 'rows')} in {out}", markup=False, highlight=False, soft_wrap=True)
    accuracy = accuracy_of(rows)
    for line in [*([accuracy] if accuracy else []), *bench_lines(file, rows)]:
        console.print(line, markup=False, highlight=False, soft_wrap=True)


@sampling_options()
def sample(
    model: Model,
    sampling: SamplingOptions,
    prompt: Annotated[str | None, typer.Option(help="One prompt, as text.")] = None,
    prompts: Annotated[Path | None, typer.Option(help="A file of prompts.")] = None,
    completions: Annotated[int, number(ranges.Completions, "Completions per prompt.", "-k", "--completions")] = 1,
    out: Annotated[Path | None, typer.Option(help="Write JSON lines here.", show_default="text")] = None,
) -> None:
    """Sample completions, or the best of several by a reward.

    [bold]Examples[/bold]

      gnomon sample smollm2-135m --prompt "Name three films." -k 4 --temperature 0.7

      gnomon sample runs/ppo/ppo --prompts prompts.jsonl -k 8 --out samples.jsonl

      gnomon sample runs/sft/sft --prompt "Name three films." --best-of 16 --reward runs/rm/reward_model
    """
    from gnomon.api.generate import as_text, completion_rows
    from gnomon.cli.out_file import check_out
    from gnomon.core.storage.files import write_jsonl

    check_out(out, [prompts, model, sampling.reward])
    settings = {**sampling.settings, "completions": completions}
    rows = completion_rows(model, prompt, prompts, settings, sampling.seed, sampling.best_of, sampling.reward)
    if out is None:
        typer.echo(as_text(rows), nl=False)
    else:
        write_jsonl(out, rows)
        typer.echo(out)


@sampling_options(temperature=0.7, max_tokens=256)
def chat(
    model: Model,
    sampling: SamplingOptions,
    system: Annotated[str | None, typer.Option(help="The system message.")] = None,
) -> None:
    """Chat with a model. It remembers the conversation; /reset clears it, /quit or Ctrl-D ends it.

    [bold]Examples[/bold]

      gnomon chat smollm2-135m

      echo "What is a gnomon?" | gnomon chat runs/ppo/ppo --temperature 0.3
    """
    from gnomon.api.chat import talk

    talk(
        model, sampling.settings, system=system, seed=sampling.seed, best=sampling.best_of, reward=sampling.reward
    )
