"""Published layouts of judgements: each is recognized as exactly one format, and images beside it are kept."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gnomon.core.errors import DataError
from gnomon.core.storage.files import write_jsonl
from gnomon.data.formats.own_layout import GNOMON
from gnomon.data.formats.registry import RowLayout, all_formats, find_format, recognize
from gnomon.data.inspection import inspect
from gnomon.data.record_rows import record_row
from gnomon.data.records import parse_record, read_records, record_media

SIDES = {"chosen": ["x"], "rejected": ["y", "z"]}
TURNS = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "x"}]
OTHER = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "y"}]
SCORES = {"helpfulness": 3, "correctness": 3, "coherence": 4, "complexity": 1, "verbosity": 1}
MESSAGE = {"message_id": "m", "parent_id": None, "text": "q", "role": "prompter", "lang": "en", "rank": None}
ANSWER = {**MESSAGE, "role": "assistant"}
STEP = {"completions": [{"text": "x", "rating": 1}, {"text": "y", "rating": -1}], "chosen_completion": None}
OUTCOMES = {"winner_model_a": "1", "winner_model_b": "0", "winner_tie": "0"}
RANKER = {"type": "ranker", "value": {"ranker": ["x", "y"]}}
SAMPLES: list[tuple[str, dict[str, Any]]] = [
    (
        "ultrafeedback",
        {"instruction": "q", "completions": [{"response": r, "overall_score": n} for n, r in enumerate("xy")]},
    ),
    (
        "ultrafeedback-binarized",
        {
            "prompt": "q",
            "chosen": TURNS,
            "rejected": OTHER,
            "messages": TURNS,
            "score_chosen": 8,
            "score_rejected": 6,
        },
    ),
    ("helpsteer", {"prompt": "q", "response": "x", **SCORES}),
    (
        "helpsteer-preference",
        {"domain": "d", "context": TURNS[:1], "response1": "x", "response2": "y", "overall_preference": -1},
    ),
    (
        "helpsteer-preference",
        {"split": "s", "prompt": "q", "response_1": "x", "response_2": "y", "preference_strength": 1},
    ),
    (
        "arena",
        {"model_a": "m", "winner": "tie", "conversation_a": TURNS, "conversation_b": OTHER, "language": "en"},
    ),
    ("arena-votes", {"prompt": '["q"]', "response_a": '["x"]', "response_b": '["y"]', **OUTCOMES}),
    ("comparison", {"prompt": "q", "response_a": "x", "response_b": "y", "winner": "model_a", "language": "en"}),
    ("comparison", {"instruction": "q", "input": "", "output_1": "x", "output_2": "y", "preference": 1}),
    ("comparison", {"instruction": "q", "response1": "x", "response2": "y", "annotator1": 1, "annotator2": 0}),
    ("stack-exchange", {"question": "q", "answers": [{"text": r, "pm_score": n} for n, r in enumerate("xy")]}),
    ("stack-exchange-pairs", {"question": "q", "response_j": "x", "response_k": "y"}),
    ("shp", {"history": "q", "human_ref_A": "x", "human_ref_B": "y", "labels": 1, "score_A": 2, "score_B": 1}),
    ("safe-rlhf-better", {"prompt": "q", "response_0": "x", "response_1": "y", "better_response_id": 1}),
    ("safe-rlhf-safer", {"prompt": "q", "response_0": "x", "response_1": "y", "safer_response_id": 1}),
    ("prm800k", {"question": {"problem": "q"}, "label": {"steps": [STEP]}}),
    ("stepwise", {"prompt": "q", "completions": ["x", "y"], "labels": [True, False]}),
    ("ranked-list", {"prompt": "q", "responses": ["x", "y"], "scores": [1, 2]}),
    ("ranked-list", {"prompt": "q", "answers": [{"answer": r, "rank": n} for n, r in enumerate("xy")]}),
    ("scored-pairs", {"question": "q", "answer_0": "x", "answer_1": "y", "score_0": 1.0, "score_1": -1.0}),
    ("ratings", {"prompt": "q", "response": "x", "rating": 7}),
    ("thumbs", {"prompt": "q", "response": "x", "thumbs": "up"}),
    ("rm-bench", {"prompt": "q", "chosen": ["x"] * 3, "rejected": ["y"] * 3, "domain": "chat", "id": "1"}),
    ("rewardbench2", {"prompt": "q", **SIDES, "num_correct": 1, "num_incorrect": 2, "subset": "Math"}),
    (
        "oasst-trees",
        {"prompt": {**MESSAGE, "replies": [{**ANSWER, "text": text, "rank": n} for n, text in enumerate("xy")]}},
    ),
    (
        "label-studio",
        {
            "id": 1,
            "data": {"prompt": "q", "items": [{"id": "x", "body": "x"}, {"id": "y", "body": "y"}]},
            "annotations": [{"result": [RANKER]}],
        },
    ),
    (
        "label-studio-min",
        {
            **{"prompt": "q", "answer1": "x", "answer2": "y", "id": 1, "better": "left", "annotator": 2},
            **{"annotation_id": 3, "created_at": "2024-05-01", "updated_at": "2024-05-01", "lead_time": 4.5},
        },
    ),
    (
        "argilla",
        {"prompt": "q", "response-1": "x", "response-2": "y", "o.responses": [["response-1", "response-2"]]},
    ),
    ("argilla", {"fields": {"prompt": "q", "response": "x"}, "responses": {"o": [{"value": 3, "user_id": "u"}]}}),
]
OWN: list[dict[str, Any]] = [  # read without a format: RewardBench 1 and Skywork have Gnomon's own layout
    {"prompt": "q", "chosen": "x", "chosen_model": "m", "rejected": "y", "subset": "alpacaeval-easy", "id": 1},
    {"chosen": TURNS, "rejected": OTHER, "source": "magpie"},
    {"text": "x", "rating": 3, "rater": "u"},
    {"prompt": "q", "completion": "x", "label": True},
]


@pytest.mark.parametrize(("name", "row"), [*SAMPLES, ("oasst", MESSAGE)])
def test_each_layout_is_one_format(tmp_path: Path, name: str, row: dict[str, Any]) -> None:
    match = recognize([row], tmp_path / "rows.jsonl")
    assert match is not None
    assert match.format.name == name


@pytest.mark.parametrize("row", OWN)
def test_gnomons_own_layout_is_none_of_them(tmp_path: Path, row: dict[str, Any]) -> None:
    assert recognize([row], tmp_path / "rows.jsonl") is None


@pytest.mark.parametrize(("name", "row"), SAMPLES)
def test_an_image_beside_the_columns_of_a_layout_goes_into_the_prompt_of_its_records(
    rows_file: Callable[..., Path], name: str, row: dict[str, Any]
) -> None:
    copies = 2 if name == "helpsteer" else 1
    rows = [{**row, "response": f"x{number}"} if copies > 1 else row for number in range(copies)]
    drawn = [{**one, "images": ["photo.png"]} for one in rows]
    inspection = inspect(rows_file(*rows, *drawn))
    assert not inspection.refused
    later = [one for one in inspection.records if int(one.where.rpartition(" ")[2]) > copies]
    assert len(later) * 2 == len(inspection.records)
    assert all([one.source for one in record_media(record)] == ["photo.png"] for record in later)


def test_messages_of_a_tree_with_images_are_refused_by_name(rows_file: Callable[..., Path]) -> None:
    replies: list[dict[str, Any]] = [
        {**ANSWER, "message_id": name, "parent_id": "m", "text": name, "rank": rank}
        for rank, name in enumerate("ab")
    ]
    tree: list[dict[str, Any]] = [{**one, "message_tree_id": "m"} for one in (dict(MESSAGE), *replies)]
    drawn: dict[str, Any] = {**MESSAGE, "message_id": "d", "message_tree_id": "d", "images": ["photo.png"]}
    inspection = inspect(rows_file(*tree, drawn))
    assert [(one.where, one.reason) for one in inspection.refused if "images" in one.reason] == [
        ("line 4", "it has images, for which a message of a tree has no column")
    ]


def test_titles_differ() -> None:
    titles = [one.title for one in all_formats().values()]
    assert len(titles) == len(set(titles))


@pytest.mark.parametrize(("name", "row"), SAMPLES)
def test_converted_rows_hold_the_same_records(
    rows_file: Callable[..., Path], tmp_path: Path, name: str, row: dict[str, Any]
) -> None:
    path = rows_file(*([row, {**row, "response": "y"}] if name == "helpsteer" else [row]))
    for kind in find_format(name).kinds:
        try:
            records: list[Any] = read_records(kind, path)
        except DataError:  # the sample has nothing of this kind
            continue
        own = tmp_path / "own.jsonl"
        write_jsonl(own, map(record_row, records))
        assert read_records(kind, own, layout=RowLayout.of(GNOMON)) == records


ODD: list[Any] = [None, "", -1.5, True, [], {}, [None], [{}], float("nan"), 10**400]


def places(value: Any, before: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of each nested value."""
    keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else []
    for key in keys:
        yield (*before, key)
        yield from places(value[key], (*before, key))


@pytest.mark.parametrize(("name", "row"), [*SAMPLES, ("oasst", MESSAGE)])
def test_odd_values_are_read_or_refused(name: str, row: dict[str, Any]) -> None:
    form = find_format(name)
    for path in places(row):
        for odd in ODD:
            damaged = copy.deepcopy(row)
            owner = damaged
            for key in path[:-1]:
                owner = owner[key]
            owner[path[-1]] = odd
            form.evidence(damaged)
            assert form.kind_of([damaged]) in form.kinds
            for kind in form.kinds:
                for _, own in form.scan(kind, [("line 1", damaged), ("line 2", row)]):
                    with contextlib.suppress(DataError):
                        parse_record(kind, own) if isinstance(own, dict) else None
