"""Texts that loop, or that hardly consist of letters."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Annotated, Any, ClassVar

from gnomon.core.ranges import Range, Share
from gnomon.data.quality.contract import Part, RecordFilter
from gnomon.data.quality.texts import LONGEST, distinct_ngrams, named_texts, nfc

NGRAM = 10
LONG_RUN = 30
DRAWN = frozenset("-_=*#~.|+·—─━═ \n\t\r")  # characters that draw lines, tables and blank space


class Degenerate(RecordFilter):
    """Finds completions that repeat themselves, consist of symbols, or hold characters that were not decoded.

    Attributes:
        max_repeated: share of the text's 10-character n-grams that occurred before in it. Prose has below 0.1 in
            every language, a long table 0.4, a loop above 0.8.
        max_symbols: share of characters that are neither letters, digits nor white space; code has about 0.3.
        min_length: shorter texts are not judged by these shares.
    """

    name: ClassVar[str] = "degenerate"
    part: ClassVar[Part] = "sound"
    max_repeated: Share = 0.6
    max_symbols: Share = 0.6
    min_length: Annotated[int, Range("it counts characters", ge=1, le=10**6)] = 40

    def check(self, record: Any, tokenizer: Any) -> Iterator[str]:
        """Measure each completion, and a rated text."""
        for name, original in named_texts(record):
            text = nfc(original)
            if "\ufffd" in text:
                yield f"{name} holds the sign for a character that could not be decoded"
            counts = Counter(text)
            often = (one for one, count in counts.items() if count >= LONG_RUN and one not in DRAWN)
            if any(one * LONG_RUN in text for one in often):
                yield f"{name} repeats one character {LONG_RUN} times or more"
            if len(text) < self.min_length:
                continue
            if (share := repeated_share(text)) > self.max_repeated:
                yield f"{name} repeats itself: {share:.0%} of its parts occurred before"
            if (share := symbol_share(counts)) > self.max_symbols:
                yield f"{name} is {share:.0%} symbols"


def repeated_share(text: str) -> float:
    """Return the share of a text's n-grams that occurred before in it."""
    count = max(1, min(len(text), LONGEST) - NGRAM + 1)
    return 1 - distinct_ngrams(text, NGRAM) / count if text else 0.0


def symbol_share(counts: Counter[str]) -> float:
    """Return the share of characters, white space left out, that are neither letters nor digits.

    Args:
        counts: of each character.
    """
    visible = {one: count for one, count in counts.items() if not one.isspace()}
    symbols = sum(count for one, count in visible.items() if not one.isalnum())
    return symbols / sum(visible.values()) if visible else 0.0
