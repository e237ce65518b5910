"""Recognition of formats: general ones give way, plain texts are named, and the mapping that reads them works."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gnomon.core.errors import ConfigError, DataError
from gnomon.core.types import Demonstration, Prompt, RatedText
from gnomon.data.formats.registry import RowLayout, all_formats, find_format, recognize
from gnomon.data.inspection import inspect
from gnomon.data.records import read_records

FileOf = Callable[..., Path]


def name_of(rows: list[dict[str, Any]], kinds: tuple[type, ...] | None = None) -> str | None:
    match = recognize(rows, Path("rows.jsonl"), kinds)
    return match.format.name if match else None


def test_a_general_format_gives_way_to_a_specific_one() -> None:
    row = {"prompt": "q", "response": "x"}
    assert name_of([row]) == "prompt-response"
    assert all_formats()["prompt-response"].general
    assert name_of(
        [{**row, "helpfulness": 3, "correctness": 3, "coherence": 4, "complexity": 1, "verbosity": 1}]
    ) == ("helpsteer")


def test_a_general_format_without_the_wanted_kind_is_left_out() -> None:
    assert name_of([{"text": "x"}]) == "text"
    assert name_of([{"text": "x"}], (RatedText,)) is None
    assert name_of([{"instruction": "q", "output": "x"}], (RatedText,)) == "alpaca"  # named in the refusal


def test_half_of_the_rows_decide() -> None:
    rows = [{"question": "q", "answer": "x"}, {"question": "q"}]
    assert name_of(rows) == "prompt-response"
    assert name_of([*rows, {"question": "q"}]) is None


def test_the_own_reading_wins_only_where_it_is_all_that_is_wanted() -> None:
    rows = [{"prompt": "q", "answer": "x"}]
    assert name_of(rows, (Prompt,)) is None
    assert name_of(rows, (Demonstration,)) == "prompt-response"
    with pytest.raises(DataError, match=r"rows\.jsonl can be read as .* or as .*--format gnomon"):
        name_of(rows, (Demonstration, Prompt))
    assert name_of([{**rows[0], "completion": "y"}]) is None


def test_every_format_has_a_name_that_finds_it() -> None:
    for name, form in all_formats().items():
        assert find_format(name) is form
        assert name == form.name
    with pytest.raises(ConfigError, match="'alpacca' is no format; did you mean 'alpaca'"):
        find_format("alpacca")


def test_plain_texts_are_learned_by_the_mapping_that_their_refusal_names(file_of: FileOf) -> None:
    path = file_of({"text": "A story."}, {"text": "Another story."})
    with pytest.raises(DataError, match=r'--columns "prompt=\{constant: Continue\.\}" --columns completion=text'):
        inspect(path)
    layout = RowLayout.of(columns={"prompt": {"constant": "Continue."}, "completion": "text"})
    records = read_records(Demonstration, path, layout=layout)
    assert [record.completion.text for record in records] == ["A story.", "Another story."]
    assert {record.prompt.messages[0].content for record in records} == {"Continue."}
