r"""Transcripts as Anthropic's HH-RLHF has them: turns that start with `\n\nHuman: ` and `\n\nAssistant: `.

Bai et al. 2022, arXiv 2204.05862; https://github.com/anthropics/hh-rlhf
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from gnomon.core.errors import DataError
from gnomon.core.types import Message, Preference
from gnomon.data.formats.common.writing import check_no_tools, check_plain, check_preferred
from gnomon.data.formats.contract import Format, UnusedRow
from gnomon.data.reading.readers import Row
from gnomon.data.reading.row_fields import required, text

TURN = re.compile(r"\n\n(Human|Assistant):[ ]?")
TITLE = "HH transcripts"
START = "\n\nAssistant:"
ROLES = {"Human": "user", "Assistant": "assistant"}
NAMES = {"user": "Human", "assistant": "Assistant"}


class HHTranscripts(Format):
    """Preferences between two transcripts that share their first turns."""

    name = "hh"
    title = f"Anthropic {TITLE}"
    kinds = (Preference,)
    writes = (Preference,)

    def evidence(self, row: Mapping[str, Any]) -> str | None:
        """Both sides are texts that start with a turn of the human."""
        sides = (row.get("chosen"), row.get("rejected"))
        if all(map(is_transcript, sides)) and row.get("prompt") is None:
            return "chosen and rejected are transcripts with Human: and Assistant: turns"
        return None

    def convert(self, kind: type, row: Mapping[str, Any]) -> Iterable[Row]:
        """Split both transcripts into turns; the turns that they share at the start are the prompt."""
        chosen = turns_of(text(required(row, "chosen"), "chosen"))
        rejected = turns_of(text(required(row, "rejected"), "rejected"))
        if chosen == rejected:
            raise UnusedRow("chosen and rejected are the same transcript")
        yield {"chosen": chosen, "rejected": rejected}

    def write(self, record: Preference) -> Row:
        """Write both sides as whole transcripts."""
        check_preferred(record)
        check_no_tools(record.prompt, TITLE)
        row = {}
        for side in ("chosen", "rejected"):
            completion = getattr(record, side)
            turns = completion.turns or (Message("assistant", completion.text),)
            row[side] = "".join(_written(turn) for turn in (*record.prompt.messages, *turns))
        return row


def is_transcript(value: Any) -> bool:
    """Return whether a cell is a text that starts with a turn of the human."""
    return isinstance(value, str) and value.lstrip().startswith("Human:")


def is_open_transcript(value: Any) -> bool:
    """Return whether a cell is a transcript that ends where the assistant's turn starts."""
    return is_transcript(value) and str(value).rstrip().endswith(START)


def turns_of(transcript: str) -> list[dict[str, str]]:
    """Split a transcript into messages; their contents are kept to the last space.

    Raises:
        DataError: text stands before the first turn.
    """
    pieces = TURN.split(transcript if transcript.startswith("\n\n") else f"\n\n{transcript}")
    if pieces[0].strip():
        raise DataError(f"the transcript starts with no turn of Human: or Assistant: but with {pieces[0]:.40}")
    return [
        {"role": ROLES[role], "content": content}
        for role, content in zip(pieces[1::2], pieces[2::2], strict=True)
    ]


def _written(turn: Message) -> str:
    if turn.role not in NAMES:
        raise DataError(f"HH transcripts have no turns of the {turn.role}")
    check_plain(turn, TITLE)
    if TURN.search(turn.content):
        raise DataError("a turn has another turn's mark in it, Human: or Assistant: after an empty line")
    return f"\n\n{NAMES[turn.role]}: {turn.content}"
