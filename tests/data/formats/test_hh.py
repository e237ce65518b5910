"""Anthropic HH transcripts: turns, shared prompts, and the way back to the same bytes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gnomon.core.errors import DataError
from gnomon.core.types import Preference
from gnomon.data.conversion import convert_file
from gnomon.data.inspection import inspect
from gnomon.data.records import read_records

HELLO = "\n\nHuman: Hi\n\nAssistant: Hello!\n\nHuman: Name a film. \n\nAssistant: "


def write(path: Path, *rows: dict[str, str]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_the_turns_that_both_sides_share_are_the_prompt(tmp_path: Path) -> None:
    file = write(tmp_path / "hh.jsonl", {"chosen": f"{HELLO}Metropolis.", "rejected": f"{HELLO}Go away."})
    (record,) = read_records(Preference, file)
    turns = [(turn.role, turn.content) for turn in record.prompt.messages]
    assert turns == [("user", "Hi"), ("assistant", "Hello!"), ("user", "Name a film. ")]
    assert (record.chosen.text, record.rejected.text) == ("Metropolis.", "Go away.")
    assert inspect(file).kind is Preference


def test_answers_that_part_before_the_last_turn_keep_their_turns(tmp_path: Path) -> None:
    start = "\n\nHuman: Hi\n\nAssistant: "
    chosen, rejected = (
        f"{start}Yes\n\nHuman: Why?\n\nAssistant: So.",
        f"{start}No\n\nHuman: Why?\n\nAssistant: Hm.",
    )
    (record,) = read_records(Preference, write(tmp_path / "hh.jsonl", {"chosen": chosen, "rejected": rejected}))
    assert len(record.prompt.messages) == 1
    assert [turn.content for turn in record.chosen.turns or ()] == ["Yes", "Why?", "So."]


def test_transcripts_are_written_back_byte_for_byte(tmp_path: Path) -> None:
    rows = [
        {"chosen": f"{HELLO}Metropolis.", "rejected": f"{HELLO}Go away. \n"},
        {"chosen": f"{HELLO}花样年华\n\nand more", "rejected": f"{HELLO}"},
        {
            "chosen": "\n\nHuman: a\n\nHuman: b\n\nAssistant: c",
            "rejected": "\n\nHuman: a\n\nHuman: b\n\nAssistant: d",
        },
    ]
    convert_file(write(tmp_path / "hh.jsonl", *rows), tmp_path / "own.jsonl", "gnomon")
    convert_file(tmp_path / "own.jsonl", tmp_path / "again.jsonl", "hh")
    again = [json.loads(line) for line in (tmp_path / "again.jsonl").read_text("utf-8").splitlines()]
    assert again == rows


def test_equal_transcripts_are_not_used_and_broken_ones_are_refused(tmp_path: Path) -> None:
    good = {"chosen": f"{HELLO}Metropolis.", "rejected": f"{HELLO}Go away."}
    same = {"chosen": f"{HELLO}x", "rejected": f"{HELLO}x"}
    ends = {"chosen": f"{HELLO}x\n\nHuman: And?", "rejected": f"{HELLO}y"}
    file = write(tmp_path / "hh.jsonl", good, same)
    assert len(read_records(Preference, file)) == 1
    (unused,) = inspect(file).refused
    assert (unused.where, unused.reason) == ("line 2", "chosen and rejected are the same transcript")
    with pytest.raises(DataError, match=r"hh\.jsonl, line 2: a completion starts and ends with the assistant's"):
        read_records(Preference, write(tmp_path / "hh.jsonl", good, ends))


def test_a_turn_that_looks_like_two_is_not_written(tmp_path: Path) -> None:
    row = {"prompt": "x\n\nHuman: y", "chosen": "a", "rejected": "b"}
    with pytest.raises(DataError, match="another turn's mark in it"):
        convert_file(write(tmp_path / "own.jsonl", row), tmp_path / "hh.jsonl", "hh")
    assert not (tmp_path / "hh.jsonl").exists()
