"""Exports of written answers: which texts, with whom and when, and what is left out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from writing import leased, review, write, writing_project

from gnomon.core.errors import ConfigError
from gnomon.core.storage.files import read_jsonl
from gnomon.core.types import Demonstration
from gnomon.data.reported_rows import read_reported
from gnomon.feedback.export.exporter import ExportSpec
from gnomon.feedback.export.writers import write_export
from gnomon.feedback.store.store import Store
from gnomon.feedback.tasks.adjudication import decide

GOOD = "Steam pushes the piston, and the piston turns the wheel."
BETTER = "Steam pushes a piston; a crank turns its motion into that of the wheel."
REFUSAL = "As an AI language model, I cannot help with machines."


@pytest.fixture
def store(database: str) -> Iterator[Store]:
    store = Store(database)
    yield store
    store.close()


def exported(store: Store, folder: Path, **spec: Any) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The manifest and the demonstrations of an export."""
    manifest = write_export(store, "help", folder, ExportSpec(**spec), overwrite=True)
    file = folder / "demonstrations.jsonl"
    return manifest, list(read_jsonl(file)) if "demonstrations.jsonl" in manifest["files"] else []


def test_accepted_texts_become_demonstrations_with_their_provenance(store: Store, tmp_path: Path) -> None:
    """Four prompts: approved, revised, rejected, unreviewed."""
    queue = writing_project(store, 4, approval=True, max_votes=1)
    first = leased(queue, "ann").item
    write(queue, "ann", GOOD, seconds=42.0)
    review(queue, "bob")
    write(queue, "ann", "Steam.")
    review(queue, "cyd", BETTER)
    write(queue, "ann", "Dunno.")
    review(queue, "bob", reject=True)
    write(queue, "ann", "Somehow.")
    manifest, rows = exported(store, tmp_path)
    assert manifest["rows"] == {"demonstrations": 2, "judgements": 7}
    assert (manifest["judgements"], manifest["annotators"], manifest["task"]) == (
        7,
        ["ann", "bob", "cyd"],
        "demonstration",
    )
    assert {name: n for name, n in manifest["left_out"].items() if n} == {
        "rejected_texts": 1,
        "unreviewed_texts": 1,
    }
    assert [row["completion"] for row in rows] == [
        {"id": f"ann-{first}", "text": GOOD, "source": "written"},
        {"id": f"cyd-{first + 1}", "text": BETTER, "source": "revised"},
    ]
    assert rows[0]["prompt"]["messages"] == [{"role": "user", "content": "How does machine 0 work?"}]
    about = rows[1]["provenance"]
    assert (about["rater"], about["reviewed_by"], about["flags"]) == ("ann", "cyd", [])
    assert rows[0]["provenance"]["seconds"] == 42.0
    assert about["at"] <= about["reviewed_at"]
    assert rows[0]["items"] == [first]


def test_demonstrations_are_read_without_a_complaint(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    queue = writing_project(store, prompts=("How does it work?",))
    write(queue, "ann", GOOD)
    exported(store, tmp_path)
    (record,) = read_reported(Demonstration, tmp_path / "demonstrations.jsonl")
    assert record.completion.text == GOOD
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("format", ["parquet", "datasets", "trl", "openrlhf", "llama-factory"])
def test_other_formats_have_the_same_text(store: Store, tmp_path: Path, format: str) -> None:
    from gnomon.data.records import read_records

    queue = writing_project(store, prompts=("How does it work?",))
    write(queue, "ann", GOOD)
    manifest = write_export(store, "help", tmp_path / "out", ExportSpec(), format)
    (name,) = (one for one in manifest["files"] if one.startswith("demonstrations"))
    (record,) = read_records(Demonstration, tmp_path / "out" / name)
    assert (record.prompt.messages[-1].content, record.completion.text) == ("How does it work?", GOOD)


def test_flagged_texts_are_counted_and_can_be_left_out(store: Store, tmp_path: Path) -> None:
    queue = writing_project(store, 2)
    write(queue, "ann", GOOD)
    write(queue, "ann", REFUSAL)
    manifest, rows = exported(store, tmp_path)
    assert [row["provenance"]["flags"] for row in rows] == [[], ["refusal"]]
    assert manifest["flags"] == {"refusal": 1}
    manifest, rows = exported(store, tmp_path, exclude_flagged=True)
    assert [row["completion"]["text"] for row in rows] == [GOOD]
    assert (manifest["exclude_flagged"], manifest["left_out"]["flagged_texts"], manifest["flags"]) == (
        True,
        1,
        {},
    )


def test_a_decision_replaces_all_texts_of_a_prompt(store: Store, tmp_path: Path) -> None:
    queue = writing_project(store, 2, answers=2)
    items = []
    for _ in range(2):
        items.append(leased(queue, "ann").item)
        write(queue, "ann", GOOD)
        write(queue, "bob", REFUSAL)
    decide(store, "help", items[0], "cyd", {"text": BETTER}, id="d1")
    decide(store, "help", items[1], "cyd", {"rejected": True}, id="d2")
    manifest, rows = exported(store, tmp_path)
    assert [(row["completion"]["text"], row["completion"]["source"]) for row in rows] == [(BETTER, "decision")]
    assert (rows[0]["provenance"]["rater"], rows[0]["completion"]["id"]) == ("cyd", "d1")
    assert manifest["decisions"] == {str(items[0]): "d1", str(items[1]): "d2"}
    assert manifest["left_out"]["replaced_texts"] == 4
    assert manifest["rows"]["judgements"] == 4


def test_every_item_counts_under_a_reason_after_a_withdrawal(store: Store, tmp_path: Path) -> None:
    """Five prompts: exported, revised but the author withdrew, that and a rejecting decision, two untouched."""
    queue = writing_project(store, 5, approval=True, max_votes=1)
    write(queue, "ann", GOOD)
    review(queue, "bob")
    for _ in range(2):
        item = leased(queue, "cyd").item
        write(queue, "cyd", "Steam.")
        review(queue, "bob", BETTER)
    store.set_annotator("cyd", "withdrawn")
    decide(store, "help", item, "dan", {"rejected": True}, id="d")
    manifest, rows = exported(store, tmp_path)
    assert [row["completion"]["text"] for row in rows] == [GOOD]
    assert {name: n for name, n in manifest["left_out"].items() if n} == {
        "withdrawn_judgements": 2,
        "unmatched_reviews": 2,
        "unjudged_items": 3,
        "rejected_items": 1,
    }
    assert (manifest["judgements"], manifest["annotators"]) == (2, ["ann", "bob"])
    assert manifest["rows"]["judgements"] == 4, "reviews that do not count are rows too"


def test_an_excluded_author_leaves_no_review_that_counts(store: Store, tmp_path: Path) -> None:
    queue = writing_project(store, 2, approval=True, max_votes=1)
    for who, text in (("ann", GOOD), ("cyd", BETTER)):
        write(queue, who, text)
        review(queue, "bob")
    manifest, rows = exported(store, tmp_path, exclude_annotators=("ann",))
    assert [row["completion"]["text"] for row in rows] == [BETTER]
    left_out = {name: n for name, n in manifest["left_out"].items() if n}
    assert left_out == {"judgements_without": 1, "unmatched_reviews": 1, "unjudged_items": 1}


def test_excluded_annotators_and_filters_apply(store: Store, tmp_path: Path) -> None:
    queue = writing_project(store, 1, answers=2)
    write(queue, "ann", GOOD)
    write(queue, "bob", REFUSAL)
    _, rows = exported(store, tmp_path, exclude_annotators=("ann",))
    assert [row["provenance"]["rater"] for row in rows] == ["bob"]
    manifest, rows = exported(store, tmp_path, filters={"refusals": {"action": "drop"}})
    assert [row["provenance"]["rater"] for row in rows] == ["ann"]
    assert manifest["left_out"]["rows_dropped_by_refusals"] == 1


@pytest.mark.parametrize(
    ("spec", "problem"),
    [
        ({"aggregation": "reliability"}, "written answers are not combined; remove --aggregation"),
        ({"aggregation": "dawid_skene"}, "written answers are not combined; remove --aggregation"),
        ({"kinds": ("preferences",)}, "a demonstration project has no preferences; choose among demonstrations"),
        ({"valid_only": True}, "written answers are no preferences; remove --valid-only"),
        ({"valid_only": True, "kinds": ("preferences",)}, "a demonstration project has no preferences"),
        ({"criterion": "overall"}, "a demonstration has none"),
        ({"min_alpha": 0.2}, "written answers have no agreement, so --min-alpha does not apply"),
    ],
    ids=str,
)
def test_what_compares_answers_is_refused(
    store: Store, tmp_path: Path, spec: dict[str, Any], problem: str
) -> None:
    write(writing_project(store), "ann", GOOD)
    with pytest.raises(ConfigError, match=problem):
        write_export(store, "help", tmp_path / "out", ExportSpec(**spec))
    assert not (tmp_path / "out").exists()


def test_only_written_answers_have_flags(store: Store, tmp_path: Path) -> None:
    from annotating import project

    project(store, 1)
    with pytest.raises(ConfigError, match="a pair project has no written answers; remove --exclude-flagged"):
        write_export(store, "films", tmp_path / "out", ExportSpec(exclude_flagged=True))
