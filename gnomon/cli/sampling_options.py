"""Options shared by the commands that sample: `@sampling_options(…)` adds them to a command."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from gnomon.cli.number_options import number
from gnomon.core import ranges

OF_SAMPLING = "gnomon.rollouts.sampling_params:Sampling"
BestOfN = Annotated[
    int | None, number(ranges.Finite, "Number of draws per completion, of which the best is kept.")
]
BestOfReward = Annotated[
    str | None, typer.Option(help="Chooses the best: a reward model, vader, or path/to/file.py:function.")
]
SETTINGS: dict[str, tuple[Any, Any]] = {  # of `Sampling`, with their defaults
    "temperature": (
        Annotated[float, number(ranges.Temperature, "Divides the logits; lower is more deterministic.")],
        1.0,
    ),
    "top_p": (
        Annotated[float, number(ranges.TopP, "Keep the most likely tokens up to this total probability.")],
        1.0,
    ),
    "top_k": (Annotated[int, number(ranges.TopK, "Keep this many of the most likely tokens; 0 keeps all.")], 0),
    "max_tokens": (Annotated[int, number(ranges.Tokens, "Longest completion, in tokens.")], 128),
    "min_tokens": (Annotated[int, number(OF_SAMPLING + ".min_tokens", "Shortest completion, in tokens.")], 0),
    "repetition_penalty": (
        Annotated[
            float,
            number(OF_SAMPLING + ".repetition_penalty", "Above 1: tokens that occurred before are less likely."),
        ],
        1.0,
    ),
    "no_repeat_ngram": (
        Annotated[
            int,
            number(OF_SAMPLING + ".no_repeat_ngram", "No n-gram of this size occurs twice; 0 allows all."),
        ],
        0,
    ),
    "stop": (
        Annotated[list[str] | None, typer.Option(help="A text that ends a completion; may be repeated.")],
        None,
    ),
}
OTHERS: dict[str, tuple[Any, Any]] = {
    "seed": (Annotated[int, number(ranges.Seed, "The same seed gives the same completions.")], 0),
    "best_of": (BestOfN, None),
    "reward": (BestOfReward, None),
}


@dataclass(frozen=True)
class SamplingOptions:
    """Values of the sampling options.

    Attributes:
        settings: of `gnomon.rollouts.sampling_params.Sampling`, not validated.
        seed: of the draws.
        best_of: number of draws per completion; `None` for one.
        reward: scores the draws, of which the highest is kept.
    """

    settings: dict[str, Any]
    seed: int
    best_of: int | None
    reward: str | None


def sampling_options(**defaults: Any) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """A decorator that adds the sampling options to a command, which gets them as its parameter `sampling`.

    Args:
        defaults: of options whose default differs in this command.
    """
    declared = {**SETTINGS, **OTHERS}
    added = [
        inspect.Parameter(
            name, inspect.Parameter.KEYWORD_ONLY, default=defaults.get(name, default), annotation=annotation
        )
        for name, (annotation, default) in declared.items()
    ]

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        own = [p for p in inspect.signature(command, eval_str=True).parameters.values() if p.name != "sampling"]

        @functools.wraps(command)
        def run(**given: Any) -> None:
            settings = {name: given.pop(name) for name in SETTINGS}
            settings["stop"] = settings["stop"] or ()
            others = {name: given.pop(name) for name in OTHERS}
            command(**given, sampling=SamplingOptions(settings, **others))

        # Typer reads these; without `__wrapped__` nothing inspects the inner function instead.
        del run.__dict__["__wrapped__"]
        parameters = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in own] + added
        run.__dict__["__signature__"] = inspect.Signature(parameters)
        run.__annotations__ = {p.name: p.annotation for p in parameters}
        return run

    return decorate
