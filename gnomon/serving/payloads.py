"""Bodies of requests, checked before anything is scored; each fault is one sentence."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, TypeVar

from pydantic import Field

from gnomon.core.config import Settings, validate
from gnomon.core.errors import ConfigError, DataError
from gnomon.core.types import Completion, Prompt
from gnomon.data.encoding import message_texts
from gnomon.data.reading.conversations import completion_of, prompt_of
from gnomon.data.reading.media.parts import media_of, media_reason
from gnomon.data.reading.messages import context_fingerprint

MAX_ROWS = 1024  # rows of a request
MAX_CHOICES = 64
MAX_CHARS = 200_000  # of a row's prompt and completion together
T = TypeVar("T", bound=Settings)
Turns = str | list[dict[str, Any]] | dict[str, Any]  # a text, messages, or messages with tools
Rows = Annotated[list[Turns], Field(min_length=1, max_length=MAX_ROWS)]
RenderedTexts = Annotated[list[str], Field(min_length=1, max_length=MAX_ROWS)]
Words = Annotated[str, Field(min_length=1, max_length=MAX_CHARS)]


class ScoreBody(Settings):
    """Body of `POST /v1/score`: `completions[n]` answers `prompts[n]`; each is a text or a list of messages."""

    prompts: Rows
    completions: Rows


class DecisionBody(Settings):
    """Body of `POST /v1/decisions`: a prompt, and the completions to choose from."""

    prompt: Turns
    choices: Annotated[list[Turns], Field(min_length=2, max_length=MAX_CHOICES)]


class QuestionBody(Settings):
    """Body of `POST /v1/systemone`.

    Attributes:
        question: that the choices answer.
        input: text that the question is about, which follows it.
        choices: the possible answers.
    """

    question: Words
    input: Words | None = None
    choices: Annotated[tuple[Words, ...], Field(min_length=2, max_length=MAX_CHOICES)] = ("yes", "no")


class QuestionsBody(Settings):
    """Body of `POST /v1/systemone` with typed questions, as transformers' server takes it.

    Attributes:
        model: ignored; one model is served.
        state: what the questions are about.
        questions: by name.
        assets: images, which are refused.
    """

    model: str | None = None
    state: Any = None
    questions: dict[str, Any]
    assets: dict[str, Any] | None = None


class RenderedBody(Settings):
    """Body of `POST /get_reward`, as OpenRLHF sends it: whole texts by the chat template, and their prompts."""

    query: RenderedTexts
    prompts: RenderedTexts | None = None


@dataclass(frozen=True)
class RequestRow:
    """A row of a request: what to score, or the reason why it cannot be."""

    prompt: Prompt
    completion: Completion
    reason: str | None = None


EMPTY = RequestRow(Prompt("", ()), Completion("", ""))


def parse_body(kind: type[T], raw: bytes, *, ignored: bool = False) -> T:
    """Parse a request's JSON.

    Args:
        kind: the expected body.
        raw: bytes of the request.
        ignored: whether further keys are ignored instead of refused.

    Raises:
        ConfigError: what is wrong, in one sentence.
    """
    content = parse_object(raw)
    if ignored:
        content = {key: content[key] for key in kind.model_fields if content.get(key) is not None}
    return validate(kind, content, "the request", any_text=True)  # a policy may write any character


def parse_object(raw: bytes) -> dict[str, Any]:
    """Parse a JSON object.

    Raises:
        ConfigError: it is none.
    """
    try:
        content = json.loads(raw, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        detail = str(error) if isinstance(error, json.JSONDecodeError | _ConstantError) else type(error).__name__
        raise ConfigError(f"the request is not JSON ({detail:.80}); send an object.") from None
    if not isinstance(content, dict):
        raise ConfigError("the request is JSON, but no object; send one with the keys of this address.")
    return content


class _ConstantError(ValueError):
    """JSON has no NaN and no infinity."""


def _no_constant(name: str) -> Any:
    raise _ConstantError(f"{name} is no number")


def check_lengths(**lists: Sequence[Any]) -> None:
    """Refuse parallel lists of different lengths.

    Raises:
        ConfigError: with the length of each.
    """
    if len({len(one) for one in lists.values()}) > 1:
        counts = " and ".join(f"{len(one)} {name}" for name, one in lists.items())
        raise ConfigError(f"the request has {counts}; send equally many.")


def request_row(prompt: Turns, completion: Turns) -> RequestRow:
    """Parse a prompt and a completion; a row that is none is returned with the reason."""
    try:
        parsed = prompt_of(prompt)
        # Requests of several callers are scored together, and an id stands for one prompt.
        parsed = replace(parsed, id=hashlib.sha256(context_fingerprint(parsed).encode()).hexdigest())
        answer = completion_of(completion, parsed)
    except DataError as error:
        return replace(EMPTY, reason=str(error).rstrip("."))
    if media := media_of([*parsed.messages, *(answer.turns or ())]):
        return replace(EMPTY, reason=media_reason(media))
    length = sum(len(text) for part in (parsed, answer) for text in message_texts(part))
    if length > MAX_CHARS:
        return replace(EMPTY, reason=f"it has {length:,} characters, more than {MAX_CHARS:,}")
    return RequestRow(parsed, answer)
