"""When an item is done: enough voices agree, or a reviewer decided; else it asks for more, or is disputed."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Hashable, Sequence

from sqlalchemy.orm import Session

from gnomon.feedback.store import queries
from gnomon.feedback.store.schema import DecisionRow, ItemRow, JudgementRow, ProjectRow
from gnomon.feedback.task_types import setup_of, verdict


def agreed(said: Sequence[Hashable], threshold: float) -> bool:
    """Whether the commonest verdict has more than a share of the voices; a tie is a verdict like others."""
    return bool(said) and max(Counter(said).values()) > threshold * len(said)


def settle(session: Session, item: ItemRow, project: ProjectRow, now: float | None = None) -> None:
    """Bring an item's state to what its voices say. The caller has locked it, and flushed what it added.

    Fewer voices than wanted leave it open. With as many it is done if they agree, or if a reviewer decided;
    otherwise one more than there are is wanted, up to the project's most, and then it is disputed. A surplus
    judgement takes a place that is free, before anybody else is asked.

    Args:
        session: a transaction.
        item: which.
        project: the item's.
        now: when leases must still run to hold a place; the time it is where nothing is said.
    """
    if item.state in ("gold", "closed"):
        return
    found = session.execute(queries.SAID, {"item": item.key}).all()
    if found[0].decided:
        item.state = "done"
        return
    said = [voice for _, voice in found if voice is not None]
    _state(item, project, said)
    while item.state == "open" and _fill(session, item, said, time.time() if now is None else now):
        _state(item, project, said)


def _state(item: ItemRow, project: ProjectRow, said: Sequence[JudgementRow]) -> None:
    """What the voices that count come down to."""
    # All were shown the same completions: any order that is the same for all will do.
    counted = [verdict(one.answer, one.shown, sorted(one.shown)) for one in said if not one.surplus]
    item.vote_count = len(counted)
    if len(counted) >= project.votes_per_item and agreed(counted, setup_of(project.settings).consensus_threshold):
        # Fewer than it wanted will do where those who disagreed have thought again, or withdrew.
        item.state, item.target_votes = "done", min(item.target_votes, len(counted))
    elif len(counted) < item.target_votes:
        item.state = "open"
    elif len(counted) >= max(project.max_votes, item.target_votes):
        item.state = "disputed"
    else:
        item.state, item.target_votes = "open", len(counted) + 1


def _fill(session: Session, item: ItemRow, said: Sequence[JudgementRow], now: float) -> bool:
    """Let the oldest surplus judgement count, if there is one, and a place."""
    late = next((one for one in said if one.surplus), None)
    if late is None or item.target_votes <= int(
        session.scalar(queries.TAKEN, {"item": item.key, "now": now}) or 0
    ):
        return False
    late.surplus = False
    session.flush()
    return True


def verdicts(session: Session, item: ItemRow) -> list[Hashable]:
    """What each voice that counts says of an item, in the item's own order."""
    names = names_of(session, item)
    found = session.execute(queries.VOICES, {"item": item.key}).all()
    return [verdict(answer, shown, names) for answer, shown in found]


def names_of(session: Session, item: ItemRow) -> list[str]:
    """The ids of an item's completions, in its own order."""
    found = session.execute(queries.NAMES, {"completions": item.completions})
    ids = {row.key: row.id for row in found}
    return [ids[key] for key in item.completions]


def decision(session: Session, item: int) -> DecisionRow | None:
    """The decision that stands: the last one of nobody who withdrew."""
    found: DecisionRow | None = session.scalars(queries.DECISION, {"item": item}).first()
    return found
