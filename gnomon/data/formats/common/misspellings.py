"""Names that stand for a known one: misspelled, written with other signs, or with something behind it."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

SHORT, LONG = 5, 10  # letters from which on a letter may be missing or added, and from which on two may differ


def hint(name: str, known: Collection[str], synonyms: Mapping[str, str] | None = None) -> str:
    """Return a hint for messages: the known name that an unknown one stands for, else all known names.

    Args:
        name: the unknown name.
        known: the valid names.
        synonyms: names that others have for a known one.
    """
    if name in (synonyms or {}):
        return f"it is called '{(synonyms or {})[name]}'."
    letters = _letters(name)
    same = [one for one in known if _letters(one) == letters]
    slips = [one for one in known if is_misspelling(name, one) or is_misspelling(letters, _letters(one))]
    starts = sorted((one for one in known if letters.startswith(_letters(one))), key=len)[-1:]
    for names in (same, slips, starts):
        if len(names) == 1:
            return f"did you mean '{names[0]}'?"
    return f"known: {', '.join(sorted(known))}."


def _letters(name: str) -> str:
    return re.sub(r"[\W\d_]", "", name).lower()


def is_misspelling(name: str, word: str) -> bool:
    """Return whether a name is likely a word with a slip of the keyboard, and no word of its own.

    The same letters in another order or case are one. In longer words a letter may be missing, added or another
    one, but for the first one, which people seldom miss: `height` is no `weight`. A plural is another word.

    Args:
        name: the name that is not known.
        word: the word that may be meant, in lower case.
    """
    letters = name.strip().lower()
    if letters == word:
        return name != word
    if letters.removesuffix("s") == word.removesuffix("s"):
        return False
    if sorted(letters) == sorted(word):
        return True
    if letters[:1] != word[:1]:
        return False
    edits = _edits(letters, word)
    if len(word) >= LONG:
        return edits <= 2
    return edits == 1 and (len(word) > SHORT or (len(word) == SHORT and len(letters) != len(word)))


def _edits(first: str, second: str) -> int:
    """Count the letters to add, remove or replace between two words, as Levenshtein does."""
    costs = list(range(len(second) + 1))
    for row, letter in enumerate(first, start=1):
        before, costs[0] = costs[0], row
        for column, other in enumerate(second, start=1):
            cheapest = min(costs[column] + 1, costs[column - 1] + 1, before + (letter != other))
            before, costs[column] = costs[column], cheapest
    return costs[-1]
