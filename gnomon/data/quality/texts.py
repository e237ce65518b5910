"""Texts of records for comparison: in Unicode's normal form NFC and nothing else, as digests and n-grams."""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from gnomon.core.types import Completion, Message, Prompt, RatedText
from gnomon.data.quality.completion_roles import completion_roles
from gnomon.data.quality.contract import Digests
from gnomon.data.reading.conversations import completion_of
from gnomon.data.reading.media.parts import map_content
from gnomon.data.reading.messages import context_fingerprint, fingerprint, text_of_turns
from gnomon.data.reading.row_fields import name_of
from gnomon.data.records import completions_of, prompt_of_record, record_media

LONGEST = 1_000_000  # characters of a text whose n-grams count; more would need gigabytes of memory
NGRAM = 5  # characters; right for languages without spaces too
_FACTOR = np.uint64(0x9E3779B97F4A7C15)  # odd, so that multiplication permutes 64-bit numbers


def nfc(text: str) -> str:
    """Return a text in normal form C."""
    return text if unicodedata.is_normalized("NFC", text) else unicodedata.normalize("NFC", text)


def turn_texts(turns: Sequence[Message], calls: bool = True) -> Iterator[str]:
    """Yield the texts of messages: reasoning, content, tool calls as JSON.

    Args:
        turns: the messages.
        calls: whether to yield tool calls.
    """
    for turn in turns:
        if turn.reasoning_content is not None:
            yield turn.reasoning_content
        yield turn.content
        if calls:
            yield from turn.tool_calls


def completion_texts(completion: Completion, calls: bool = True) -> Iterator[str]:
    """Yield the texts of a completion, as `turn_texts` does."""
    return turn_texts(completion.turns, calls) if completion.turns is not None else iter((completion.text,))


def parts_of(record: Any) -> list[str]:
    """Return a record's texts: its prompt with the roles of its turns, then its rated text or completions."""
    prompt = prompt_of_record(record)
    parts = [] if prompt is None else [prompt_text(prompt)]
    if isinstance(record, RatedText):
        parts.append(record.text)
    return [nfc(part) for part in (*parts, *("\n".join(completion_texts(c)) for c in completions_of(record)))]


def media_key(record: Any) -> str:
    """Return a digest of the media of a record's prompt, or of a prompt, and of its completions; "" without any.

    Records whose keys differ are different, however like their texts are.
    """
    media = record_media(record)
    return f"{digest(*(repr(one) for one in media)):016x}" if media else ""


def salted(grams: Digests, media: str) -> Digests:
    """Return n-grams that share none with those of a text with other media.

    Args:
        grams: n-grams of a text.
        media: of its record, from `media_key`.
    """
    if not media:
        return grams
    salt = np.uint64(int(media, 16))
    return np.append(grams ^ salt, salt)


def prompt_text(prompt: Prompt) -> str:
    """Return the turns of a prompt, and its tools, as one text; a single user's turn as its content."""
    beside = [*prompt.tools, *filter(None, (prompt.chat_template_kwargs,))]
    if len(prompt.messages) == 1 and prompt.messages[0].role == "user" and not beside:
        return prompt.messages[0].content
    turns = [f"{turn.role}: {text}" for turn in prompt.messages for text in turn_texts((turn,))]
    return "\n".join([*turns, *beside])


def named_texts(record: Any, calls: bool = False) -> Iterator[tuple[str, str]]:
    """Yield the name and the text of each completion, or of the rated text.

    Args:
        record: of any kind.
        calls: whether tool calls, which are no prose, are part of a text.
    """
    if isinstance(record, RatedText):
        yield "text", record.text
    for role, completion in zip(completion_roles(record), completions_of(record), strict=True):
        yield role.name, "\n\n".join(completion_texts(completion, calls))


def digest(*texts: str) -> int:
    """Return a 64-bit digest of some texts in their order."""
    content = hashlib.blake2b(digest_size=8)
    for text in texts:
        data = text.encode("utf-8", "surrogatepass")
        content.update(len(data).to_bytes(8, "little"))
        content.update(data)
    return int.from_bytes(content.digest(), "little")


def ngrams(text: str, length: int = NGRAM) -> Digests:
    """Return a hash of each character n-gram of a text, distinct; a shorter text is one n-gram.

    A repeated n-gram has another hash each time, so that a text twice as long is not the same.

    Args:
        text: in normal form.
        length: of the n-grams.
    """
    ordered = np.sort(rolling(text, length))
    if not len(ordered):
        return ordered
    new = np.concatenate([[True], ordered[1:] != ordered[:-1]])
    if new.all():
        return ordered
    position = np.arange(len(ordered), dtype=np.uint64)
    occurrence = position - np.maximum.accumulate(np.where(new, position, np.uint64(0)))
    return np.sort(ordered + occurrence * _FACTOR)


def distinct_ngrams(text: str, length: int) -> int:
    """Return the number of distinct character n-grams of a text.

    Args:
        text: in normal form.
        length: of the n-grams.
    """
    ordered = np.sort(rolling(text, length))
    return 1 + int((ordered[1:] != ordered[:-1]).sum()) if len(ordered) else 0


def rolling(text: str, length: int) -> Digests:
    """Return a hash of the n-gram at each position of a text, up to `LONGEST` characters.

    Args:
        text: in normal form.
        length: of the n-grams; a shorter text has one.
    """
    text = text[:LONGEST]
    if not text:
        return np.empty(0, np.uint64)
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32).astype(np.uint64)
    length = min(length, len(codes))
    count = len(codes) - length + 1
    hashes = np.zeros(count, np.uint64)
    for offset in range(length):
        hashes = (hashes ^ codes[offset : offset + count]) * _FACTOR
        hashes ^= hashes >> np.uint64(29)
    return hashes


def jaccard(one: Digests, other: Digests) -> float:
    """Return the share of n-grams that two texts have in common; 1 for two empty ones."""
    if not len(one) and not len(other):
        return 1.0
    common = len(np.intersect1d(one, other, assume_unique=True))
    return common / (len(one) + len(other) - common)


def map_texts(record: Any, change: Callable[[str], str]) -> Any:
    """Return a record with each text of its prompt and completions changed; ids that name a text follow it.

    Args:
        record: of any kind.
        change: returns the new text for a text.
    """
    if isinstance(record, Prompt):
        return _prompt(record, change)
    changes: dict[str, Any] = {}
    if (prompt := prompt_of_record(record)) is not None:
        changes["prompt"] = _prompt(prompt, change)
    if isinstance(record, RatedText):
        changes["text"] = change(record.text)
    for key in ("chosen", "rejected", "completion"):
        if isinstance(one := getattr(record, key, None), Completion):
            changes[key] = _completion(one, change)
    if hasattr(record, "completions"):
        changes["completions"] = tuple(_completion(one, change) for one in record.completions)
    return replace(record, **changes)


def map_json(value: str, change: Callable[[str], str]) -> str:
    """Return a JSON text with each text in it changed; keys stay."""
    return json.dumps(map_values(json.loads(value), change), ensure_ascii=False)


def map_values(value: Any, change: Callable[[str], str]) -> Any:
    """Return a JSON value with each text in it changed; keys stay."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, Mapping):
        return {key: map_values(one, change) for key, one in value.items()}
    return [map_values(one, change) for one in value] if isinstance(value, list) else value


def _messages(turns: Sequence[Message], change: Callable[[str], str]) -> tuple[Message, ...]:
    return tuple(
        replace(
            map_content(turn, change),
            reasoning_content=None if turn.reasoning_content is None else change(turn.reasoning_content),
            tool_calls=tuple(map_json(call, change) for call in turn.tool_calls),
        )
        for turn in turns
    )


def _prompt(prompt: Prompt, change: Callable[[str], str]) -> Prompt:
    answer = None if prompt.answer is None else change(prompt.answer)
    columns = map_values(dict(prompt.columns), change)
    turns = _messages(prompt.messages, change)
    changed = replace(prompt, messages=turns, answer=answer, columns=columns)
    by_content = prompt.id == name_of(context_fingerprint(prompt))
    return replace(changed, id=name_of(context_fingerprint(changed))) if by_content else changed


def _completion(completion: Completion, change: Callable[[str], str]) -> Completion:
    by_content = completion.id == name_of(completion.text)
    if completion.turns is None:
        text = change(completion.text)
        return replace(completion, id=completion_of(text).id if by_content else completion.id, text=text)
    turns = _messages(completion.turns, change)
    text = text_of_turns(turns)
    by_content = completion.id == name_of(fingerprint(completion.turns))
    return replace(
        completion, id=name_of(fingerprint(turns)) if by_content else completion.id, text=text, turns=turns
    )
