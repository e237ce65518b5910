"""Records as JSON lines: what stages write is read back; what users bring is taken or refused by row."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from gnomon.core.errors import DataError
from gnomon.core.run_folder import write_jsonl
from gnomon.core.types import Completion, Demonstration, Message, Preference, Prompt, RatedText
from gnomon.data.records import read_records

PROMPT = Prompt("p1", (Message("system", "简短。"), Message("user", "How was\nthe film?")))
GOOD, BAD = Completion("c1", "很好 🎬", "people"), Completion("c2", "")
RECORDS: list[Sequence[Any]] = [
    [PROMPT, Prompt("p2", (Message("user", "a"), Message("assistant", "b"), Message("tool", "c")))],
    [Demonstration(PROMPT, GOOD, 0.5), Demonstration(PROMPT, BAD)],
    [Preference(PROMPT, GOOD, BAD, 0.75, -1.5, 2.0), Preference(PROMPT, BAD, GOOD)],
    [RatedText("film:1", "Great.", (4.0, -1.0, 3.5)), RatedText("film:2", "烂片", (-4.0,))],
]
SURROGATE = "\ud83c"


def written(tmp_path: Path, *rows: object) -> Path:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.mark.parametrize("records", RECORDS, ids=lambda r: type(r[0]).__name__)
def test_what_is_written_is_read_back(tmp_path: Path, records: Sequence[Any]) -> None:
    path = tmp_path / "rows.jsonl"
    write_jsonl(path, records)
    assert read_records(type(records[0]), path) == records


def test_plain_texts_are_enough(tmp_path: Path) -> None:
    path = written(tmp_path, {"prompt": "Q", "chosen": "yes", "rejected": "no"})
    (found,) = read_records(Preference, path)
    assert found.prompt.messages == (Message("user", "Q"),)
    assert (found.chosen.text, found.rejected.text) == ("yes", "no")
    assert (found.probability, found.margin, found.weight) == (1.0, 0.0, 1.0)
    (demonstration,) = read_records(Demonstration, written(tmp_path, {"prompt": "Q", "completion": "A"}))
    assert demonstration.prompt == found.prompt
    assert demonstration.completion.text == "A"
    assert read_records(Prompt, written(tmp_path, {"prompt": "Q"})) == [found.prompt]


def test_equal_texts_get_equal_ids_and_others_do_not(tmp_path: Path) -> None:
    rows = [{"prompt": p, "completion": c} for p, c in (("Q", "a"), ("Q", "b"), ("R", "a"))]
    first, second, third = read_records(Demonstration, written(tmp_path, *rows))
    assert first.prompt.id == second.prompt.id != third.prompt.id
    assert first.completion.id == third.completion.id != second.completion.id


def test_an_id_of_zero_is_an_id(tmp_path: Path) -> None:
    row = {"id": 0, "messages": [{"role": "user", "content": "Q"}]}
    assert read_records(Prompt, written(tmp_path, row))[0].id == "0"


def test_one_id_cannot_stand_for_two_prompts(tmp_path: Path) -> None:
    def row(text: str) -> dict[str, Any]:
        return {"prompt": {"id": "1", "messages": [{"role": "user", "content": text}]}, "completion": "a"}

    assert len(read_records(Demonstration, written(tmp_path, row("Q"), row("Q")))) == 2
    with pytest.raises(DataError, match=r"row 2: prompt id '1' stood for another prompt above"):
        read_records(Demonstration, written(tmp_path, row("Q"), row("R")))


def chat(*turns: object) -> dict[str, object]:
    return {"messages": list(turns)}


BROKEN: list[tuple[type, dict[str, object], str]] = [
    (Prompt, {"text": "Q"}, "no 'prompt' in it"),
    (Prompt, {"prompt": 3}, "3 is neither a text nor a JSON object"),
    (Prompt, {"prompt": None}, "None is neither"),
    (Prompt, {"messages": "Q"}, "messages is not a list"),
    (Prompt, {"prompt": [{"role": "user", "content": "Q"}]}, "is neither a text nor a JSON object"),
    (Prompt, chat(), "a message has a role"),
    (Prompt, chat("Q"), "'Q' is neither a text nor"),
    (Prompt, chat({"role": "human", "content": "Q"}), "a role of system, user, assistant or tool"),
    (Prompt, chat({"role": "user"}), "no 'content' in it"),
    (Prompt, chat({"role": "user", "content": ["Q"]}), "is not a text"),
    (Demonstration, {"prompt": "Q"}, "no 'completion' in it"),
    (Demonstration, {"prompt": "Q", "completion": 5}, "5 is neither"),
    (Demonstration, {"prompt": "Q", "completion": {"id": "x"}}, "no 'text' in it"),
    (Demonstration, {"prompt": "Q", "completion": "A", "weight": -1}, "weight is -1.0, outside 0.0 to"),
    (Demonstration, {"prompt": "Q", "completion": "A", "weight": float("nan")}, "weight is nan"),
    (Demonstration, {"prompt": "Q", "completion": "A", "weight": "heavy"}, "could not convert"),
    (Demonstration, {"prompt": "Q", "completion": "A", "weight": None}, "float"),
    (Preference, {"prompt": "Q", "chosen": "a"}, "no 'rejected' in it"),
    (
        Preference,
        {"prompt": "Q", "chosen": "a", "rejected": "b", "probability": 1.5},
        "probability is 1.5, outside",
    ),
    (Preference, {"prompt": "Q", "chosen": "a", "rejected": "b", "margin": float("inf")}, "margin is inf"),
    (RatedText, {"text": "a", "ratings": [1]}, "no 'id' in it"),
    (RatedText, {"id": "1", "text": "a", "ratings": []}, "at least one finite number"),
    (RatedText, {"id": "1", "text": "a", "ratings": "45"}, "at least one finite number"),
    (RatedText, {"id": "1", "text": "a", "ratings": [1, float("nan")]}, "at least one finite number"),
    (RatedText, {"id": "1", "text": "a", "ratings": ["good"]}, "could not convert"),
    (RatedText, {"id": "1", "text": 7, "ratings": [1]}, "7 is not a text"),
]
SOUND: dict[type, dict[str, object]] = {
    Prompt: {"prompt": "Q"},
    Demonstration: {"prompt": "Q", "completion": "A"},
    Preference: {"prompt": "Q", "chosen": "a", "rejected": "b"},
    RatedText: {"id": "0", "text": "a", "ratings": [1]},
}


@pytest.mark.parametrize(("kind", "row", "reason"), BROKEN)
def test_a_malformed_row_is_refused_by_file_and_row(
    tmp_path: Path, kind: type, row: dict[str, object], reason: str
) -> None:
    path = written(tmp_path, SOUND[kind], row, SOUND[kind])
    with pytest.raises(DataError) as found:
        read_records(kind, path)
    message = str(found.value)
    assert message.startswith(f"{path}, row 2: ")
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
    with pytest.raises(DataError, match=r"rows\.jsonl, row 1: .*half of a surrogate pair"):
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
