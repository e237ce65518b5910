"""Parsing of records: written records are read back, and users' rows are accepted or refused one by one."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from gnomon.core.errors import DataError
from gnomon.core.storage.files import write_jsonl
from gnomon.core.types import (
    Completion,
    Demonstration,
    Label,
    Message,
    Preference,
    Prompt,
    Ranking,
    RatedText,
)
from gnomon.data.records import disambiguate_prompt_ids, parse_record, read_records, scan_records

PROMPT = Prompt("p1", (Message("system", "简短。"), Message("user", "How was\nthe film?")))
GOOD, BAD = Completion("c1", "很好 🎬", "people"), Completion("c2", "")
TALK = Completion(
    "c3", "a\n\nc", turns=(Message("assistant", "a"), Message("tool", "b"), Message("assistant", "c"))
)
RECORDS: list[Sequence[Any]] = [
    [PROMPT, Prompt("p2", (Message("user", "a"), Message("assistant", "b"), Message("tool", "c")))],
    [Demonstration(PROMPT, GOOD, 0.5), Demonstration(PROMPT, BAD)],
    [Preference(PROMPT, GOOD, BAD, 0.75, -1.5, 2.0), Preference(PROMPT, BAD, GOOD)],
    [Label(PROMPT, GOOD, True, 0.5), Label(PROMPT, TALK, False)],
    [Ranking(PROMPT, (GOOD, BAD, TALK), 2.0)],
    [RatedText("film:1", "Great.", (4.0, -1.0, 3.5)), RatedText("film:2", "烂片", (-4.0,))],
]
SURROGATE = "\ud83c"


def written(tmp_path: Path, *rows: object) -> Path:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_one_id_for_two_prompts_gets_its_source_in_front() -> None:
    """q differs between a and b, p does not: only q is renamed, in c too, whose q is that of a."""
    q, other, p = (Prompt(i, (Message("user", content),)) for i, content in (("q", "1"), ("q", "2"), ("p", "3")))
    result = disambiguate_prompt_ids({"a": [q, p], "b": [other, p], "c": [q]})
    assert {name: [r.id for r in records] for name, records in result.items()} == {
        "a": ["a:q", "p"], "b": ["b:q", "p"], "c": ["c:q"],
    }  # fmt: skip
    assert result["b"][0].messages == other.messages
    shown = disambiguate_prompt_ids({"a": [Demonstration(q, GOOD, 0.5)], "b": [Demonstration(other, BAD)]})
    assert shown["a"] == [Demonstration(Prompt("a:q", q.messages), GOOD, 0.5)]
    assert disambiguate_prompt_ids({"a": [q, p], "b": [q]}) == {"a": [q, p], "b": [q]}


@pytest.mark.parametrize("records", RECORDS, ids=lambda r: type(r[0]).__name__)
def test_written_records_are_read_back(tmp_path: Path, records: Sequence[Any]) -> None:
    path = tmp_path / "rows.jsonl"
    write_jsonl(path, records)
    assert read_records(type(records[0]), path) == records


def test_plain_texts_are_enough(tmp_path: Path) -> None:
    path = written(tmp_path, {"prompt": "Q", "chosen": "yes", "rejected": "no"})
    (record,) = read_records(Preference, path)
    assert record.prompt.messages == (Message("user", "Q"),)
    assert (record.chosen.text, record.rejected.text) == ("yes", "no")
    assert (record.probability, record.margin, record.weight) == (1.0, 0.0, 1.0)
    (demonstration,) = read_records(Demonstration, written(tmp_path, {"prompt": "Q", "completion": "A"}))
    assert demonstration.prompt == record.prompt
    assert demonstration.completion.text == "A"
    assert read_records(Prompt, written(tmp_path, {"prompt": "Q"})) == [record.prompt]


def test_equal_texts_get_equal_ids_and_others_do_not(tmp_path: Path) -> None:
    rows = [{"prompt": p, "completion": c} for p, c in (("Q", "a"), ("Q", "b"), ("R", "a"))]
    first, second, third = read_records(Demonstration, written(tmp_path, *rows))
    assert first.prompt.id == second.prompt.id != third.prompt.id
    assert first.completion.id == third.completion.id != second.completion.id


def test_labels_of_steps_are_no_ranking() -> None:
    row = {"prompt": "a", "completions": ["x", "y"], "labels": [True, False]}
    with pytest.raises(DataError, match="the row has labels, one for each step"):
        parse_record(Ranking, row)


def test_an_id_of_zero_is_an_id(tmp_path: Path) -> None:
    row = {"id": 0, "messages": [{"role": "user", "content": "Q"}]}
    assert read_records(Prompt, written(tmp_path, row))[0].id == "0"


def test_one_id_for_two_prompts_is_refused(tmp_path: Path) -> None:
    def row(text: str) -> dict[str, Any]:
        return {"prompt": {"id": "1", "messages": [{"role": "user", "content": text}]}, "completion": "a"}

    assert len(read_records(Demonstration, written(tmp_path, row("Q"), row("Q")))) == 2
    with pytest.raises(DataError, match=r"line 2: prompt id '1' stands for another prompt at line 1"):
        read_records(Demonstration, written(tmp_path, row("Q"), row("R")))


def chat(*turns: object) -> dict[str, object]:
    return {"messages": list(turns)}


def test_scan_yields_records_and_errors_in_order(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"prompt": "a"}\n\nnot json\n[1]\n{"prompt": ""}\n{"prompt": "b"}\n', encoding="utf-8")
    records = list(scan_records(Prompt, path))
    assert [where for where, _ in records] == ["line 1", "line 3", "line 4", "line 5", "line 6"]
    assert [isinstance(record, Prompt) for _, record in records] == [True, False, False, False, True]
    assert "not a JSON object" in str(records[2][1])


def test_a_prompt_keeps_its_rows_id_and_a_record_does_not_take_it(tmp_path: Path) -> None:
    """The id of a demonstration's row is the row's: equal prompts are still one group."""
    (prompt,) = read_records(Prompt, written(tmp_path, {"id": 7, "prompt": "Q"}))
    assert prompt == Prompt("7", (Message("user", "Q"),))
    rows = [{"id": str(n), "prompt": "Q", "completion": "A"} for n in range(2)]
    first, second = read_records(Demonstration, written(tmp_path, *rows))
    assert first.prompt.id == second.prompt.id


def test_a_table_holds_numbers_truth_and_lists_as_text(tmp_path: Path) -> None:
    table = tmp_path / "rows.csv"
    table.write_text("prompt,completion,label,weight\nQ,A,TRUE,2.5\nQ,B,0,\n", encoding="utf-8-sig")
    first, second = read_records(Label, table)
    assert (first.good, first.weight, second.good, second.weight) == (True, 2.5, False, 1.0)
    table.write_text('id,text,ratings\n1,good,"[4, 5]"\n', encoding="utf-8")
    assert read_records(RatedText, table) == [RatedText("1", "good", (4.0, 5.0))]
    table.write_text("prompt,completion,label,weight\nQ,A,yes,1\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"rows\.csv, line 2: label is 'yes', neither true nor false; a row is"):
        read_records(Label, table)


BROKEN: list[tuple[type, dict[str, object], str]] = [
    (Prompt, {"text": "Q"}, "no 'prompt' in it"),
    (Prompt, {"prompt": 3}, "3 is neither a text nor a JSON object"),
    (Prompt, {"prompt": None}, "'prompt' is null"),
    (Prompt, {"prompt": " \n"}, "the prompt is empty"),
    (Prompt, {"prompt": []}, "the prompt ends before it starts"),
    (
        Prompt,
        chat({"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}),
        "the assistant's turn",
    ),
    (Prompt, chat({"role": "user", "content": "Q", "tool_calls": [{"name": "f"}]}), "a message has tool_calls"),
    (Prompt, {"messages": "Q"}, "messages is not a list"),
    (Prompt, {"prompt": ["Q"]}, "'Q' is neither a text nor a JSON object"),
    (Prompt, chat(), "the prompt ends before it starts"),
    (Prompt, chat("Q"), "'Q' is neither a text nor"),
    (Prompt, chat({"role": "human", "content": "Q"}), "a role of system, user, assistant or tool"),
    (Prompt, chat({"role": "user"}), "no 'content' in it"),
    (Prompt, chat({"role": "user", "content": ["Q"]}), "content is a list with 'Q' in it"),
    (Prompt, chat({"role": "user", "content": 7}), "content: 7 is not a text"),
    (Demonstration, {"prompt": "Q"}, "no 'completion' in it"),
    (Demonstration, {"prompt": "Q", "completion": 5}, "5 is neither"),
    (Demonstration, {"prompt": "Q", "completion": {"id": "x"}}, "no 'text' in it"),
    (Demonstration, {"prompt": "Q", "completion": "A", "weight": -1}, "weight is -1.0, outside 0.0 to"),
    (Demonstration, {"prompt": "Q", "completion": "A", "weight": float("nan")}, "weight is nan"),
    (Demonstration, {"prompt": "Q", "completion": "A", "weight": "heavy"}, "weight is 'heavy', not a number"),
    (Demonstration, {"prompt": "Q", "completion": []}, "the completion has no messages"),
    (Demonstration, {"prompt": "Q", "completion": [{"role": "user", "content": "A"}]}, "not the user's"),
    (Demonstration, chat({"role": "user", "content": "Q"}), "messages have no turn of the assistant"),
    (Label, {"prompt": "Q", "completion": "A"}, "no 'label' in it"),
    (Label, {"prompt": "Q", "completion": "A", "label": 2}, "label is 2, neither true nor false"),
    (Ranking, {"prompt": "Q", "completions": ["A"]}, "fewer than two"),
    (Ranking, {"prompt": "Q", "completions": "A"}, "completions is not a list"),
    (Preference, {"prompt": "Q", "chosen": "a"}, "no 'rejected' in it"),
    (
        Preference,
        {"prompt": "Q", "chosen": "a", "rejected": "b", "probability": 1.5},
        "probability is 1.5, outside",
    ),
    (Preference, {"prompt": "Q", "chosen": "a", "rejected": "b", "margin": float("inf")}, "margin is inf"),
    (RatedText, {"text": "a", "ratings": [1]}, "no 'id' in it"),
    (RatedText, {"id": "1", "text": "a", "ratings": []}, "at least one finite number"),
    (RatedText, {"id": "1", "text": "a", "ratings": "45"}, "ratings is not a list"),
    (RatedText, {"id": "1", "text": "a", "ratings": [1, float("nan")]}, "at least one finite number"),
    (RatedText, {"id": "1", "text": "a", "ratings": ["good"]}, "at least one finite number"),
    (RatedText, {"id": "1", "text": 7, "ratings": [1]}, "7 is not a text"),
]
SOUND: dict[type, dict[str, object]] = {
    Prompt: {"prompt": "Q"},
    Demonstration: {"prompt": "Q", "completion": "A"},
    Preference: {"prompt": "Q", "chosen": "a", "rejected": "b"},
    RatedText: {"id": "0", "text": "a", "ratings": [1]},
    Label: {"prompt": "Q", "completion": "A", "label": True},
    Ranking: {"prompt": "Q", "completions": ["A", "B"]},
}


@pytest.mark.parametrize(("kind", "row", "reason"), BROKEN)
def test_a_malformed_row_is_refused_by_file_and_row(
    tmp_path: Path, kind: type, row: dict[str, object], reason: str
) -> None:
    path = written(tmp_path, SOUND[kind], row, SOUND[kind])
    with pytest.raises(DataError) as excinfo:
        read_records(kind, path)
    message = str(excinfo.value)
    assert message.startswith(f"{path}, line 2: ")
    assert reason in message
    assert 'a row is {"' in message  # and what would be right
    assert "\n" not in message


@pytest.mark.parametrize(
    ("kind", "row"),
    [
        (Prompt, {"prompt": f"Q{SURROGATE}"}),
        (Prompt, {"id": SURROGATE, "messages": [{"role": "user", "content": "Q"}]}),
        (Demonstration, {"prompt": "Q", "completion": f"A{SURROGATE}"}),
        (Demonstration, {"prompt": "Q", "completion": {"id": SURROGATE, "text": "A"}}),
        (Preference, {"prompt": "Q", "chosen": "a", "rejected": SURROGATE}),
        (RatedText, {"id": "1", "text": SURROGATE, "ratings": [1]}),
        (RatedText, {"id": SURROGATE, "text": "a", "ratings": [1]}),
    ],
)
def test_half_a_surrogate_pair_is_no_text(tmp_path: Path, kind: type, row: dict[str, object]) -> None:
    with pytest.raises(DataError, match=r"rows\.jsonl, line 1: .*half of a surrogate pair"):
        read_records(kind, written(tmp_path, row))


def test_a_whole_surrogate_pair_is_a_text(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"prompt": "\\ud83c\\udfac"}\n', encoding="utf-8")
    assert read_records(Prompt, path)[0].messages[0].content == "🎬"


@pytest.mark.parametrize("kind", list(SOUND))
def test_an_empty_file_is_refused(tmp_path: Path, kind: type) -> None:
    path = written(tmp_path)
    with pytest.raises(DataError, match=r"rows\.jsonl holds no rows; a row is "):
        read_records(kind, path)
