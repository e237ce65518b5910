"""What authors are asked for: a ladder of temperatures, other wordings, and how alike two answers may be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated

from pydantic import Field

from gnomon.core.config import Settings
from gnomon.core.ranges import Range, Seed, Temperature, Tokens, TopP
from gnomon.core.storage.digests import digest
from gnomon.core.types import Message, Prompt
from gnomon.feedback.generation.generators import Order, spoken
from gnomon.feedback.selection.prompts import similarity

TRIES = 4  # at an answer that is unlike the others: plain, hotter, and twice with another wording
HOTTER = 0.3  # added to the temperature at each further try
HOTTEST = 2.0  # what OpenAI's interface allows
WORDINGS = {
    "en": (
        "Answer briefly, in your own words.",
        "Answer in detail, and give an example.",
        "Take another point of view than most would.",
    ),
    "zh": ("请用自己的话简短回答。", "请详细回答，并举一个例子。", "请换一个与众不同的角度来回答。"),
}


class Drawing(Settings):
    """How many answers are drawn, and how.

    Attributes:
        count: answers of each author to each prompt.
        temperatures: a ladder; an author's answers to a prompt take its steps in turn.
        max_tokens: length limit of an answer.
        top_p: the smallest set of tokens with at least this probability is drawn from.
        alike: from this similarity on two answers to a prompt are nearly the same (`bank.similarity`).
        wordings: added to a prompt whose answers are too alike; empty takes `WORDINGS`.
        seed: of everything that is drawn.
    """

    count: Annotated[int, Range("it counts answers of an author to a prompt", ge=1, le=10**6)] = 2
    temperatures: tuple[Temperature, ...] = Field(default=(0.7, 1.0, 1.3), min_length=1)
    max_tokens: Tokens = 256
    top_p: TopP = 1.0
    alike: Annotated[float, Range("it is a similarity, and at 0 all answers would be alike", gt=0, le=1)] = 0.7
    wordings: tuple[str, ...] = ()
    seed: Seed = 0


def order_for(prompt: Prompt, number: int, tried: int, drawing: Drawing) -> Order:
    """What is asked for an answer: further tries are hotter, and from the third on worded otherwise."""
    ladder = drawing.temperatures
    temperature = ladder[number % len(ladder)]
    if tried:
        temperature = round(max(temperature, min(HOTTEST, temperature + HOTTER * tried)), 6)
    wording = wording_for(prompt, number, tried, drawing)
    asked = reworded(prompt, wording) if wording else prompt
    mark = digest([drawing.seed, spoken(prompt), number, tried])
    seed = int(mark[:8], 16) & 0x7FFFFFFF  # what servers take
    return Order(asked, temperature, drawing.top_p, drawing.max_tokens, seed)


def wording_for(prompt: Prompt, number: int, tried: int, drawing: Drawing) -> str:
    """What is added to the prompt at this try; nothing at the first two."""
    if tried < 2:
        return ""
    chinese = any("一" <= c <= "鿿" for m in prompt.messages for c in m.content)
    wordings = drawing.wordings or WORDINGS["zh" if chinese else "en"]
    return wordings[(number + tried) % len(wordings)]


def reworded(prompt: Prompt, wording: str) -> Prompt:
    """The prompt with a sentence more at its end."""
    *before, last = prompt.messages
    return replace(prompt, messages=(*before, Message(last.role, f"{last.content}\n\n{wording}")))


def too_alike(text: str, others: Sequence[str], alike: float) -> bool:
    """Whether a text is empty, or nearly one of the others."""
    if not text.strip():
        return True
    one = _as_turn(text)
    return any(similarity(one, _as_turn(other)) >= alike for other in others)


def _as_turn(text: str) -> Prompt:
    return Prompt("", (Message("assistant", text),))
