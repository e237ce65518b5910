"""Counts with their nouns, for messages."""

from __future__ import annotations


def counted(count: int, noun: str) -> str:
    """Format a count with its noun, as in `1 preference` and `2,000 rated texts`.

    Args:
        count: the number of things.
        noun: what they are, a plural that ends in s.
    """
    return f"{count:,} {noun.removesuffix('s') if count == 1 else noun}"


def verb(count: int, plural: str) -> str:
    """Return the form of a verb for a count: `is` or `are`, `has` or `have`, `does` or `do`, `shares` or `share`.

    Args:
        count: the number of things that are the subject.
        plural: the form for several.
    """
    return plural if count != 1 else {"are": "is", "do": "does", "have": "has"}.get(plural, f"{plural}s")
