"""Cleaning of files: every row is written once, as it was; the report; refusals."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from project import write_rows
from quality_rows import cleaned, lines, pair

from gnomon.core.errors import ConfigError, DataError
from gnomon.core.types import Demonstration, Label, Preference, Prompt, Ranking, RatedText
from gnomon.data.quality.clean import clean_file
from gnomon.data.quality.registry import all_filters, build_filters, describe_filters, parse_filters
from gnomon.data.records import read_records


class DemonstrationWithTools:
    """The key of a row with tools and calls."""


ROWS: dict[type, dict[str, Any]] = {
    Preference: {
        "prompt": [{"role": "user", "content": " a\n"}],
        "chosen": "b ",
        "rejected": "",
        "margin": 2,
        "x": [1],
    },
    Ranking: {"prompt": "a", "completions": ["b", "c", "d"], "weight": 0.5},
    Label: {"prompt": "a", "completion": "b", "label": False},
    Demonstration: {
        "messages": [
            {"role": "system", "content": "s"},
            {"role": "user", "content": "a"},
            {"role": "assistant", "content": "b", "reasoning_content": "r"},
            {"role": "user", "content": "c"},
            {"role": "assistant", "content": "d", "train": False},
        ]
    },
    DemonstrationWithTools: {
        "tools": [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}],
        "messages": [
            {"role": "user", "content": "a"},
            {
                "role": "assistant",
                "content": "",
                "tool_calls": [{"type": "function", "function": {"name": "weather", "arguments": {"city": "b"}}}],
            },
            {"role": "tool", "name": "weather", "content": "c"},
            {"role": "assistant", "content": "d"},
        ],
    },
    RatedText: {"id": "t", "text": "a", "ratings": [1, 2], "raters": ["x", "y"], "prompt": "p"},
    Prompt: {"id": "p", "messages": [{"role": "user", "content": "a"}], "answer": "42"},
}


@pytest.mark.parametrize("kind", ROWS, ids=lambda kind: kind.__name__)
def test_a_clean_row_reads_as_the_record_that_it_was(kind: Any, tmp_path: Path) -> None:
    read_as = Demonstration if kind is DemonstrationWithTools else kind
    result = cleaned(tmp_path, [ROWS[kind]])
    before, after = (read_records(read_as, tmp_path / name) for name in ("rows.jsonl", "clean.jsonl"))
    assert after == before
    assert all(result.clean[0][key] == ROWS[kind][key] for key in ROWS[kind] if key == "x")


def test_other_calls_of_tools_are_other_records_and_are_masked_like_texts(tmp_path: Path) -> None:
    first, other = (json.loads(json.dumps(ROWS[DemonstrationWithTools])) for _ in range(2))
    other["messages"][1]["tool_calls"][0]["function"]["arguments"]["city"] = "ann@example.org"
    result = cleaned(tmp_path, [first, other], {"near_duplicates": "off", "personal_data": "mask"})
    assert len(result.clean) == 2
    call = result.clean[1]["completion"]["turns"][0]["tool_calls"][0]
    assert call["function"]["arguments"] == {"city": "[EMAIL]"}


texts = st.text(st.characters(codec="utf-8"), max_size=12)
cells = st.one_of(st.none(), st.integers(), texts, st.lists(texts, max_size=2))
broken = st.dictionaries(st.sampled_from(["prompt", "chosen", "rejected", "probability", "messages"]), cells)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(st.one_of(st.builds(pair, texts, texts, texts), broken), max_size=12))
def test_rows_in_are_rows_out_and_rejected_in_their_order(rows: list[dict[str, Any]], tmp_path: Path) -> None:
    rows = [pair("Is it a preference?", "Yes.", "No."), *rows]
    for _ in range(len(rows)):  # most rows are preferences, so that the file is one of preferences
        rows.append(pair(f"Filler {len(rows)}"))
    result = cleaned(tmp_path, rows)
    report = result.report
    assert report.rows == len(rows) == len(result.clean) + len(result.rejected)
    assert (report.clean, report.rejected) == (len(result.clean), len(result.rejected))
    positions = [int(row["where"].split()[1]) for row in result.rejected]
    assert positions == sorted(set(positions))
    assert all(
        row["row"] == rows[int(row["where"].split()[1]) - 1]
        for row in result.rejected
        if row["filter"] == "unreadable"
    )


def test_a_broken_line_is_rejected_alone_and_the_quality_names_it(tmp_path: Path) -> None:
    source = tmp_path / "rows.jsonl"
    write_rows(source, [pair("One?"), pair("Two?")])
    source.write_text(source.read_text("utf-8") + '{"prompt": \n{"prompt": "Three?", "chosen": 1}\n', "utf-8")
    report = clean_file(source, tmp_path / "pairs.jsonl")
    rejected = lines(tmp_path / "pairs.rejected.jsonl")
    assert [row["where"] for row in rejected] == ["line 3", "line 4"]
    assert [row["filter"] for row in rejected] == ["unreadable", "unreadable"]
    assert rejected[0]["reason"].startswith("not valid JSON")
    assert rejected[0]["row"] is None
    assert rejected[1]["row"] == {"prompt": "Three?", "chosen": 1}
    assert report.parts["readable"] == 0.5
    assert report.unreadable == 2
    assert json.loads((tmp_path / "pairs.report.json").read_text("utf-8"))["rejected"] == 2
    assert "4 rows = 2 clean + 2 rejected" in (tmp_path / "pairs.report.txt").read_text("utf-8")


def test_a_valid_row_without_a_record_is_unused_and_no_fault_of_the_file(tmp_path: Path) -> None:
    same = "\n\nHuman: Why?\n\nAssistant: So."
    rows = [{"chosen": same, "rejected": same}, {"chosen": same, "rejected": same + " Or not."}]
    result = cleaned(tmp_path, rows)
    assert result.why("unused") == {"line 1": "chosen and rejected are the same transcript"}
    assert result.report.parts["readable"] == 1.0


def test_worker_processes_write_the_same_bytes(tmp_path: Path) -> None:
    rows = [pair(f"Question {n % 400}", f"Answer {n * 7919}" * 3, "No", margin=n % 5) for n in range(900)]
    files = {}
    for jobs in (1, 2):
        cleaned(tmp_path, rows, {"margin": {"min_margin": 1}}, jobs=jobs)
        files[jobs] = [(tmp_path / name).read_bytes() for name in ("clean.jsonl", "rejected.jsonl")]
    assert files[1] == files[2]


def test_an_id_stands_for_one_prompt(tmp_path: Path) -> None:
    rows = [{**pair(), "prompt": {"id": "p", "messages": [{"role": "user", "content": text}]}} for text in "aab"]
    result = cleaned(tmp_path, rows, {"near_duplicates": "off", "duplicates": "off"})
    assert result.why("unreadable") == {"line 3": "prompt id 'p' stands for another prompt at line 1"}


def test_the_quality_is_the_product_of_its_parts(tmp_path: Path) -> None:
    rows = [pair(f"Question {n * 7919}") for n in range(8)]
    rows += [rows[0], pair("Mail?", "ann@example.org"), pair("Same?", "a", "a")]
    report = cleaned(tmp_path, rows, {"near_duplicates": "off"}).report
    assert report.parts["unique"] == pytest.approx(1 - 1 / 11)
    assert report.parts["private"] == pytest.approx(1 - 1 / 11)
    assert report.parts["consistent"] == pytest.approx(1 - 1 / 11)
    assert report.quality == pytest.approx((10 / 11) ** 3)


def test_existing_files_the_source_and_an_empty_result_are_refused(tmp_path: Path) -> None:
    source = tmp_path / "rows.jsonl"
    write_rows(source, [pair()])
    (tmp_path / "rejected.jsonl").write_text("mine")
    with pytest.raises(ConfigError, match=r"rejected.jsonl exists; give another --out, or --overwrite"):
        clean_file(source, tmp_path / "clean.jsonl")
    with pytest.raises(ConfigError, match="is the file that is read"):
        clean_file(source, source, overwrite=True)
    with pytest.raises(DataError, match=r"no row is left of 1; .*rejected.jsonl has the reason"):
        clean_file(source, tmp_path / "clean.jsonl", {"margin": {"min_margin": 1}}, overwrite=True)
    assert not (tmp_path / "clean.jsonl").exists()
    assert lines(tmp_path / "rejected.jsonl")[0]["filter"] == "margin"


def test_settings_that_are_wrong_are_named(tmp_path: Path) -> None:
    for filters, message in (
        ({"duplicate": "drop"}, "'duplicate' is no filter; .*duplicates"),
        ({"duplicates": "mask"}, "filters.duplicates.*must be one of off, report, drop, not mask"),
        ({"near_duplicates": {"similarity": 0.1}}, "similarity: must be at least 0.5"),
        ({"near_duplicates": {"similarty": 0.9}}, "unknown key 'similarty'; .*similarity"),
        ({"balance": {"column": "a..b"}}, "'a..b' is no path"),
    ):
        with pytest.raises(ConfigError, match=message):
            cleaned(tmp_path, [pair()], filters)
    with pytest.raises(ConfigError, match=r"filters\.margin is for preferences, and the file holds prompts"):
        cleaned(tmp_path, [{"prompt": "a"}], {"margin": {"min_margin": 1}})


def test_a_filter_that_is_named_with_settings_drops_and_yaml_reads_off_as_false() -> None:
    built = {one.name: one for one in build_filters({"refusals": {"within": 50}, "duplicates": False})}
    assert built["refusals"].action == "drop"
    assert built["duplicates"].action == "off"
    assert built["truncated"].action == "report"
    assert built["near_duplicates"].action == "drop"


def test_options_of_the_command_line_are_settings() -> None:
    options = [
        "duplicates=report",
        "length.max_characters=9",
        "length.action=report",
        "judge={judge: v, min_gap: 0}",
    ]
    assert parse_filters(options) == {
        "duplicates": {"action": "report"},
        "length": {"max_characters": 9, "action": "report"},
        "judge": {"judge": "v", "min_gap": 0},
    }
    for option in ("duplicates", "=drop", "length.=3"):
        with pytest.raises(ConfigError, match="is no NAME=ACTION"):
            parse_filters([option])
    with pytest.raises(ConfigError, match="action is given twice"):
        parse_filters(["length=drop", "length=report"])


def test_every_filter_is_described_by_its_file_and_name() -> None:
    text = describe_filters()
    for name, kind in all_filters().items():
        assert kind.__module__.endswith(f".{name}")
        assert f"\n{name} [" in f"\n{text}"
