"""What readers see of a text: the page counts characters by the same rule, in `static/written.js`; no media."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from gnomon.core.errors import DataError
from gnomon.core.types import Completion, Prompt
from gnomon.data.reading.media.parts import described, media_of

# Categories of control and format characters, surrogates and separators. A character that is new to Unicode, such
# as an emoji that Python does not know yet, is seen.
INVISIBLE = frozenset({"Cc", "Cf", "Cs", "Zs", "Zl", "Zp"})
# Letters, marks and symbols that are blank: fillers, variation selectors, the Braille pattern without dots.
BLANK = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
# Control characters except tab and line feed; embeddings, overrides and isolates of the writing direction.
CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def is_visible(character: str) -> bool:
    """Return whether a character is seen: no control or format character, no separator, no blank one."""
    return unicodedata.category(character) not in INVISIBLE and not BLANK.match(character)


def visible_length(text: str) -> int:
    """Count the visible characters of a text, and the spaces (U+0020) between them."""
    return len("".join(one for one in text if one == " " or is_visible(one)).strip(" "))


def has_control_characters(text: str) -> bool:
    """Return whether a text has control characters, or characters that override the writing direction."""
    return CONTROL.search(text) is not None


def check_shown(prompt: Prompt | None, completions: Sequence[Completion] = ()) -> None:
    """Refuse a prompt or completions with media: annotators would judge them without what they are about.

    Args:
        prompt: the prompt, if there is one.
        completions: some completions.

    Raises:
        DataError: they have some.
    """
    turns = [*(prompt.messages if prompt else ()), *(turn for one in completions for turn in one.turns or ())]
    if media := media_of(turns):
        raise DataError(f"it has {described(media)}, and the page on which people judge shows text alone")
