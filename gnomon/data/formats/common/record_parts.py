"""Parts of records that not every layout has a place for, so that a conversion can count what it leaves out."""

from __future__ import annotations

import json
from typing import Any

from gnomon.core.types import (
    Completion,
    Demonstration,
    Label,
    MediaPart,
    Message,
    Preference,
    Prompt,
    Ranking,
    RatedText,
)
from gnomon.data.reading.media.parts import media_of
from gnomon.data.reading.messages import context_fingerprint, fingerprint
from gnomon.data.reading.row_fields import name_of

PROMPT_IDS = "ids of prompts"
COMPLETION_IDS = "ids of completions"
SOURCES = "sources of completions"
ANSWERS = "known answers"
CALL_IDS = "ids of tool calls"
RESULT_NAMES = "names of tools' results"
MEDIA_OPTIONS = "options of images, sounds and videos"
MARGINS = "margins"
PROBABILITIES = "probabilities"
TIES = "shares of ties"
WEIGHTS = "weights"
STRENGTH = frozenset({MARGINS, PROBABILITIES, TIES, WEIGHTS})


def parts_of(record: Demonstration | Label | Preference | Prompt | Ranking | RatedText) -> list[str]:
    """Return which of these parts a record has; ids that were computed and values by default are none.

    Args:
        record: a record of a kind that some layout of another tool holds.
    """
    prompt = record if isinstance(record, Prompt) else record.prompt
    if prompt is None:
        return []
    completions = completions_of(record)
    turns = [*prompt.messages, *(turn for one in completions for turn in one.turns or ())]
    present = {
        PROMPT_IDS: prompt.id != name_of(context_fingerprint(prompt)),
        COMPLETION_IDS: any(one.id != _computed_id(one) for one in completions),
        SOURCES: any(one.source for one in completions),
        ANSWERS: prompt.answer is not None,
        CALL_IDS: any(map(_has_call_id, turns)),
        RESULT_NAMES: any(turn.name is not None for turn in turns),
        MEDIA_OPTIONS: any(one.options for one in media_of(turns)),
        MARGINS: getattr(record, "margin", 0.0) != 0,
        PROBABILITIES: getattr(record, "probability", 1.0) != 1,
        TIES: getattr(record, "tie", 0.0) != 0,
        WEIGHTS: getattr(record, "weight", 1.0) != 1,
    }
    return [part for part, there in present.items() if there]


def completions_of(record: Any) -> tuple[Completion, ...]:
    """Return the completions of a record, best first if known; none for prompts and rated texts."""
    if isinstance(record, Preference):
        return record.chosen, record.rejected
    if isinstance(record, Ranking):
        return record.completions
    return () if isinstance(record, Prompt | RatedText) else (record.completion,)


def record_media(record: Any) -> tuple[MediaPart, ...]:
    """Return the images, sounds and videos of a record: of its prompt, then of its completions."""
    prompt = record if isinstance(record, Prompt) else record.prompt
    turns = [turn for one in completions_of(record) for turn in one.turns or ()]
    return media_of([*(prompt.messages if prompt else ()), *turns])


def _computed_id(completion: Completion) -> str:
    return name_of(completion.text if completion.turns is None else fingerprint(completion.turns))


def _has_call_id(turn: Message) -> bool:
    return turn.tool_call_id is not None or any("id" in json.loads(call) for call in turn.tool_calls)
