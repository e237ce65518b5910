"""Conditions on figures, such as `accuracy<0.7`, under which an examination counts as failed."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from gnomon.core.errors import ConfigError
from gnomon.evaluation.examination.figures import Figures

OPERATORS: dict[str, Callable[[float, float], bool]] = {
    "<=": operator.le, ">=": operator.ge, "<": operator.lt, ">": operator.gt,
}  # fmt: skip
CONDITION = re.compile(r"\s*(?P<figure>[^<>=]+?)\s*(?P<sign><=|>=|<|>)\s*(?P<limit>[^<>=\s]+)\s*")


@dataclass(frozen=True, slots=True)
class Condition:
    """A figure that is compared with a limit.

    Attributes:
        figure: name of the figure.
        sign: `<`, `<=`, `>` or `>=`.
        limit: the limit.
    """

    figure: str
    sign: str
    limit: float

    def __str__(self) -> str:
        return f"{self.figure}{self.sign}{self.limit:g}"


def parse_condition(text: str) -> Condition:
    """Parse `FIGURE<NUMBER`; the sign may be `<`, `<=`, `>` or `>=`.

    Raises:
        ConfigError: it has another form, or the limit is not a finite number.
    """
    match = CONDITION.fullmatch(text)
    try:
        limit = float(match["limit"]) if match else math.nan
    except ValueError:
        limit = math.nan
    if match is None or not math.isfinite(limit):
        raise ConfigError(f"the condition '{text}' is not of the form FIGURE<NUMBER, as in accuracy<0.7.")
    return Condition(match["figure"], match["sign"], limit)


def parse_conditions(texts: Sequence[str], known: Sequence[str]) -> list[Condition]:
    """Parse conditions on figures of these names.

    Raises:
        ConfigError: one has another form, or names no figure.
    """
    conditions = [parse_condition(text) for text in texts]
    for condition in conditions:
        if condition.figure not in known:
            raise ConfigError(f"'{condition.figure}' is no figure; choose one of {', '.join(known)}.")
    return conditions


def met_conditions(conditions: Sequence[Condition], figures: Mapping[str, Figures]) -> list[str]:
    """Return a sentence for each condition that a reward meets, or whose figure is undefined for it.

    An undefined figure counts as met: what was not measured has not passed.
    """
    sentences = []
    for condition in conditions:
        for reward, some in figures.items():
            value = some.get(condition.figure)
            if value is None:
                sentences.append(f"{reward}: {condition.figure} is undefined, so {condition} cannot be checked")
            elif OPERATORS[condition.sign](value, condition.limit):
                sentences.append(f"{reward}: {condition.figure} is {value:.4g}, which meets {condition}")
    return sentences
