"""Rendered records: the tokens of training in pieces, for every kind of record, in text and JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from tiny import byte_tokenizer

from gnomon.core.types import Demonstration, Preference
from gnomon.data.encoding import encode_preferences
from gnomon.data.records import parse_record
from gnomon.data.rendering import view
from gnomon.data.rendering.pieces import RenderedFile, RenderedPiece, render_file, render_record
from gnomon.data.rendering.view import as_json, as_text, show

START, END = "<|im_start|>", "<|im_end|>"
ASKED = f"{START}user\nQ{END}\n{START}assistant\n"


def rendered(tmp_path: Path, *rows: object, count: int = 9) -> RenderedFile:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return render_file(path, byte_tokenizer(chat=True), count)


def texts(pieces: tuple[RenderedPiece, ...]) -> list[tuple[str, str]]:
    return [(piece.kind, piece.text) for piece in pieces]


@pytest.mark.parametrize(
    ("row", "names"),
    [
        ({"prompt": "Q", "completion": "a"}, ["completion"]),
        ({"prompt": "Q", "completion": "a", "label": True}, ["good"]),
        ({"prompt": "Q", "completion": "a", "label": False}, ["bad"]),
        ({"prompt": "Q", "chosen": "a", "rejected": "b"}, ["chosen", "rejected"]),
        ({"prompt": "Q", "completions": ["a", "b", "c"]}, ["rank 1", "rank 2", "rank 3"]),
        ({"id": "1", "prompt": "Q", "text": "a", "ratings": [2, 3]}, ["text"]),
    ],
)
def test_every_kind_of_record_has_its_sequences(tmp_path: Path, row: dict[str, Any], names: list[str]) -> None:
    """Each of the same prompt, with a letter and the token that ends the turn."""
    (record,) = rendered(tmp_path, row).records
    assert [one.name for one in record.sequences] == names
    for letter, one in zip("abc", record.sequences, strict=False):
        assert texts(one.pieces) == [("masked", ASKED), ("trained", letter), ("stop", END)]
        assert (one.count("trained"), one.count("stop")) == (1, 1)


def test_a_prompt_is_read_alone(tmp_path: Path) -> None:
    (record,) = rendered(tmp_path, {"prompt": "Q"}).records
    assert [texts(one.pieces) for one in record.sequences] == [[("masked", ASKED)]]


def test_turns_of_others_and_unlearned_turns_are_masked() -> None:
    """An unlearned turn's end is no stop; an empty answer is its stop alone."""
    turns = [
        ("user", "Q"),
        ("assistant", "a"),
        ("tool", "t"),
        ("assistant", "b"),
        ("user", "R"),
        ("assistant", ""),
    ]
    messages: list[dict[str, Any]] = [{"role": role, "content": content} for role, content in turns]
    messages[3]["train"] = False
    record = parse_record(Demonstration, {"messages": messages})
    (sequence,) = render_record(record, byte_tokenizer(chat=True), "line 1").sequences
    middle = f"\n{START}tool\nt{END}\n{START}assistant\nb{END}\n{START}user\nR{END}\n{START}assistant\n"
    expected = [("masked", ASKED), ("trained", "a"), ("stop", END), ("masked", middle), ("stop", END)]
    assert texts(sequence.pieces) == expected


def test_the_tokens_are_those_of_training() -> None:
    tokenizer = byte_tokenizer(chat=True)
    record = parse_record(Preference, {"prompt": "Q", "chosen": "一部好电影。", "rejected": f"x{END}y 👍🏽"})
    (example,), _ = encode_preferences([record], tokenizer, 1000)
    for sequence, ids in zip(render_record(record, tokenizer, "").sequences, example.completions, strict=True):
        assert sum(piece.tokens for piece in sequence.pieces) == len(example.prompt) + len(ids)
        assert "".join(piece.text for piece in sequence.pieces) == tokenizer.decode([*example.prompt, *ids])


def test_what_training_rejects_stands_there_with_the_reason(tmp_path: Path) -> None:
    """Also a row that is no record, and a text without a prompt; the number of rows is limited."""
    equal, good = {"prompt": "Q", "chosen": "a", "rejected": "a"}, {"prompt": "Q", "chosen": "a", "rejected": "b"}
    records = rendered(tmp_path, good, equal, {"prompt": "Q", "chosen": "a"}, good, count=3).records
    assert [bool(record.sequences) for record in records] == [True, False, False]
    assert records[1].reason.startswith("two completions have the same tokens")
    assert records[1].turns == (("user", "Q"),)
    assert records[2].reason.startswith("no 'rejected' in it")
    (text,) = rendered(tmp_path, {"id": "1", "text": "a", "ratings": [1]}).records
    assert "a rated text without a prompt" in text.reason


def test_text_has_marks_and_escapes(tmp_path: Path) -> None:
    """Control characters of a terminal are visible, and never sent."""
    file = rendered(
        tmp_path, {"prompt": "Q\u202e\x1b[2J", "completion": "a\nb"}, {"prompt": "Q", "completion": 7}
    )
    text = as_text(file)
    assert text.splitlines()[2:] == [
        f"{START}user↵",
        f"Q\\u202e\\x1b[2J{END}↵",
        f"{START}assistant↵",
        "⟦a↵",
        f"b⟧⟨{END}⟩",
        "line 2: not used, 7 is neither a text nor a JSON object",
    ]
    # Of the prompt "Q" 19 tokens, 3 bytes of U+202E, and 4 characters.
    assert "line 1, completion: 26 masked, 3 trained, 1 stop" in text


def test_json_has_the_pieces(tmp_path: Path) -> None:
    content = as_json(rendered(tmp_path, {"prompt": "Q", "completion": "a"}))
    (record,) = json.loads(json.dumps(content))["records"]
    assert content["kind"] == "demonstrations"
    (sequence,) = record["sequences"]
    assert sequence["tokens"] == {"masked": 19, "trained": 1, "stop": 1}
    assert sequence["pieces"][1] == {"kind": "trained", "tokens": 1, "text": "a"}


def test_a_terminal_shows_colors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    file = rendered(tmp_path, {"prompt": "Q [bold]", "completion": "a"})
    monkeypatch.setattr(view, "Console", lambda **_: Console(force_terminal=True, highlight=False, width=60))
    show(file)
    out = capsys.readouterr().out
    assert "\x1b[32ma\x1b[0m" in out
    assert "Q [bold]" in out  # a user's text is no markup
