"""Rows of LLaMA-Factory's Alpaca and ShareGPT layouts that have more than those: pairs, KTO tags, histories.

{"instruction": "…", "input": "…", "output": "…", "system": "…", "history": [["…", "…"]]}
{"instruction": "…", "input": "…", "chosen": "…", "rejected": "…"}
{"conversations": [{"from": "human", "value": "…"}], "chosen": {"from": "gpt", "value": "…"}, "rejected": {…}}
{"conversations": […], "kto_tag": true}; each also with `messages` of `role` and `content` for `conversations`

https://github.com/hiyouga/LLaMA-Factory, data/README.md
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from gnomon.core.errors import DataError
from gnomon.core.types import Demonstration, Label, Message, Preference
from gnomon.data.formats.alpaca import INPUTS, instruction_with_input
from gnomon.data.formats.common.conversations import Messages, is_messages, most
from gnomon.data.formats.common.media_columns import marked_turns
from gnomon.data.formats.common.record_parts import STRENGTH
from gnomon.data.formats.common.writing import (
    check_no_media,
    conversation_of,
    final_answer,
    strength,
    tools_column,
)
from gnomon.data.formats.contract import Format, carried, has_value
from gnomon.data.formats.sharegpt import has_turns, message_of, turns_of, written_turns
from gnomon.data.reading.readers import Row
from gnomon.data.reading.row_fields import brief, listed, mapping, required

HOLDS = {Demonstration: "an answer to imitate", Preference: "chosen and rejected", Label: "a kto_tag"}
CONVERTED = {
    "instruction",
    *INPUTS,
    "output",
    "history",
    "conversations",
    "messages",
    "chosen",
    "rejected",
    "kto_tag",
}
TITLE = "LLaMA-Factory rows"


class LlamaFactory(Format):
    """Demonstrations, pairs and tagged answers."""

    name = "llama-factory"
    title = TITLE
    kinds = (Demonstration, Preference, Label)
    writes = (Demonstration, Preference, Label)

    def evidence(self, row: Mapping[str, Any]) -> str | None:
        """A prompt of one of the two layouts, with something that only LLaMA-Factory has beside it."""
        key = next((k for k in ("instruction", "conversations", "messages") if has_value(row, k)), None)
        pair = all(_is_side(row.get(side)) for side in ("chosen", "rejected"))
        if key is None or has_value(row, "prompt"):
            return None
        if key != "instruction" and not (has_turns(row[key]) or is_messages(row[key])):
            return None
        if pair or has_value(row, "kto_tag"):
            return f"{'chosen and rejected stand' if pair else 'kto_tag stands'} beside {key}"
        if key == "instruction" and isinstance(row.get("history"), list) and has_value(row, "output"):
            return "history holds the turns before instruction"
        return None

    def kind_of(self, rows: Sequence[Mapping[str, Any]]) -> type:
        """The kind that most rows have."""
        if most(rows, "chosen", "rejected"):
            return Preference
        return Label if most(rows, "kto_tag") else Demonstration

    def convert(self, kind: type, row: Mapping[str, Any]) -> Iterable[Row]:
        """Make messages of the prompt; turns of a history are learned with the answer, as LLaMA-Factory does."""
        if kind is not self.kind_of([row]):
            raise DataError(f"the row holds {HOLDS[self.kind_of([row])]}, where {HOLDS[kind]} is expected")
        turns, rest = _turns(row), carried(row, kind, CONVERTED)
        if kind is Preference:
            sides = {side: _side(required(row, side), side) for side in ("chosen", "rejected")}
            yield {**rest, "prompt": turns, **sides}
            return
        if row.get("instruction") is not None:
            turns.append({"role": "assistant", "content": required(row, "output")})
        if kind is Demonstration:
            yield {**rest, "messages": turns}
        else:
            yield {**rest, "prompt": turns[:-1], "completion": turns[-1:], "label": required(row, "kto_tag")}

    def keeps(self, kind: type) -> Collection[str]:
        """Columns for the strength."""
        return STRENGTH

    def write(self, record: Any) -> Row:
        """Write a conversation, its system message in a column, media in others, and the answers beside it."""
        if isinstance(record, Demonstration):
            turns, media = marked_turns(conversation_of(record, TITLE), TITLE)
            row = _written(turns, answered=True)
        elif isinstance(record, Label):
            answer = final_answer(record.completion, TITLE)
            turns, media = marked_turns((*record.prompt.messages, answer), TITLE)
            row = {**_written(turns, answered=True), "kto_tag": record.good}
        else:
            sides = [final_answer(side, TITLE) for side in (record.chosen, record.rejected)]
            check_no_media(sides, TITLE, " in the answers of a pair")
            turns, media = marked_turns((*record.prompt.messages, *sides), TITLE)
            row = _written(turns[:-2], answered=False)
            row["chosen"], row["rejected"] = (written_turns([side])[0] for side in turns[-2:])
        return {**row, **media, **tools_column(record.prompt, TITLE), **strength(record)}


def _turns(row: Mapping[str, Any]) -> Messages:
    """Return the conversation of a row; of an instruction, all but its output."""
    if row.get("conversations") is not None:
        turns = listed(row["conversations"], "conversations")
        return list(turns) if is_messages(turns) else turns_of(turns, "conversations")
    if row.get("messages") is not None:
        return list(listed(row["messages"], "messages"))
    turns = []
    for pair in listed(row.get("history") or [], "history"):
        if not isinstance(pair, list) or len(pair) != 2:
            raise DataError(f"history has {brief(pair)}, not a prompt with its answer")
        turns += [{"role": role, "content": text} for role, text in zip(("user", "assistant"), pair, strict=True)]
    turns.append({"role": "user", "content": instruction_with_input(row.get("instruction"), row)})
    return turns


def _is_side(value: Any) -> bool:
    """Whether a cell is one answer: a text, a turn, or a list of one turn; not a whole conversation."""
    return isinstance(value, str | Mapping) or ((is_messages(value) or has_turns(value)) and len(value) == 1)


def _side(value: Any, key: str) -> Any:
    """Return an answer as a text or messages; a table holds a turn as JSON."""
    if isinstance(value, str) and value.startswith("{"):
        with contextlib.suppress(ValueError, RecursionError):
            decoded = json.loads(value)
            value = decoded if isinstance(decoded, dict) and {"from", "value"} <= decoded.keys() else value
    if isinstance(value, Mapping) and "from" in value:
        return [message_of(value)]
    return (
        turns_of(value, key) if has_turns(value) else value if isinstance(value, str | list) else mapping(value)
    )


def _written(turns: Sequence[Message], *, answered: bool) -> Row:
    """Write turns as `conversations` and `system`.

    Raises:
        DataError: user and assistant do not alternate, which LLaMA-Factory skips.
    """
    system, rest = ("", turns) if turns[0].role != "system" else (turns[0].content, turns[1:])
    expected = [("assistant",) if index % 2 else ("user", "tool") for index in range(len(rest))]
    alternate = all(turn.role in roles for turn, roles in zip(rest, expected, strict=True))
    if not alternate or len(rest) % 2 == answered:
        raise DataError(f"{TITLE} have turns of user and assistant in alternation, and these do not alternate")
    return {"conversations": written_turns(rest), "system": system}
