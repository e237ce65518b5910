"""Texts that are too short or too long, in characters or in tokens."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, ClassVar

from gnomon.core.ranges import Range
from gnomon.data.encoding import encode_answer
from gnomon.data.quality.contract import Action, Part, RecordFilter
from gnomon.data.quality.texts import named_texts, prompt_text
from gnomon.data.reading.counting import counted
from gnomon.data.records import completions_of, prompt_of_record
from gnomon.data.templates.rendering import render_prompt

Size = Annotated[int, Range("it counts characters or tokens", ge=0, le=10**9)] | None


class Length(RecordFilter):
    """Finds texts out of bounds; without bounds it finds nothing.

    Attributes:
        min_characters: fewest characters of a completion or rated text.
        max_characters: most characters of a completion or rated text.
        max_prompt_characters: most characters of a prompt.
        min_tokens: fewest tokens of a completion, counted as training counts them.
        max_tokens: most tokens of a prompt with a completion; longer sequences are refused by training.
    """

    name: ClassVar[str] = "length"
    part: ClassVar[Part] = "sound"
    default: ClassVar[Action] = "drop"
    min_characters: Size = None
    max_characters: Size = None
    max_prompt_characters: Size = None
    min_tokens: Size = None
    max_tokens: Size = None

    @property
    def idle(self) -> bool:
        """Without bounds."""
        bounds = (self.min_characters, self.max_characters, self.max_prompt_characters)
        return all(bound is None for bound in (*bounds, self.min_tokens, self.max_tokens))

    def needs(self) -> tuple[str, ...]:
        """A tokenizer, for bounds in tokens."""
        return () if self.min_tokens is None and self.max_tokens is None else ("tokenizer",)

    def check(self, record: Any, tokenizer: Any) -> Iterator[str]:
        """Compare lengths with the bounds."""
        prompt = prompt_of_record(record)
        if prompt is not None and self.max_prompt_characters is not None:
            size = len(prompt_text(prompt))
            if size > self.max_prompt_characters:
                yield f"prompt has {counted(size, 'characters')}, more than {self.max_prompt_characters:,}"
        for name, text in named_texts(record):
            if self.min_characters is not None and len(text) < self.min_characters:
                yield f"{name} has {counted(len(text), 'characters')}, fewer than {self.min_characters:,}"
            if self.max_characters is not None and len(text) > self.max_characters:
                yield f"{name} has {counted(len(text), 'characters')}, more than {self.max_characters:,}"
        if self.needs():
            yield from self._count_tokens(record, tokenizer)

    def _count_tokens(self, record: Any, tokenizer: Any) -> Iterator[str]:
        prompt = prompt_of_record(record)
        if prompt is None:
            return
        start = len(render_prompt(tokenizer, prompt))
        names = [name for name, _ in named_texts(record)]
        if not names and self.max_tokens is not None and start > self.max_tokens:
            yield f"prompt has {counted(start, 'tokens')}, more than {self.max_tokens:,}"
        for name, completion in zip(names, completions_of(record), strict=False):
            size = len(encode_answer(tokenizer, prompt, completion, name)[0])
            if self.min_tokens is not None and size < self.min_tokens:
                yield f"{name} has {counted(size, 'tokens')}, fewer than {self.min_tokens:,}"
            if self.max_tokens is not None and start + size > self.max_tokens:
                yield f"prompt and {name} have {counted(start + size, 'tokens')}, more than {self.max_tokens:,}"
