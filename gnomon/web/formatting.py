"""How figures and answers are put into words, the same on all pages of the administration."""

from __future__ import annotations

import time
from collections.abc import Hashable, Mapping
from typing import Any

NOTHING = "–"


def percent(share: float | None) -> str:
    """A share, as percent."""
    return NOTHING if share is None else f"{100 * share:.0f}%"


def number(value: float | None, digits: int = 2) -> str:
    """A number, or a dash where it is undefined."""
    return NOTHING if value is None else f"{value:.{digits}f}"


def interval(found: Any, *, shares: bool = False) -> str:
    """The interval of an `Estimate` or a `Share`, in brackets; nothing where it is undefined."""
    low, high = (found.low, found.high) if hasattr(found, "low") else found.interval or (None, None)
    if low is None or high is None:
        return ""
    return f"[{100 * low:.0f}, {100 * high:.0f}]" if shares else f"[{low:.2f}, {high:.2f}]"


def letter(place: int) -> str:
    """What a completion is called on the pages that show all in one order: A, B, C."""
    return chr(ord("A") + place)


def moment(seconds: float | None) -> str:
    """A time, by the server's clock."""
    return NOTHING if seconds is None else time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))


def verdict_in_words(verdict: Hashable, t: Mapping[str, Any]) -> str:
    """What `answers.verdict` says."""
    words: Mapping[str, str] = t["adm"]["verdicts"]
    if isinstance(verdict, str):
        return words[verdict]
    if isinstance(verdict, tuple):
        return words["best"].replace("{which}", " = ".join(letter(place) for place in verdict))
    return str(verdict)


def on_scale(text: str, asking: Mapping[str, Any]) -> str:
    """A text with the least and the greatest score of a project, and those that a number key can give."""
    low, high = int(asking["low"]), int(asking["high"])
    digits = f"{max(low, 0)} … {min(high, 9)}"
    return text.replace("{low}", str(low)).replace("{high}", str(high)).replace("{digits}", digits)


def answer_in_words(answer: Mapping[str, Any], t: Mapping[str, Any]) -> str:
    """An answer on completions in the order in which the page shows them."""
    if "choice" in answer:
        return verdict_in_words({"first": "a", "second": "b"}.get(answer["choice"], answer["choice"]), t)
    if "order" in answer:
        return " > ".join(letter(place) for place in answer["order"])
    return str(t["semicolon"]).join(
        f"{letter(place)}{t['colon']}" + t["comma"].join(f"{name} {score}" for name, score in scores.items())
        for place, scores in enumerate(answer["scores"])
    )


FILTERS = {
    "percent": percent,
    "number": number,
    "interval": interval,
    "letter": letter,
    "moment": moment,
    "verdict": verdict_in_words,
    "answer": answer_in_words,
    "on_scale": on_scale,
}
