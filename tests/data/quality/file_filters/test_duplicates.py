"""Exact duplicates."""

from __future__ import annotations

from pathlib import Path

from quality_rows import cleaned, pair

OFF = {"near_duplicates": "off", "contradictions": "off"}


def test_the_first_of_equal_records_is_kept_whatever_their_layout(tmp_path: Path) -> None:
    messages = [{"role": "user", "content": "Why?"}]
    rows = [pair(), pair("Who?"), pair(), {"prompt": messages, "chosen": "Because.", "rejected": "No."}]
    result = cleaned(tmp_path, rows, OFF)
    assert result.why("duplicates") == {"line 3": "it repeats line 1", "line 4": "it repeats line 1"}
    assert [row["prompt"]["messages"][0]["content"] for row in result.clean] == ["Why?", "Who?"]


def test_only_normal_form_is_ignored(tmp_path: Path) -> None:
    rows = [pair("caf\u00e9"), pair("cafe\u0301"), pair("Caf\u00e9"), pair("caf\u00e9 ")]
    assert cleaned(tmp_path, rows, OFF).why("duplicates") == {"line 2": "it repeats line 1"}


def test_exchanged_sides_and_other_labels_are_no_duplicates(tmp_path: Path) -> None:
    assert not cleaned(tmp_path, [pair(chosen="a", rejected="b"), pair(chosen="b", rejected="a")], OFF).rejected
    labels = [{"prompt": "Why?", "completion": "So.", "label": label} for label in (True, False, True)]
    assert cleaned(tmp_path, labels, OFF).why("duplicates") == {"line 3": "it repeats line 1"}


def test_a_rejected_row_is_the_original_of_no_other(tmp_path: Path) -> None:
    rows = [pair(margin=0), pair(margin=2), pair(margin=2)]
    result = cleaned(tmp_path, rows, {**OFF, "margin": {"min_margin": 1}})
    assert result.why("margin").keys() == {"line 1"}
    assert result.why("duplicates") == {"line 3": "it repeats line 2"}
