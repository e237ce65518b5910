"""Formats numbers, labels and answers for the administration's pages; also template filters."""

from __future__ import annotations

import time
from collections.abc import Hashable, Mapping
from typing import Any

from gnomon.feedback.written_answers import is_written, written_label

NOTHING = "–"


def percent(share: float | None) -> str:
    """Format a share as percent."""
    return NOTHING if share is None else f"{100 * share:.0f}%"


def number(value: float | None, digits: int = 2) -> str:
    """Format a number; return a dash if it is undefined."""
    return NOTHING if value is None else f"{value:.{digits}f}"


def interval(value: Any, *, shares: bool = False) -> str:
    """Format the interval of an `Estimate` or a `Share` in brackets; return the empty string if undefined."""
    low, high = (value.low, value.high) if hasattr(value, "low") else value.interval or (None, None)
    if low is None or high is None:
        return ""
    return f"[{100 * low:.0f}, {100 * high:.0f}]" if shares else f"[{low:.2f}, {high:.2f}]"


def letter(position: int) -> str:
    """Return the letter of a completion on pages that show all completions in the item's own order: A, B, C."""
    return chr(ord("A") + position)


def moment(seconds: float | None) -> str:
    """Format a time in the server's time zone."""
    return NOTHING if seconds is None else time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))


def label_in_words(label: Hashable, t: Mapping[str, Any]) -> str:
    """Describe a label, as `task_types.vote_label` returns it, in the page's language."""
    words: Mapping[str, str] = t["adm"]["labels"]
    if isinstance(label, str):
        return words[label]
    if isinstance(label, tuple):
        return words["best"].replace("{which}", " = ".join(letter(position) for position in label))
    return str(label)


def on_scale(text: str, scale: Mapping[str, Any]) -> str:
    """Fill a text's placeholders: the scale's lowest and highest score, and the scores of number keys."""
    low, high = int(scale["low"]), int(scale["high"])
    digits = f"{max(low, 0)} … {min(high, 9)}"
    return text.replace("{low}", str(low)).replace("{high}", str(high)).replace("{digits}", digits)


def answer_in_words(answer: Mapping[str, Any], t: Mapping[str, Any]) -> str:
    """Describe an answer on completions in the order in which the page shows them."""
    if is_written(answer):
        return label_in_words(written_label(answer), t)
    if "choice" in answer:
        return label_in_words({"first": "a", "second": "b"}.get(answer["choice"], answer["choice"]), t)
    if "order" in answer:
        return " > ".join(letter(position) for position in answer["order"])
    return str(t["semicolon"]).join(
        f"{letter(position)}{t['colon']}" + t["comma"].join(f"{name} {score}" for name, score in scores.items())
        for position, scores in enumerate(answer["scores"])
    )


FILTERS = {
    "percent": percent,
    "number": number,
    "interval": interval,
    "letter": letter,
    "moment": moment,
    "label": label_in_words,
    "answer": answer_in_words,
    "on_scale": on_scale,
}
