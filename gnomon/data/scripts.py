"""Scripts that texts are written in, such as Latin and Han."""

from __future__ import annotations

import unicodedata
from collections import Counter
from functools import cache

# First words of Unicode's names of letters → the script.
NAMES = {
    "latin": "Latin", "cjk": "Han", "hiragana": "Kana", "katakana": "Kana", "hangul": "Hangul",
    "cyrillic": "Cyrillic",
    "greek": "Greek", "arabic": "Arabic", "hebrew": "Hebrew", "devanagari": "Devanagari", "bengali": "Bengali",
    "thai": "Thai", "tamil": "Tamil", "telugu": "Telugu", "gujarati": "Gujarati", "gurmukhi": "Gurmukhi",
    "kannada": "Kannada", "malayalam": "Malayalam", "sinhala": "Sinhala", "georgian": "Georgian",
    "armenian": "Armenian", "ethiopic": "Ethiopic", "khmer": "Khmer", "lao": "Lao", "myanmar": "Myanmar",
    "tibetan": "Tibetan", "mongolian": "Mongolian", "fullwidth": "Latin", "halfwidth": "Kana",
}  # fmt: skip
SAMPLE = 2000  # characters of a text that are looked at


def script_counts(text: str) -> Counter[str]:
    """Count the letters of a text by script."""
    counts: Counter[str] = Counter()
    for character, count in Counter(text[:SAMPLE]).items():
        if character.isalpha():
            counts[_script(character)] += count
    return counts


@cache
def _script(character: str) -> str:
    first = unicodedata.name(character, "").partition(" ")[0].lower()
    return NAMES.get(first, first.capitalize() or "Unknown")
