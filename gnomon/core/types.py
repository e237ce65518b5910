"""The records that cross layers: judgements, and the data that a model learns from.

Everything is one prompt with K completions: a demonstration is K=1, a preference K=2, a ranking K=4 and more.
`where` names the file and line that a record was read from, for messages about it: it takes no part in
comparisons and is never written. The tensors made from these records are in `gnomon.core.batches`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Role = Literal["system", "user", "assistant", "tool"]
SPARSE = {"json": "unless default"}  # a field that is written to JSON only where it differs from its default
UNWRITTEN = {"json": "never"}
JsonText = str  # a JSON value as its text, which keeps the order of keys and can be hashed
MediaKind = Literal["image", "audio", "video"]


@dataclass(frozen=True, slots=True)
class MediaPart:
    """An image, a sound or a video inside a message. It is kept and written; no model here reads it.

    Attributes:
        kind: what it is.
        source: a path, an address, or a `data:` URL that holds the content in base64. It is never opened.
        position: number of characters of the message's content that stand before it.
        options: a JSON object with what else is known of it, such as OpenAI's `detail`; empty for nothing.
    """

    kind: MediaKind
    source: str
    position: int = 0
    options: JsonText = ""


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation.

    Attributes:
        role: author of the turn.
        content: text of the turn.
        reasoning_content: the assistant's reasoning before its content; the chat template decides where it goes.
        train: whether a policy learns this turn of the assistant; `None` if the data do not mark it.
        tool_calls: the assistant's calls, each `{"type": "function", "function": {"name": …, "arguments": {…}}}`
            and perhaps an `id`.
        name: of a tool's message, the function that was called.
        tool_call_id: `id` of the call that a tool's message answers.
        media: images, sounds and videos between the words of the content, in their order.
    """

    role: Role
    content: str
    reasoning_content: str | None = field(default=None, repr=False, metadata=SPARSE)
    train: bool | None = field(default=None, repr=False, metadata=SPARSE)
    tool_calls: tuple[JsonText, ...] = field(default=(), repr=False, metadata=SPARSE)
    name: str | None = field(default=None, repr=False, metadata=SPARSE)
    tool_call_id: str | None = field(default=None, repr=False, metadata=SPARSE)
    media: tuple[MediaPart, ...] = field(default=(), repr=False, metadata=SPARSE)


@dataclass(frozen=True, slots=True)
class Prompt:
    """A conversation that the model continues. Groups are formed by `id`, never by equal text.

    Attributes:
        answer: the correct answer, if there is one; rules compare completions with it.
        where: file and line that the prompt was read from; no part of its identity.
        columns: the row that it was read from, for rewards; no part of its identity, and not written with it.
        tools: JSON schemas of the functions that the assistant can call, for the chat template.
        chat_template_kwargs: a JSON object with further variables of the chat template; empty if there are none.
    """

    id: str
    messages: tuple[Message, ...]
    answer: str | None = None
    where: str = field(default="", compare=False, repr=False, metadata=UNWRITTEN)
    columns: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False, metadata=UNWRITTEN)
    tools: tuple[JsonText, ...] = field(default=(), repr=False, metadata=SPARSE)
    chat_template_kwargs: JsonText = field(default="", repr=False, metadata=SPARSE)

    @property
    def context(self) -> tuple[Any, ...]:
        """Everything that the chat template reads; equal for prompts that the model cannot tell apart.

        It is the messages, followed by `tools` and `chat_template_kwargs` where there are any.
        """
        beside = (self.tools, self.chat_template_kwargs)
        return (*self.messages, *beside) if any(beside) else self.messages


@dataclass(frozen=True, slots=True)
class Completion:
    """One answer to a prompt.

    Attributes:
        text: the answer; for several turns the assistant's texts, with a blank line between them.
        token_ids: ids that a sampler drew, with the terminator if it drew one; `None` for a text written
            elsewhere.
        turns: for an answer of several turns, or of one turn with reasoning or tool calls: the assistant's turns,
            and between them those of the user or of tools, which the policy did not write.
    """

    id: str
    text: str
    source: str = ""
    token_ids: tuple[int, ...] | None = None
    turns: tuple[Message, ...] | None = None


@dataclass(frozen=True, slots=True)
class Judgement:
    """One rater's judgement of one prompt's completions. Never changed: a correction is a new judgement.

    Attributes:
        shown: completion ids in the order in which the rater saw them.
        value: one number for each of them: ratings on the rater's own scale.
    """

    id: str
    rater: str
    prompt_id: str
    shown: tuple[str, ...]
    value: tuple[float, ...]
    reason: str = ""
    at: str = ""


@dataclass(frozen=True, slots=True)
class Preference:
    """Two completions of one prompt, aggregated over raters.

    Attributes:
        probability: share of raters expected to prefer `chosen`, ties counted half; in [0.5, 1].
        margin: mean rating of `chosen` minus that of `rejected`, on the raters' scale.
        weight: weight of the pair in a loss.
        tie: share of raters who call the two equal, at most `2 − 2·probability`; 0 also where it is unknown.
    """

    prompt: Prompt
    chosen: Completion
    rejected: Completion
    probability: float = 1.0
    margin: float = 0.0
    weight: float = 1.0
    tie: float = field(default=0.0, metadata=SPARSE)
    where: str = field(default="", compare=False, repr=False, metadata=UNWRITTEN)


@dataclass(frozen=True, slots=True)
class Ranking:
    """K completions of one prompt, best first."""

    prompt: Prompt
    completions: tuple[Completion, ...]
    weight: float = 1.0
    where: str = field(default="", compare=False, repr=False, metadata=UNWRITTEN)


@dataclass(frozen=True, slots=True)
class NamedScores:
    """One completion with scores by name, such as helpfulness and safety, aggregated over raters.

    Attributes:
        scores: score by name, each on its own scale; a name that nobody scored is absent.
    """

    prompt: Prompt
    completion: Completion
    scores: Mapping[str, float]
    weight: float = 1.0
    where: str = field(default="", compare=False, repr=False, metadata=UNWRITTEN)


@dataclass(frozen=True, slots=True)
class Label:
    """One completion labeled good or bad."""

    prompt: Prompt
    completion: Completion
    good: bool
    weight: float = 1.0
    where: str = field(default="", compare=False, repr=False, metadata=UNWRITTEN)


@dataclass(frozen=True, slots=True)
class Demonstration:
    """A completion to imitate."""

    prompt: Prompt
    completion: Completion
    weight: float = 1.0
    where: str = field(default="", compare=False, repr=False, metadata=UNWRITTEN)


@dataclass(frozen=True, slots=True)
class RatedText:
    """A text with the individual ratings that people gave it.

    Attributes:
        id: unique within its data set.
        ratings: one number per rater; their order carries no meaning unless documented by the source.
        prompt: the prompt that the text answers, if known.
        raters: name of the rater of each rating, `""` if not known; empty if none is known.
    """

    id: str
    text: str
    ratings: tuple[float, ...]
    prompt: Prompt | None = None
    raters: tuple[str, ...] = ()
    where: str = field(default="", compare=False, repr=False, metadata=UNWRITTEN)

    @property
    def mean(self) -> float:
        """Mean rating, on the raters' scale."""
        return sum(self.ratings) / len(self.ratings)


@dataclass(frozen=True, slots=True)
class RejectedRow:
    """An input row that was refused, with the reason; written beside the accepted rows."""

    where: str
    reason: str
    content: str = field(default="", repr=False)
