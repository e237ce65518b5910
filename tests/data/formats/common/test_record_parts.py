"""What a layout has no place for is counted by a conversion, or kept so that the way back is the same."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gnomon.core.types import Demonstration, Preference, Prompt
from gnomon.data.conversion import convert_file
from gnomon.data.records import read_records

CALL = {"id": "c1", "type": "function", "function": {"name": "tide", "arguments": {"port": "Brest"}}}
CALLS: dict[str, Any] = {
    "messages": [
        {"role": "user", "content": "How high is the tide in Brest?"},
        {"role": "assistant", "content": "", "tool_calls": [CALL]},
        {"role": "tool", "name": "tide", "tool_call_id": "c1", "content": "4 m"},
        {"role": "assistant", "content": "Four meters."},
    ]
}
PLAIN: dict[str, Any] = {"prompt": "Q", "completion": "A"}
NAMED: dict[str, Any] = {
    "prompt": {"id": "p", "messages": [{"role": "user", "content": "Q"}], "answer": "42"},
    "completion": {"id": "c", "text": "A", "source": "me"},
    "weight": 0.5,
}
PAIR: dict[str, Any] = {"prompt": "Q", "chosen": "A", "rejected": "B"}
STRONG = {**PAIR, "margin": 2.0, "probability": 0.75, "weight": 0.5}
LINKS = {"ids of tool calls": 1, "names of tools' results": 1}
IDS = {"ids of prompts": 1, "ids of completions": 1, "sources of completions": 1}


@pytest.mark.parametrize(
    ("to", "rows", "left_out"),
    [
        ("llama-factory-v1", [CALLS, PLAIN], {}),
        ("trl", [CALLS, PLAIN], {}),
        ("openrlhf", [CALLS, PLAIN], {}),
        ("llama-factory", [CALLS, PLAIN], LINKS),
        ("sharegpt", [CALLS, PLAIN], LINKS),
        ("gnomon", [CALLS, NAMED], {}),
        ("trl", [NAMED, PLAIN], IDS),
        ("sharegpt", [NAMED, PLAIN], {**IDS, "known answers": 1}),
        ("hh", [STRONG, PAIR], {"margins": 1, "probabilities": 1, "weights": 1}),
        ("trl", [STRONG, PAIR], {}),
        ("llama-factory-v1", [STRONG, PAIR], {}),
    ],
)
def test_rows_that_lose_a_part_are_counted(
    file_of: Callable[..., Path], tmp_path: Path, to: str, rows: list[dict[str, Any]], left_out: dict[str, int]
) -> None:
    result = convert_file(file_of(*rows), tmp_path / "out.jsonl", to)
    assert (result.written, result.left_out) == (2, left_out)


@pytest.mark.parametrize(("to", "left_out"), [("trl", {}), ("openrlhf", {}), ("gnomon", {})])
def test_prompts_keep_their_id_and_answer(
    file_of: Callable[..., Path], tmp_path: Path, to: str, left_out: dict[str, int]
) -> None:
    source = file_of({"id": "p", "messages": [{"role": "user", "content": "6 · 7?"}], "answer": "42"})
    assert convert_file(source, tmp_path / "out.jsonl", to).left_out == left_out
    (prompt,) = read_records(Prompt, tmp_path / "out.jsonl")
    assert (prompt.id, prompt.answer) == ("p", "42")


def test_the_counts_are_part_of_the_summary(file_of: Callable[..., Path], tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    lines = convert_file(file_of(CALLS, CALLS, NAMED), out, "sharegpt").sentence(out).splitlines()
    assert lines[0] == f"3 demonstrations in {out}"
    assert lines[1].startswith("left out, since the format has no place for them: ids of tool calls in 2 rows, ")
    assert lines[1].endswith("sources of completions in 1 row, known answers in 1 row")


@pytest.mark.parametrize("to", ["llama-factory-v1", "trl", "openrlhf"])
def test_calls_are_read_back_with_the_ids_that_link_their_results(
    file_of: Callable[..., Path], tmp_path: Path, to: str
) -> None:
    source = file_of(CALLS)
    convert_file(source, tmp_path / "out.jsonl", to)
    assert read_records(Demonstration, tmp_path / "out.jsonl") == read_records(Demonstration, source)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (
            {**PAIR, "chosen": [{"role": "assistant", "content": "", "tool_calls": [CALL]}]},
            "HH transcripts have no place for tool_calls, which a turn has",
        ),
        (
            {**PAIR, "tools": [{"type": "function", "function": {"name": "tide", "parameters": {}}}]},
            "HH transcripts have no place for tools, which the prompt has",
        ),
    ],
)
def test_what_a_transcript_cannot_hold_is_refused(
    file_of: Callable[..., Path], tmp_path: Path, row: dict[str, Any], reason: str
) -> None:
    result = convert_file(file_of(row, PAIR), tmp_path / "out.jsonl", "hh")
    assert (result.written, dict(result.rejected)) == (1, {reason: 1})
    assert len(read_records(Preference, tmp_path / "out.jsonl")) == 1
