"""The interface of generators: requests, generated texts, and a cache on disk."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

from gnomon.core.errors import DataError
from gnomon.core.storage.digests import digest
from gnomon.core.storage.files import read_json, write_json
from gnomon.core.types import Prompt


@dataclass(frozen=True)
class GenerationRequest:
    """A request for one completion, with its own seed.

    Attributes:
        prompt: prompt for the generator, possibly rephrased.
    """

    prompt: Prompt
    temperature: float
    top_p: float
    max_tokens: int
    seed: int


@dataclass(frozen=True)
class GeneratedText:
    """A text written by a generator.

    Attributes:
        finished: whether it ended by itself, not at the length limit.
        facts: metadata from the generator, such as the model version.
    """

    text: str
    finished: bool
    facts: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Refusal:
    """The reason why there is no text."""

    reason: str


SaveCallback = Callable[[GenerationRequest, GeneratedText], None]


class CompletionGenerator(Protocol):
    """Writes completions.

    Attributes:
        name: source of its completions in the store; annotators never see it.
        identity: everything its completions depend on beside the request, such as a digest of the weights.
    """

    name: str
    identity: dict[str, str]

    def write(
        self, requests: Sequence[GenerationRequest], save: SaveCallback
    ) -> Iterator[GeneratedText | Refusal]:
        """Yield a text for each request, in order; `save` receives each as soon as it exists.

        Raises:
            GnomonError: no request can be fulfilled.
        """

    def close(self) -> None:
        """Release what was loaded."""


class GenerationCache:
    """Generated texts on disk, one file each, keyed by everything they depend on."""

    def __init__(self, folder: Path):
        self.folder = folder

    def find(self, generator: CompletionGenerator, request: GenerationRequest) -> GeneratedText | None:
        """Return the generator's text for this request, or `None`."""
        path = self._path(generator, request)
        if not path.exists():
            return None
        entry = read_json(path)
        try:
            return GeneratedText(str(entry["text"]), bool(entry["finished"]), dict(entry["facts"]))
        except (LookupError, TypeError, ValueError):
            raise DataError(f"{path} holds no generated text; remove it to generate it again.") from None

    def save(self, generator: CompletionGenerator, request: GenerationRequest, text: GeneratedText) -> None:
        """Write a text atomically.

        Args:
            generator: generator of the text.
            request: request that the text fulfills.
            text: text to cache.
        """
        write_json(self._path(generator, request), asdict(text))

    def _path(self, generator: CompletionGenerator, request: GenerationRequest) -> Path:
        mark = digest(
            [generator.identity, message_texts(request.prompt), *settings_of(request).values(), request.seed]
        )
        return self.folder / mark[:2] / f"{mark}.json"


def cached_texts(
    generator: CompletionGenerator, requests: Sequence[GenerationRequest], cache: GenerationCache
) -> Generator[GeneratedText | Refusal, None, None]:
    """Yield a text for each request, in order: from the cache, else from the generator.

    Args:
        generator: writes and saves what is missing.
        requests: for its texts.
        cache: texts of earlier calls.
    """
    cached = [cache.find(generator, request) for request in requests]
    missing = [request for request, text in zip(requests, cached, strict=True) if text is None]
    fresh = generator.write(missing, lambda request, text: cache.save(generator, request, text))
    try:
        for text in cached:
            yield next(fresh) if text is None else text
    finally:
        if close := getattr(fresh, "close", None):
            close()


def message_texts(prompt: Prompt) -> list[list[str]]:
    """What a model reads of a prompt: roles and contents of its messages with their tool calls, and its tools."""
    beside = [*prompt.tools, *filter(None, [prompt.chat_template_kwargs])]
    turns = [[m.role, m.content, *m.tool_calls] for m in prompt.messages]
    return [*turns, beside] if beside else turns


def settings_of(request: GenerationRequest) -> dict[str, Any]:
    """The sampling settings of a request."""
    return {"temperature": request.temperature, "top_p": request.top_p, "max_tokens": request.max_tokens}
