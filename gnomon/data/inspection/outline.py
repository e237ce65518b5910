"""Outlines of records: the few numbers of each that facts and problems need, however large the file is."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

from gnomon.core.types import Completion, Label, Preference, Prompt, RatedText
from gnomon.data.encoding import encode_answer, message_texts
from gnomon.data.quality.texts import digest
from gnomon.data.reading.media.parts import media_of
from gnomon.data.reading.media.values import NOUNS
from gnomon.data.reading.messages import context_fingerprint, fingerprint
from gnomon.data.records import completions_of, prompt_digest, prompt_of_record, record_media
from gnomon.data.scripts import script_counts
from gnomon.data.templates.control_tokens import ControlCounts
from gnomon.data.templates.rendering import render_prompt

ECHO = 8  # characters of a prompt, from which on an answer that starts with it repeats it
TOKENIZED = 2_000_000  # characters of a record; longer ones fit no context, and take minutes


@dataclass(frozen=True, slots=True)
class Outline:
    """The numbers of one record.

    Attributes:
        where: position of its row.
        prompt: id of the prompt; `None` without one.
        prompt_content: digest of the prompt.
        content: digest of all texts with the label or the ratings: equal rows have equal ones.
        completions: digest of each completion.
        prompt_size: characters of the prompt.
        sizes: characters of each completion.
        text_size: characters of a rated text.
        empty: number of completions without a text.
        echoes: whether a completion starts with the last text of its prompt.
        good: the label, if it is one.
        probability: of a preference.
        sides: of a preference, digests of the prompt with both sides in their order and in the other one.
        has_answer: whether it is a prompt with a known answer.
        media: the numbers of its images, sounds and videos, in that order.
        tokens: with a tokenizer, the tokens of the prompt and of each completion; `None` if it is too long or has
            media.
    """

    where: str
    prompt: str | None
    prompt_content: bytes
    content: int
    completions: tuple[int, ...]
    prompt_size: int
    sizes: tuple[int, ...]
    text_size: int | None
    empty: int
    echoes: bool
    good: bool | None
    probability: float | None
    sides: tuple[int, int] | None
    has_answer: bool
    media: tuple[int, ...] = ()
    tokens: tuple[int, tuple[int, ...]] | None = None


def outline(record: Any, where: str, tokenizer: Any = None, counts: ControlCounts | None = None) -> Outline:
    """Return the outline of a record.

    Args:
        record: of any kind.
        where: position of its row.
        tokenizer: with it, tokens are counted.
        counts: collects control tokens, with a tokenizer.

    Raises:
        DataError: the tokenizer's chat template refuses the record.
    """
    prompt, completions = prompt_of_record(record), completions_of(record)
    context = "" if prompt is None else context_fingerprint(prompt)
    answers = [completion_key(one) for one in completions]
    good = record.good if isinstance(record, Label) else None
    text = record.text if isinstance(record, RatedText) else None
    preference = record if isinstance(record, Preference) else None
    return Outline(
        where=where,
        prompt=None if prompt is None else prompt.id,
        prompt_content=b"" if prompt is None else prompt_digest(prompt),
        content=digest(context, text or "", *answers, repr(good), repr(getattr(record, "ratings", None))),
        completions=tuple(map(digest, answers)),
        prompt_size=0 if prompt is None else sum(map(len, message_texts(prompt))),
        sizes=tuple(size_of(one) for one in completions),
        text_size=None if text is None else len(text),
        empty=sum(map(is_empty, completions)),
        echoes=prompt is not None and any(echoes(one, prompt) for one in completions),
        good=good,
        probability=None if preference is None else preference.probability,
        sides=None if preference is None else (digest(context, *answers), digest(context, *answers[::-1])),
        has_answer=isinstance(record, Prompt) and record.answer is not None,
        media=media_counts(record),
        tokens=None if tokenizer is None else count_tokens(record, tokenizer, counts or ControlCounts()),
    )


def media_counts(record: Any) -> tuple[int, ...]:
    """Return the numbers of a record's images, sounds and videos; empty for one that is text alone."""
    counts = Counter(one.kind for one in record_media(record))
    return tuple(counts[kind] for kind in NOUNS) if counts else ()


def completion_key(completion: Completion) -> str:
    """Return a text that equal completions share: their turns, or their text."""
    return completion.text if completion.turns is None else fingerprint(completion.turns)


def is_empty(completion: Completion) -> bool:
    """Return whether a completion has neither a text, nor a tool call, nor media."""
    return not completion.text.strip() and not _in_calls(completion) and not media_of(completion.turns or ())


def echoes(completion: Completion, prompt: Prompt) -> bool:
    """Return whether a completion starts with the last text of its prompt, if that is long enough to tell."""
    question = prompt.messages[-1].content.strip()
    return len(question) >= ECHO and completion.text.lstrip().startswith(question)


def size_of(completion: Completion) -> int:
    """Return the characters of a completion, with its tool calls."""
    return len(completion.text) + _in_calls(completion)


def _in_calls(completion: Completion) -> int:
    return sum(len(call) for turn in completion.turns or () for call in turn.tool_calls)


def characters(record: Any) -> int:
    """Count the characters of a record's texts."""
    prompt = prompt_of_record(record)
    texts = [] if prompt is None else message_texts(prompt)
    return sum(map(len, (*texts, *(text for one in completions_of(record) for text in message_texts(one)))))


def count_tokens(record: Any, tokenizer: Any, counts: ControlCounts) -> tuple[int, tuple[int, ...]] | None:
    """Count the tokens of a record's prompt and of each completion, as in training.

    Records that are too long, or have media, have no such numbers: `None`.

    Args:
        record: of any kind.
        tokenizer: of the model that will learn from it.
        counts: collects control tokens in the texts.
    """
    prompt = prompt_of_record(record)
    if prompt is None or characters(record) > TOKENIZED or record_media(record):
        return None
    prompt_ids = render_prompt(tokenizer, prompt)
    answers = [encode_answer(tokenizer, prompt, one, record.where)[0] for one in completions_of(record)]
    counts.add(tokenizer, prompt, completions_of(record))
    return len(prompt_ids), tuple(map(len, answers))


def scripts_of(record: Any) -> Counter[str]:
    """Count the letters of a record's texts by script."""
    prompt = prompt_of_record(record)
    texts = [message.content for message in (prompt.messages if prompt else ())]
    texts += [completion.text for completion in completions_of(record)]
    texts += [record.text] if isinstance(record, RatedText) else []
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(script_counts(text))
    return counts
