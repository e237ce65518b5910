"""Options shared by the commands that sample: `@sampling_options(…)` adds them to a command."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from gnomon.cli.number_options import number
from gnomon.cli.option_groups import Command, Options, option_group
from gnomon.core import ranges

SAMPLING = "gnomon.rollouts.sampling_params:Sampling"
BestOfN = Annotated[
    int | None, number(ranges.Finite, "Number of draws per completion; the best one is returned.")
]
BestOfReward = Annotated[
    str | None, typer.Option(help="Chooses the best: a reward model, vader, or path/to/file.py:function.")
]
SETTINGS: Options = {  # the fields of `Sampling`
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
    "min_tokens": (Annotated[int, number(SAMPLING + ".min_tokens", "Shortest completion, in tokens.")], 0),
    "repetition_penalty": (
        Annotated[
            float,
            number(SAMPLING + ".repetition_penalty", "Above 1: tokens that occurred before are less likely."),
        ],
        1.0,
    ),
    "no_repeat_ngram": (
        Annotated[
            int,
            number(SAMPLING + ".no_repeat_ngram", "No n-gram of this size occurs twice; 0 allows all."),
        ],
        0,
    ),
    "stop": (
        Annotated[list[str] | None, typer.Option(help="A text that ends a completion; may be repeated.")],
        None,
    ),
}
OTHERS: Options = {
    "seed": (Annotated[int, number(ranges.Seed, "The same seed gives the same completions.")], 0),
    "best_of": (BestOfN, None),
    "reward": (BestOfReward, None),
}


@dataclass(frozen=True)
class SamplingOptions:
    """Values of the sampling options.

    Attributes:
        settings: fields of `gnomon.rollouts.sampling_params.Sampling`, not validated.
        seed: seed of the draws.
        best_of: number of draws per completion; `None` for one.
        reward: scores the draws; the draw with the highest score is returned.
    """

    settings: dict[str, Any]
    seed: int
    best_of: int | None
    reward: str | None


def sampling_options(**defaults: Any) -> Callable[[Command], Command]:
    """A decorator that adds the sampling options to a command, which gets them as its parameter `sampling`.

    Args:
        defaults: defaults of this command, by option.
    """
    options = {
        name: (annotation, defaults.get(name, default))
        for name, (annotation, default) in {**SETTINGS, **OTHERS}.items()
    }
    return option_group("sampling", options, _sampling_options)


def _sampling_options(values: dict[str, Any]) -> SamplingOptions:
    settings = {name: values[name] for name in SETTINGS}
    settings["stop"] = settings["stop"] or ()
    return SamplingOptions(settings, **{name: values[name] for name in OTHERS})
