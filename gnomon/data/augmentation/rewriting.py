"""Answers in other words, written by a model, as sides of new preferences."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from gnomon.core.types import Completion, Message, Preference, Prompt
from gnomon.data.augmentation.contract import Augmented, Write

LONGEST_RATIO = 2.0  # a text of more than this times the length, or less than its inverse, is another answer


def rewritten(
    preferences: Sequence[Preference], requests: Sequence[str], write: Write, by: str, *, weight: float
) -> Augmented:
    """Rewrite both sides of each preference; the label stays.

    A preference is left out if a side has several turns, is not rewritten, stays the same, or changes its length
    by more than `LONGEST_RATIO`.

    Args:
        preferences: that people judged.
        requests: instructions that are given one after another, each on the text that the one before it gave.
        write: the answers of a generator to prompts.
        by: name of the generator.
        weight: factor of the weights.
    """
    plain = [one for one in preferences if one.chosen.turns is None and one.rejected.turns is None]
    reasons = Counter({"of several turns": len(preferences) - len(plain)})
    sides = list(dict.fromkeys(side.text for one in plain for side in (one.chosen, one.rejected)))
    texts: dict[str, str | None] = dict(zip(sides, _in_turn(sides, requests, write, by), strict=True))
    made: list[Preference] = []
    for own in plain:
        chosen, rejected = texts[own.chosen.text], texts[own.rejected.text]
        problem = _problem(own.chosen.text, chosen) or _problem(own.rejected.text, rejected)
        if problem is None and chosen == rejected:
            problem = "both sides became equal"
        if problem is not None or chosen is None or rejected is None:
            reasons[problem or "not written"] += 1
            continue
        made.append(
            replace(
                own,
                chosen=_with_text(own.chosen, chosen, by),
                rejected=_with_text(own.rejected, rejected, by),
                weight=own.weight * weight,
            )
        )
    return Augmented(made, {reason: count for reason, count in reasons.items() if count})


def _in_turn(texts: Sequence[str], requests: Sequence[str], write: Write, by: str) -> list[str | None]:
    """Apply the requests to each text one after another; `None` once one was not answered."""
    current: list[str | None] = list(texts)
    for number, request in enumerate(requests):
        open_rows = [row for row, text in enumerate(current) if text is not None]
        prompts = [
            Prompt(f"rewrite-{number}-{row}", (Message("user", f"{request}\n\n{current[row]}"),))
            for row in open_rows
        ]
        for row, answer in zip(open_rows, write(by, prompts), strict=True):
            current[row] = answer.strip() or None if answer is not None else None
    return current


def _problem(text: str, answer: str | None) -> str | None:
    """The reason why a text cannot stand for another; `None` if it can."""
    if answer is None:
        return "not written"
    if answer == text.strip():
        return "written as before"
    ratio = len(answer) / max(1, len(text.strip()))
    return None if 1 / LONGEST_RATIO <= ratio <= LONGEST_RATIO else "much shorter or longer"


def _with_text(completion: Completion, text: str, by: str) -> Completion:
    return replace(completion, id=f"{completion.id} rewritten", text=text, source=by, token_ids=None)
