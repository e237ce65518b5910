"""Stop strings: texts that end a completion."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class StopTexts:
    """Finds stop texts in the text of sampled ids, independent of token boundaries."""

    def __init__(self, tokenizer: Any, texts: Sequence[str]):
        self.tokenizer = tokenizer
        self.texts = texts
        # A token that adds to the text adds at least one byte, so a stop text that the last token completes is in
        # the text of this many tokens. Four more, as the first of them may start inside a character.
        self.reach = 4 + max((len(text.encode()) for text in texts), default=0)

    def cut(self, ids: Sequence[int]) -> str | None:
        """Return the text before the first stop, without white space around it; `None` if no stop is complete."""
        if not self.texts or not self._first(self._decode(ids[-self.reach :])):
            return None
        text = self._decode(ids)
        starts = self._first(text)
        return text[: min(starts)].strip() if starts else None

    def _first(self, text: str) -> list[int]:
        """Return the start of the first occurrence of each stop text in `text`."""
        return [start for stop in self.texts if (start := text.find(stop)) >= 0]

    def _decode(self, ids: Sequence[int]) -> str:
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False))
