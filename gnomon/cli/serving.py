"""The commands `gnomon serve` and `gnomon export-decision`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gnomon.cli.inference import PrecisionName
from gnomon.cli.number_options import number
from gnomon.core import ranges


def serve(
    model: Annotated[str, typer.Argument(help="A reward model, MODEL#HEAD, vader, or path/to/file.py:function.")],
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, number(ranges.Port, "Port to listen on; 0 takes a free one.")] = 8000,
    token_file: Annotated[
        Path | None,
        typer.Option(help="File with the token that requests must send; needed for another --host."),
    ] = None,
    precision: Annotated[
        PrecisionName, typer.Option(help="auto is faster on processors with bfloat16, with rounding.")
    ] = PrecisionName.float32,
) -> None:
    """Serve scores and decisions of a reward over HTTP, for trainers and other programs, until Ctrl-C.

    [bold]Examples[/bold]

      gnomon serve runs/rm/reward_model

      gnomon serve Skywork/Skywork-Reward-V2-Qwen3-0.6B --port 5000

      gnomon serve runs/rm/reward_model --host 0.0.0.0 --token-file token.txt

      curl -s localhost:8000/v1/score -d '{"prompts": ["Name a film."], "completions": ["Alien."]}'
    """
    from gnomon.api.score import serve as serve_model

    serve_model(model, host=host, port=port, token_file=token_file, precision=precision.value)


def export_decision(
    model: Annotated[str, typer.Argument(help="A reward model, or MODEL#HEAD.")],
    out: Annotated[Path, typer.Argument(help="The new folder.")],
) -> None:
    """Save a reward model as a decision model: transformers' pipeline loads the folder without Gnomon.

    [bold]Examples[/bold]

      gnomon export-decision runs/rm/reward_model decider

      python -c 'from transformers import pipeline; print(pipeline("decision", model="decider", \
      trust_remote_code=True)({"prompt": "Name a film.", "choices": ["Alien.", "I cannot."]}))'
    """
    from gnomon.api.score import export_decision as export

    task = export(model, out)
    typer.echo(f'{out}: pipeline("{task}", model="{out}", trust_remote_code=True)')
