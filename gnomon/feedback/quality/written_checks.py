"""Checks of written texts: flags that hint at texts which were copied or written without care.

A flag is a reason to look at a text, not a proof: an answer may quote its prompt, and a refusal may be right.

- `short`: below the project's `min_answer_chars`, which was raised later.
- `prompt`: `PROMPT_SHARE` of its character n-grams are in the prompt.
- `copied`: a near-duplicate of another annotator's earlier text for the same prompt.
- `repeated`: a near-duplicate of the annotator's own earlier text for another prompt.
- `refusal`: it starts with a refusal or with a model's words about itself.
- `fast`: more than `MAX_COLUMNS_PER_SECOND` of the time with input; a wide character has two columns.
- `language`: another script than the prompt's, where the project checks that.
- `control`: it has control characters, or characters that override the writing direction.

Near-duplicates have a Jaccard index of character 5-grams of at least `SIMILARITY`; texts of fewer than
`MIN_CHARS` characters are not compared, since short right answers are alike.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from gnomon.core.types import Completion, Demonstration, Prompt
from gnomon.data.quality.contract import Digests
from gnomon.data.quality.minhash import bands
from gnomon.data.quality.record_filters.refusals import Refusals
from gnomon.data.quality.texts import jaccard, nfc, ngrams, prompt_text
from gnomon.data.scripts import script_counts
from gnomon.feedback.task_types import Setup
from gnomon.feedback.visible_text import has_control_characters, visible_length

TextFlag = Literal["short", "prompt", "copied", "repeated", "refusal", "fast", "language", "control"]
SIMILARITY = 0.7
PROMPT_SHARE = 0.9
MIN_CHARS = 20
MAX_COLUMNS_PER_SECOND = 15.0  # 180 English words a minute; input methods for Chinese are slower
MIN_COLUMNS = 40  # of a text whose pace is checked
MIN_LETTERS = 5  # of a text whose script is checked
KANA_SHARE = 0.1  # of the letters of a text that is Japanese, whatever the share of Han
CODE = re.compile(r"```.*?(?:```|\Z)|`[^`\n]*`", re.DOTALL)


@dataclass(frozen=True, slots=True)
class TextToCheck:
    """A written text.

    Attributes:
        id: id of the judgement.
        annotator: id of the annotator who wrote it.
        item: key of the item.
        prompt: what it answers.
        text: the text.
        seconds: time with input; `None` if it is unknown, as for a correction.
    """

    id: str
    annotator: str
    item: int
    prompt: Prompt
    text: str
    seconds: float | None


def text_flags(texts: Sequence[TextToCheck], setup: Setup) -> dict[str, tuple[TextFlag, ...]]:
    """Return the flags of each text, by the id of its judgement.

    Args:
        texts: all written texts of a project, in order of arrival.
        setup: the project's settings.
    """
    own: dict[str, _Index] = defaultdict(_Index)
    of_item: dict[int, list[tuple[str, Digests]]] = defaultdict(list)
    flags = {}
    for one in texts:
        text = nfc(one.text.strip())
        marks = list(_own_flags(one, text, setup))
        if len(text) >= MIN_CHARS:
            grams = ngrams(text)
            if _share_in(grams, nfc(prompt_text(one.prompt))) >= PROMPT_SHARE:
                marks.append("prompt")
            others = (other for who, other in of_item[one.item] if who != one.annotator)
            if any(jaccard(grams, other) >= SIMILARITY for other in others):
                marks.append("copied")
            if own[one.annotator].add(grams):
                marks.append("repeated")
            of_item[one.item].append((one.annotator, grams))
        flags[one.id] = tuple(marks)
    return flags


class _Index:
    """The texts of one annotator, by the bands of their MinHash signatures."""

    def __init__(self) -> None:
        self.texts: list[Digests] = []
        self.by_band: dict[tuple[int, int], list[int]] = defaultdict(list)

    def add(self, grams: Digests) -> bool:
        """Add a text; return whether a near-duplicate was added before."""
        candidates: set[int] = set()
        for band in enumerate(bands(grams, SIMILARITY)):
            candidates.update(self.by_band[band])
            self.by_band[band].append(len(self.texts))
        self.texts.append(grams)
        return any(jaccard(grams, self.texts[n]) >= SIMILARITY for n in candidates)


def _own_flags(one: TextToCheck, text: str, setup: Setup) -> Iterable[TextFlag]:
    """Yield the flags that depend on nothing but a text, here in normal form, and its prompt's script."""
    if visible_length(one.text) < setup.min_answer_chars:
        yield "short"
    if any(Refusals().check(Demonstration(one.prompt, Completion(one.id, text)), None)):
        yield "refusal"
    width = columns(text)
    if one.seconds is not None and width >= MIN_COLUMNS and width > MAX_COLUMNS_PER_SECOND * one.seconds:
        yield "fast"
    if setup.check_language and differs_in_script(text, one.prompt.messages[-1].content):
        yield "language"
    if has_control_characters(one.text):
        yield "control"


def _share_in(grams: Digests, text: str) -> float:
    """Return the share of n-grams that a text has."""
    return len(np.intersect1d(grams, ngrams(text), assume_unique=True)) / len(grams)


def columns(text: str) -> int:
    """Return the width of a text in columns: two for each wide character, such as Han."""
    counts = Counter(text)
    return sum(n if unicodedata.east_asian_width(one) not in "WF" else 2 * n for one, n in counts.items())


def main_script(text: str) -> str:
    """Return the script of most letters of a text without its code; "" if there are too few letters."""
    counts = script_counts(CODE.sub(" ", text))
    if counts.total() < MIN_LETTERS:
        return ""
    return "Kana" if counts["Kana"] > KANA_SHARE * counts.total() else counts.most_common(1)[0][0]


def differs_in_script(text: str, other: str) -> bool:
    """Return whether two texts are in different scripts; false if one of them has too few letters."""
    scripts = {main_script(text), main_script(other)}
    return "" not in scripts and len(scripts) > 1
