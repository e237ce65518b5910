"""Messages as LLaMA-Factory's version 1 has them: contents in parts, and a weight in the loss for each message.

{"messages": [{"role": "user", "content": [{"type": "text", "value": "…"}], "loss_weight": 0.0}, …]}
{"chosen_messages": […], "rejected_messages": […]}

https://github.com/hiyouga/LLaMA-Factory, src/llamafactory/v1/utils/types.py
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from gnomon.core.errors import DataError
from gnomon.core.types import Demonstration, Message, Preference
from gnomon.data.formats.common.conversations import Messages, answered, is_messages, most
from gnomon.data.formats.common.record_parts import CALL_IDS, RESULT_NAMES, STRENGTH
from gnomon.data.formats.common.writing import strength, turns_of_completion
from gnomon.data.formats.contract import Format, UnusedRow, carried
from gnomon.data.formats.sharegpt import calls_of
from gnomon.data.reading.media.parts import segments
from gnomon.data.reading.messages import context_row, message_row
from gnomon.data.reading.readers import Row
from gnomon.data.reading.row_fields import brief, filled, listed, mapping, number, required, text

SIDES = {"chosen": "chosen_messages", "rejected": "rejected_messages"}
WEIGHT = "loss_weight"


class LlamaFactoryV1(Format):
    """Demonstrations whose turns have weights, and pairs of conversations."""

    name = "llama-factory-v1"
    title = "LLaMA-Factory messages with content parts"
    kinds = (Demonstration, Preference)
    writes = (Demonstration, Preference)

    def evidence(self, row: Mapping[str, Any]) -> str | None:
        """Messages with a weight, or with contents in parts that have a value."""
        for key in ("messages", *SIDES.values()):
            turns: Any = row.get(key)
            if is_messages(turns) and any(map(_is_weighted, turns)):
                return f"{key} holds contents with type and value, or {WEIGHT}"
        return None

    def kind_of(self, rows: Sequence[Mapping[str, Any]]) -> type:
        """Preferences where most rows have two sides."""
        return Preference if most(rows, *SIDES.values()) else Demonstration

    def convert(self, kind: type, row: Mapping[str, Any]) -> Iterable[Row]:
        """Make a demonstration for each weight among the turns, which learns the turns of that weight.

        The prompt reaches to the first turn that is learned. Together the demonstrations have the loss of the
        row: each token counts once, by its weight.
        """
        if kind is Preference:
            sides = {side: _pair_side(required(row, key), key) for side, key in SIDES.items()}
            yield {**carried(row, kind, {*SIDES.values()}), **sides}
            return
        weighted = [_weighted(mapping(turn)) for turn in listed(required(row, "messages"), "messages")]
        turns = answered(row, [turn for turn, _ in weighted])
        weights = sorted({weight for _, weight in weighted if weight}, reverse=True)
        if not weights:
            raise UnusedRow(f"no turn has a {WEIGHT} above 0")
        rest, whole = carried(row, kind, {"messages", "weight"}), number(row, "weight", 1.0, 0.0, 1e9)
        for one in weights:
            learned = [weight == one for _, weight in weighted[: len(turns)]]
            start, end = learned.index(True), len(learned) - learned[::-1].index(True)
            yield {
                **rest,
                "prompt": turns[:start],
                "completion": [_marked(*pair) for pair in zip(turns[start:end], learned[start:end], strict=True)],
                "weight": whole * one,
            }

    def keeps(self, kind: type) -> Collection[str]:
        """Columns for the strength, and links between calls and results in the messages."""
        return {CALL_IDS, RESULT_NAMES, *STRENGTH}

    def write(self, record: Demonstration | Preference) -> Row:
        """Write whole conversations; only the turns that are learned have a weight."""
        before = [_written(turn, 0.0) for turn in record.prompt.messages]
        extras = {k: json.dumps(v, ensure_ascii=False) for k, v in context_row(record.prompt).items()}
        if isinstance(record, Demonstration):
            turns = turns_of_completion(record.completion)
            return {"messages": [*before, *(_written(t, record.weight) for t in turns)], **extras}
        sides = {
            key: [*before, *(_written(turn, 1.0) for turn in turns_of_completion(getattr(record, side)))]
            for side, key in SIDES.items()
        }
        return {**sides, **strength(record), **extras}


def _is_weighted(turn: Mapping[str, Any]) -> bool:
    parts = turn.get("content")
    has_values = isinstance(parts, list) and any(isinstance(p, Mapping) and "value" in p for p in parts)
    return has_values or WEIGHT in turn


def _weighted(turn: Mapping[str, Any]) -> tuple[dict[str, Any], float]:
    """Return a message and its weight in the loss.

    Raises:
        DataError: the weight is no number from 0, or not 0 in a turn that is not the assistant's.
    """
    role = required(turn, "role")
    weight = number(turn, WEIGHT, float(role == "assistant"), 0.0, 1e6)
    if weight and role != "assistant":
        raise DataError(
            f"a message of the role {brief(role)} has {WEIGHT} {weight:g}, but only the assistant's turns are "
            "learned; set it to 0"
        )
    message = {key: turn[key] for key in turn if key not in (WEIGHT, "content")}
    return {**message, **_contents(turn.get("content"))}, weight


def _contents(content: Any) -> Row:
    """Return the keys of a message for its parts; parts other than text, reasoning and calls stay as they are."""
    if not isinstance(content, list):
        return {"content": content}
    own: Row = {"content": []}
    for part in map(mapping, content):
        kind, value = part.get("type", "text"), part.get("value")
        if kind == "reasoning":
            own["reasoning_content"] = own.get("reasoning_content", "") + text(value, "reasoning")
        elif kind == "tool_call":
            own["tool_calls"] = own.get("tool_calls", []) + calls_of(value)
        else:
            own["content"].append(part if kind != "text" or value is None else {"type": "text", "text": value})
    return own


def _pair_side(value: Any, key: str) -> Messages:
    """Return the messages of one side of a pair.

    Raises:
        DataError: a turn has a weight other than 0 and 1.
    """
    turns = []
    for turn, weight in (_weighted(mapping(one)) for one in listed(value, key)):
        if weight not in (0.0, 1.0):
            raise DataError(
                f"a turn of {key} has {WEIGHT} {weight:g}; in a pair it is 0 or 1, and the row has a weight"
            )
        turns.append(_marked(turn, bool(weight)))
    return turns


def _marked(turn: dict[str, Any], learned: bool) -> dict[str, Any]:
    return {**turn, "train": False} if turn["role"] == "assistant" and not learned else turn


def _flat(call: Mapping[str, Any]) -> Row:
    """Return a call with its name, its arguments, and its id, which LLaMA-Factory passes over."""
    own = {"id": call["id"]} if "id" in call else {}
    return {**call["function"], **own}


def _written(turn: Message, weight: float) -> Row:
    row = message_row(turn)
    parts = [{"type": "reasoning", "value": row.pop("reasoning_content")}] if turn.reasoning_content else []
    calls = [_flat(call) for call in row.pop("tool_calls", [])]
    if filled(turn.content) or turn.media or not (parts or calls):
        parts += [
            {"type": "text", "value": one}
            if isinstance(one, str)
            else {"type": f"{one.kind}_url", "value": one.source}
            for one in segments(turn)
            if one != "" or not turn.media
        ]
    parts += [{"type": "tool_call", "value": json.dumps(call, ensure_ascii=False)} for call in calls]
    learned = turn.role == "assistant" and row.pop("train", True)
    return {**row, "content": parts, WEIGHT: weight if learned else 0.0}
