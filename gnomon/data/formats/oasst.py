"""OpenAssistant: trees of messages with ranked replies, one message a row or one tree a row.

Every message of a prompter with two or more ranked replies is the end of a prompt, at any depth. As in
OpenAssistant's own loader and export tool, trees that are not ready for export are left out, and messages that
are deleted, that reviewers rejected, or that a model wrote, each with all that follows it.
Köpf et al. 2023, arXiv 2304.07327; https://projects.laion.ai/Open-Assistant/docs/data/schemas
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from gnomon.core.errors import DataError
from gnomon.core.types import Preference, Ranking
from gnomon.data.formats.common.judged_answers import ScoredAnswer, preferences, ranking
from gnomon.data.formats.contract import Format, JoinedRow, UnusedRow
from gnomon.data.reading.media.columns import media_cells
from gnomon.data.reading.readers import Row, ScannedRow
from gnomon.data.reading.row_fields import brief, filled, finite, listed, mapping, required, text, truth

ROLES = {"prompter": "user", "assistant": "assistant"}
FEW = "it has fewer than two ranked replies"
UNRANKED = "it is a reply without a rank, or the only one with a rank"
NO_RANKING = "none of its messages has two ranked replies"
READY = "ready_for_export"
FAULTS = (  # columns of a message, the value for which it is left out, and the reason
    ("deleted", True, "is deleted"),
    ("review_result", False, "was rejected by its reviewers"),
    ("synthetic", True, "is synthetic: a model wrote it"),
)


class OpenAssistantMessages(Format):
    """One message a row, with the id of its parent; the rows of a tree stand together.

    One tree is in memory at a time; without `message_tree_id` the whole file is.
    """

    name = "oasst"
    title = "OpenAssistant messages"
    kinds = (Ranking, Preference)

    def evidence(self, row: Mapping[str, Any]) -> str | None:
        """A message id, a parent's id, a role and a text."""
        has_ids = row.get("message_id") is not None and "parent_id" in row
        if has_ids and row.get("role") in list(ROLES) and row.get("text") is not None:
            return "rows are messages with message_id, parent_id and role"
        return None

    def scan(self, kind: type, rows: Iterable[ScannedRow]) -> Iterator[ScannedRow]:
        """Yield the rankings or pairs of each tree at the position of the message that is replied to.

        A message that is in no ranking is yielded as unused; one whose parent is not in its tree, as damaged.
        """
        tree: dict[str, _Message] = {}
        name, finished = "", set[str]()
        for where, row in rows:
            try:
                if isinstance(row, DataError):
                    raise row
                message = _message(where, row)
                if not message.id:
                    raise DataError("its message_id is empty")
            except DataError as error:
                yield where, error
                continue
            if message.tree != name:
                yield from _scan_tree(kind, tree)
                finished.add(name)
                tree, name = {}, message.tree
            if name in finished:
                yield where, DataError(f"other rows of its tree, {name}, stand earlier; sort the file by tree")
            elif message.id in tree:
                yield where, DataError(f"its message_id, {message.id}, is also at {tree[message.id].where}")
            else:
                tree[message.id] = message
        yield from _scan_tree(kind, tree)


class OpenAssistantTrees(Format):
    """One tree a row: a prompt with `replies`, which have replies of their own."""

    name = "oasst-trees"
    title = "OpenAssistant trees"
    kinds = (Ranking, Preference)

    def evidence(self, row: Mapping[str, Any]) -> str | None:
        """A prompt that is a message with replies."""
        prompt = row.get("prompt")
        if isinstance(prompt, Mapping) and "replies" in prompt and prompt.get("text") is not None:
            return "prompt is a message with replies"
        return None

    def convert(self, kind: type, row: Mapping[str, Any]) -> Iterable[Row | DataError]:
        """Collect the rankings or pairs of the whole tree; a message that is left out stands as its reason."""
        if fault := _tree_fault(row):
            raise UnusedRow(fault)
        root = _nested(mapping(required(row, "prompt")))
        rows: list[Row | DataError] = []
        stack: list[tuple[_Message, list[dict[str, str]]]] = [(root, [])]
        while stack:
            message, before = stack.pop()
            if message.fault:
                rows.append(UnusedRow(f"a message of the tree {message.fault}; it and its replies are left out"))
                continue
            turns = [*before, message.turn()]
            with contextlib.suppress(UnusedRow):  # a message without ranked replies, as at the end of a thread
                rows += _judged(kind, message, turns)
            stack.extend((reply, turns) for reply in reversed(message.replies))
        if not rows:
            raise UnusedRow(NO_RANKING)
        return rows


@dataclass(eq=False)
class _Message:
    """A message of a tree."""

    where: str
    id: str
    parent: str
    tree: str
    role: str
    text: str
    rank: float | None
    fault: str
    replies: list[_Message] = field(default_factory=list)

    def turn(self) -> dict[str, str]:
        return {"role": self.role, "content": self.text}

    @property
    def ranked(self) -> list[_Message]:
        """The assistant's replies that can be ranked."""
        return [one for one in self.replies if one.role == "assistant" and one.rank is not None and not one.fault]


def _message(where: str, row: Mapping[str, Any]) -> _Message:
    role = required(row, "role")
    if not isinstance(role, str) or role not in ROLES:
        raise DataError(f"role is {brief(role)}, which is none of {' and '.join(ROLES)}")
    own = text(str(row.get("message_id") or ""), "message_id")
    parent, tree = _name(row, "parent_id"), _name(row, "message_tree_id")
    rank = row.get("rank")
    if media_cells(row):
        raise DataError(f"it has {' and '.join(media_cells(row))}, for which a message of a tree has no column")
    return _Message(
        where,
        own,
        parent,
        tree,
        ROLES[role],
        text(required(row, "text")),
        finite(rank, "rank") if filled(rank) and rank == rank else None,
        _tree_fault(row) or _fault(row),
    )


def _tree_fault(row: Mapping[str, Any]) -> str:
    """Return why a tree is left out; "" for one that is used, or whose state is not known."""
    state = row.get("tree_state")
    ready = not filled(state) or state != state or state == READY  # a table may hold NaN
    return "" if ready else f"its tree is not ready for export: tree_state is {brief(state)}"


def _fault(row: Mapping[str, Any]) -> str:
    """Return why a message is left out, as the end of a clause; "" for one that is used."""
    for key, bad, fault in FAULTS:
        value = row.get(key)
        if filled(value) and value == value and truth(value, key) is bad:
            return fault
    return ""


def _name(row: Mapping[str, Any], key: str) -> str:
    """Return an id as text, "" for none; a table may hold NaN where there is none."""
    value = row.get(key)
    return text(str(value), key) if filled(value) and value == value else ""


def _nested(root: Mapping[str, Any]) -> _Message:
    """Parse a message with its replies, to any depth."""
    first = _message("", root)
    stack = [(first, root)]
    while stack:
        message, row = stack.pop()
        for cell in listed(row.get("replies") or [], "replies"):
            reply = _message("", mapping(cell))
            message.replies.append(reply)
            stack.append((reply, mapping(cell)))
    return first


def _judged(kind: type, message: _Message, turns: list[dict[str, str]]) -> list[Row]:
    """Compare the replies to a message, of which 0 is the best rank."""
    if len(message.ranked) < 2 or message.role != "user":
        raise UnusedRow(FEW)
    answers = [ScoredAnswer(one.text, -float(one.rank or 0)) for one in message.ranked]
    prompt = {"prompt": turns}
    return preferences(prompt, answers, margins=False) if kind is Preference else [ranking(prompt, answers)]


def _scan_tree(kind: type, tree: dict[str, _Message]) -> Iterator[ScannedRow]:
    """Yield what each row of a tree is: a source of records, a part of one, unused, or damaged."""
    roots = [message for message in tree.values() if not message.parent]
    for message in tree.values():
        if message.parent and message.parent in tree:
            tree[message.parent].replies.append(message)
    reached: set[str] = set()
    stack: list[tuple[_Message, list[dict[str, str]], str]] = [(root, [], "") for root in reversed(roots)]
    outcomes: dict[str, list[Row | DataError]] = {}
    used: set[str] = set()
    while stack:
        message, before, gone = stack.pop()
        reached.add(message.id)
        turns, gone = [*before, message.turn()], gone or message.fault
        stack.extend((reply, turns, gone) for reply in reversed(message.replies))
        if gone:
            whole = gone if gone.startswith("its tree") else f"it, or a message before it, {gone}"
            outcomes[message.id] = [UnusedRow(whole)]
            continue
        try:
            outcomes[message.id] = list(_judged(kind, message, turns))
            used.update(one.id for one in message.ranked)
        except DataError as error:
            outcomes[message.id] = [UnusedRow(UNRANKED) if message.role == "assistant" else error]
    for message in tree.values():
        if message.id not in reached:
            lost = "its parents lead to no root" if message.parent in tree else "its parent is not in its tree"
            yield (
                message.where,
                DataError(f"message {message.id}: {lost} (parent_id {message.parent})"),
            )
        elif message.id in used:
            yield message.where, JoinedRow()
        else:
            yield from ((message.where, one) for one in outcomes[message.id])
