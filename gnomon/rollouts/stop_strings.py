"""Texts that end a completion."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class StopTexts:
    """Looks for `texts` in what sampled ids decode to, wherever the borders of tokens lie."""

    def __init__(self, tokenizer: Any, texts: Sequence[str]):
        self.tokenizer = tokenizer
        self.texts = texts
        # A token that adds to the text adds at least one byte, so a stop that the last token closed is found in
        # what this many tokens decode to. Four more, as the first of them may start within a character.
        self.reach = 4 + max((len(text.encode()) for text in texts), default=0)

    def cut(self, ids: Sequence[int]) -> str | None:
        """The text before the first stop, without white space around it; `None` where no stop is complete."""
        if not self.texts or not self._first(self._decode(ids[-self.reach :])):
            return None
        text = self._decode(ids)
        found = self._first(text)
        return text[: min(found)].strip() if found else None

    def _first(self, text: str) -> list[int]:
        """Where each stop that `text` holds begins."""
        return [place for stop in self.texts if (place := text.find(stop)) >= 0]

    def _decode(self, ids: Sequence[int]) -> str:
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False))
