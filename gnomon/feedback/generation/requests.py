"""Generation requests: temperatures, rephrased prompts, and the similarity limit between completions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated

from pydantic import Field

from gnomon.core.config import Settings
from gnomon.core.ranges import Range, Seed, Temperature, Tokens, TopP
from gnomon.core.storage.digests import digest
from gnomon.core.types import Message, Prompt
from gnomon.feedback.generation.generators import GenerationRequest, message_texts
from gnomon.feedback.selection.prompts import similarity

TRIES = 4  # for a completion unlike the others: plain, at a higher temperature, and twice with a rephrased prompt
TEMPERATURE_STEP = 0.3  # added to the temperature at each further attempt
MAX_TEMPERATURE = 2.0  # the maximum of OpenAI's API
REPHRASINGS = {
    "en": (
        "Answer briefly, in your own words.",
        "Answer in detail, and give an example.",
        "Take another point of view than most would.",
    ),
    "zh": ("请用自己的话简短回答。", "请详细回答，并举一个例子。", "请换一个与众不同的角度来回答。"),
}


class GenerationSettings(Settings):
    """Number of completions and sampling settings.

    Attributes:
        count: completions per generator and prompt.
        temperatures: a generator's completions of a prompt cycle through them.
        max_tokens: length limit of a completion.
        top_p: nucleus sampling threshold.
        similarity: completions at least this similar to another are dropped (`selection.prompts.similarity`).
        rephrasings: sentences added to a prompt whose completions are too similar; empty: `REPHRASINGS`.
        seed: seed of all sampling.
    """

    count: Annotated[int, Range("it counts completions per generator and prompt", ge=1, le=10**6)] = 2
    temperatures: tuple[Temperature, ...] = Field(default=(0.7, 1.0, 1.3), min_length=1)
    max_tokens: Tokens = 256
    top_p: TopP = 1.0
    similarity: Annotated[float, Range("it is a similarity, and at 0 all would be too similar", gt=0, le=1)] = 0.7
    rephrasings: tuple[str, ...] = ()
    seed: Seed = 0


def request_for(prompt: Prompt, number: int, attempt: int, settings: GenerationSettings) -> GenerationRequest:
    """The request for an attempt: later ones have a higher temperature, from the third on a rephrased prompt.

    Args:
        prompt: prompt of the project.
        number: index among the generator's completions of this prompt.
        attempt: from 0.
        settings: settings of the generation.
    """
    temperature = settings.temperatures[number % len(settings.temperatures)]
    if attempt:
        temperature = round(max(temperature, min(MAX_TEMPERATURE, temperature + TEMPERATURE_STEP * attempt)), 6)
    rephrasing = rephrasing_for(prompt, number, attempt, settings)
    rephrased_prompt = rephrased(prompt, rephrasing) if rephrasing else prompt
    mark = digest([settings.seed, message_texts(prompt), number, attempt])
    seed = int(mark[:8], 16) & 0x7FFFFFFF  # the range that servers accept
    return GenerationRequest(rephrased_prompt, temperature, settings.top_p, settings.max_tokens, seed)


def rephrasing_for(prompt: Prompt, number: int, attempt: int, settings: GenerationSettings) -> str:
    """The sentence added to the prompt at this attempt; empty at the first two.

    Args:
        prompt: prompt of the project.
        number: index among the generator's completions of this prompt.
        attempt: from 0.
        settings: settings of the generation.
    """
    if attempt < 2:
        return ""
    chinese = any("一" <= c <= "鿿" for m in prompt.messages for c in m.content)
    rephrasings = settings.rephrasings or REPHRASINGS["zh" if chinese else "en"]
    return rephrasings[(number + attempt) % len(rephrasings)]


def rephrased(prompt: Prompt, rephrasing: str) -> Prompt:
    """The prompt with a sentence appended to its last message."""
    *before, last = prompt.messages
    return replace(prompt, messages=(*before, replace(last, content=f"{last.content}\n\n{rephrasing}")))


def too_similar(text: str, others: Sequence[str], limit: float) -> bool:
    """Whether a text is empty or at least as similar as the limit to one of the others.

    Args:
        text: text to check.
        others: existing completions.
        limit: similarity limit, in (0, 1].
    """
    if not text.strip():
        return True
    prompt = _as_prompt(text)
    return any(similarity(prompt, _as_prompt(other)) >= limit for other in others)


def _as_prompt(text: str) -> Prompt:
    return Prompt("", (Message("assistant", text),))
