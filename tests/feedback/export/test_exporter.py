"""Exports on both databases: numbers by hand, exclusions, and each format read back."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from exported import pair_preferences
from tiny import prompts_of

from gnomon.core.errors import ConfigError, DataError
from gnomon.core.storage.files import read_json
from gnomon.core.types import Completion, Demonstration, Preference, Ranking
from gnomon.data.reading.readers import digest_source, read_rows
from gnomon.data.records import read_records
from gnomon.feedback.export.aggregation import Aggregator, is_weightless
from gnomon.feedback.export.exporter import ExportManifest, ExportSpec, export_rows, start_export
from gnomon.feedback.export.provenance import provenance_of
from gnomon.feedback.export.writers import Writer
from gnomon.feedback.quality.monitor import load_votes
from gnomon.feedback.quality.summary import annotator_table
from gnomon.feedback.store.ingest import add_completions, add_items, add_prompts
from gnomon.feedback.store.schema import ItemRow, JudgementRow
from gnomon.feedback.store.store import BankPrompt, Project, Store
from gnomon.feedback.tasks.adjudication import decide
from gnomon.feedback.tasks.judgements import JudgedItem, StoredJudgement
from gnomon.feedback.tasks.queue import Queue

Answer = dict[str, Any]


@pytest.fixture
def store(database: str) -> Iterator[Store]:
    feedback_store = Store(database)
    yield feedback_store
    feedback_store.close()


def project(store: Store, task: str, items: list[list[str]], **settings: Any) -> None:
    """A project whose items have completions `a`, `b`, … of one prompt."""
    store.add_project(Project("p", "?", task, settings=settings))
    add_prompts(store, "p", [BankPrompt(one) for one in prompts_of("Q?")])
    names = sorted({name for item in items for name in item})
    add_completions(store, "p", [("p0", Completion(name, name.upper(), f"model-{name}"), {}) for name in names])
    add_items(store, "p", items)


def add_judgement(store: Store, item: int, who: str, shown: str, answer: Answer, **more: Any) -> str:
    """Adds a judgement of the item at an index; the annotator saw the completions in this order."""
    store.add_annotator(who, id=who)
    with store.writing() as session:
        key = session.query(ItemRow).order_by(ItemRow.key).all()[item].key
        name = f"{who}-{item}{more.pop('version', '')}"
        seen = list(more.pop("pair", shown))
        row = JudgementRow(id=name, item=key, annotator=who, shown=seen, answer=answer, created=1e9, **more)
        session.add(row)
    return name


def export(store: Store, **settings: Any) -> tuple[dict[str, list[dict[str, Any]]], ExportManifest]:
    manifest = start_export(store.project("p"), ExportSpec(**settings))
    rows: dict[str, list[dict[str, Any]]] = {}
    for kind, row in export_rows(store, manifest):
        rows.setdefault(kind, []).append(row)
    return rows, manifest


def sides(row: dict[str, Any]) -> tuple[str, str, float, float]:
    return row["chosen"]["id"], row["rejected"]["id"], row["probability"], row["margin"]


def test_majority_does_not_depend_on_the_order_shown(store: Store) -> None:
    """Two votes for b, one tie, one bad: 2.5 of 3 votes, a mean difference of 2/3."""
    project(store, "pair", [["a", "b"], ["a", "c"], ["b", "c"]])
    add_judgement(store, 0, "ann", "ab", {"choice": "second"})
    add_judgement(store, 0, "bob", "ba", {"choice": "first"})
    add_judgement(store, 0, "cem", "ab", {"choice": "tie"})
    add_judgement(store, 0, "dan", "ab", {"choice": "bad"})
    add_judgement(store, 1, "ann", "ac", {"choice": "bad"})
    rows, manifest = export(store)
    ((chosen, rejected, probability, margin),) = map(sides, rows["preferences"])
    assert (chosen, rejected) == ("b", "a")
    assert (probability, margin) == pytest.approx((2.5 / 3, 2 / 3))
    assert rows["preferences"][0]["tie"] == pytest.approx(1 / 3)
    assert rows["preferences"][0]["chosen"]["source"] == "model-b"
    assert len(rows["judgements"]) == 5
    assert {tuple(row["value"]) for row in rows["judgements"]} == {(0, 1), (1, 0), (0.5, 0.5), (0, 0)}
    left_out = {name: n for name, n in manifest.left_out.items() if n}
    assert left_out == {"both_bad_judgements": 1, "both_bad_items": 1, "unjudged_items": 1}


def test_gold_corrected_and_withdrawn_judgements_are_not_exported(store: Store) -> None:
    project(store, "pair", [["a", "b"], ["a", "c"]])
    with store.writing() as session:
        session.query(ItemRow).order_by(ItemRow.key).all()[1].gold = {"choice": "first"}
    first = add_judgement(store, 0, "ann", "ab", {"choice": "first"})
    add_judgement(store, 0, "ann", "ab", {"choice": "second"}, supersedes=first, version="b")
    add_judgement(store, 0, "eve", "ab", {"choice": "first"})
    add_judgement(store, 1, "ann", "ac", {"choice": "first"})
    store.set_annotator("eve", "withdrawn")
    rows, manifest = export(store)
    assert [row["id"] for row in rows["judgements"]] == ["ann-0b"]
    assert [sides(row)[:3] for row in rows["preferences"]] == [("b", "a", 1.0)]
    assert (manifest.left_out["gold_items"], manifest.left_out["withdrawn_judgements"]) == (1, 1)
    assert manifest.annotators == {"ann"}


def test_excluding_an_annotator_changes_data_and_digest(store: Store) -> None:
    project(store, "pair", [["a", "b"]])
    add_judgement(store, 0, "ann", "ab", {"choice": "first"})
    add_judgement(store, 0, "bob", "ab", {"choice": "second"})
    (rows, whole), (_, again), (fewer, part) = (
        export(store),
        export(store),
        export(store, exclude_annotators=("bob",)),
    )
    assert rows["preferences"][0]["probability"] == 0.5
    assert whole.to_json() == again.to_json()
    assert sides(fewer["preferences"][0])[:3] == ("a", "b", 1.0)
    assert part.to_json()["digest"] != whole.to_json()["digest"]
    assert (part.left_out["judgements_without"], part.to_json()["without"]) == (1, ["bob"])
    with pytest.raises(DataError, match="no annotator 'zoe'"):
        export(store, exclude_annotators=("zoe",))


def test_a_surplus_judgement_is_exported_but_not_counted(store: Store) -> None:
    project(store, "pair", [["a", "b"], ["a", "c"]])
    add_judgement(store, 0, "ann", "ab", {"choice": "first"})
    add_judgement(
        store, 0, "bob", "ab", {"choice": "second", "rewrite": {"place": 0, "text": "More."}}, surplus=True
    )
    add_judgement(store, 1, "bob", "ac", {"choice": "second"}, surplus=True)
    rows, manifest = export(store)
    assert [sides(row)[:3] for row in rows["preferences"]] == [("a", "b", 1.0)]
    result = [(row["id"], row["surplus"]) for row in rows["judgements"]]
    assert result == [("ann-0", False), ("bob-0", True), ("bob-1", True)]
    assert "demonstrations" not in rows
    assert (manifest.to_json()["judgements"], manifest.to_json()["annotators"]) == (1, ["ann"])
    assert (manifest.left_out["surplus_judgements"], manifest.left_out["unjudged_items"]) == (2, 1)


def test_a_decision_on_a_score_is_in_the_manifest(store: Store) -> None:
    project(store, "rating", [["a"]], criteria=["kind"])
    add_judgement(store, 0, "ann", "a", {"scores": [{"kind": 8}]})
    with store.writing() as session:
        item = session.query(ItemRow).one()
        item.state, key = "disputed", item.key
    decide(store, "p", key, "ann", {"scores": [{"kind": 3}]}, id="d")
    _, manifest = export(store)
    assert manifest.to_json()["decisions"] == {str(key): "d"}


def test_weightless_items_are_counted(store: Store) -> None:
    """Eve and Zoe never agree, so both have weight 0; Ann was right on the gold item."""
    project(store, "ranking", [["a", "b", "c"], ["a", "b", "d"], ["a", "c", "d"], ["b", "c", "d"]])
    with store.writing() as session:
        last = session.query(ItemRow).order_by(ItemRow.key).all()[3]
        last.gold, last.state = {"order": [0, 1, 2]}, "gold"
    for item, shown in enumerate(("abc", "abd")):
        add_judgement(store, item, "eve", shown, {"order": [item, 1 - item, 2]})
        add_judgement(store, item, "zoe", shown, {"order": [1 - item, item, 2]})
    with pytest.raises(DataError, match="no annotator of project 'p' has a reliability above 0"):
        export(store, aggregation="reliability")
    add_judgement(store, 2, "ann", "acd", {"order": [0, 1, 2]})
    add_judgement(store, 3, "ann", "bcd", {"order": [0, 1, 2]})
    rows, manifest = export(store, aggregation="reliability")
    assert [sides(row)[:2] for row in rows["preferences"]] == [("a", "c"), ("a", "d"), ("c", "d")]
    assert manifest.left_out["weightless_items"] == 2


def test_a_score_without_a_weight_is_counted_too() -> None:
    (prompt,) = prompts_of("Q?")
    judgement = StoredJudgement("j", "eve", ("a",), {"scores": [{"kind": 3}]}, "", None, None, 0.0)
    item = JudgedItem(1, prompt, (Completion("a", "A"),), None, (judgement,))
    assert is_weightless(item, Aggregator("reliability", weights={"eve": 0.0}))
    assert not is_weightless(item, Aggregator("reliability", weights={"eve": 0.1}))


def test_a_ranking_gives_preferences_too(store: Store) -> None:
    """Orders abc and bac: mean worths 1.5, 1.5, 0; a and b tie, and both beat c by 1.5."""
    project(store, "ranking", [["a", "b", "c"]])
    add_judgement(store, 0, "ann", "cba", {"order": [2, 1, 0]})
    add_judgement(store, 0, "bob", "abc", {"order": [1, 0, 2]})
    rows, manifest = export(store)
    orders = [[one["id"] for one in row["completions"]] for row in rows["rankings"]]
    assert orders == [["a", "b", "c"], ["b", "a", "c"]]  # neither side of a tie is preferred
    assert [row["weight"] for row in rows["rankings"]] == [0.5, 0.5]
    assert list(map(sides, rows["preferences"])) == [
        ("a", "b", 0.5, 0.0),
        ("a", "c", 1.0, 1.5),
        ("b", "c", 1.0, 1.5),
    ]
    assert manifest.even == 2
    only, _ = export(store, kinds=("preferences",))
    assert set(only) == {"preferences", "judgements"}


def test_scores_are_compared_within_a_prompt(store: Store) -> None:
    """a: 8, 6; b: 7. One of two pairs of scores is won: a tie, and the means tie too. c: 2 loses to all."""
    project(store, "rating", [["a"], ["b"], ["c"]], criteria=["kind", "true"])
    for item, who, kind, true in ((0, "ann", 8, 8), (0, "bob", 4, 8), (1, "ann", 7, 7), (2, "ann", 3, 1)):
        add_judgement(store, item, who, "abc"[item], {"scores": [{"kind": kind, "true": true}]})
    rows, _ = export(store)
    result = {frozenset(sides(row)[:2]): sides(row)[2:] for row in rows["preferences"]}
    assert result[frozenset("ab")] == (0.5, 0.0)
    assert result[frozenset("ac")] == (1.0, 5.0)
    assert result[frozenset("bc")] == (1.0, 5.0)
    by_kind, _ = export(store, criterion="kind")
    result = {frozenset(sides(row)[:2]): sides(row)[2:] for row in by_kind["preferences"]}
    assert result[frozenset("ab")] == (0.5, 1.0)  # 8 > 7 > 4, means 6 and 7
    assert len(rows["preferences"][0]["items"]) == 2


def test_a_rewrite_is_a_demonstration(store: Store) -> None:
    project(store, "pair", [["a", "b"]])
    add_judgement(store, 0, "ann", "ab", {"choice": "first", "rewrite": {"place": 0, "text": "更好。"}})
    rows, _ = export(store)
    (row,) = rows["demonstrations"]
    assert (row["completion"], row["prompt"]["messages"][0]["content"]) == (
        {"id": "ann-0", "text": "更好。", "source": "rewrite"},
        "Q?",
    )


def ten_pairs(store: Store) -> None:
    """Ann, Bob and Dan agree on ten items, Eve contradicts them."""
    names = [f"{letter}{n}" for n in range(10) for letter in "ab"]
    store.add_project(Project("p", "?", "pair"))
    add_prompts(store, "p", [BankPrompt(one) for one in prompts_of("Q?")])
    add_completions(store, "p", [("p0", Completion(name, name), {}) for name in names])
    add_items(store, "p", [[f"a{n}", f"b{n}"] for n in range(10)])
    for who in ("ann", "bob", "dan", "eve"):
        store.add_annotator(who, id=who)
    with store.writing() as session:
        for n, row in enumerate(session.query(ItemRow).order_by(ItemRow.key)):
            for who in ("ann", "bob", "dan", "eve"):
                choice = "first" if (who == "eve") == bool(n % 2) else "second"
                shown, answer = [f"a{n}", f"b{n}"], {"choice": choice}
                key = f"{who}{n}"
                session.add(
                    JudgementRow(id=key, item=row.key, annotator=who, shown=shown, answer=answer, created=1e9)
                )


def test_unreliable_annotators_have_less_weight(store: Store) -> None:
    ten_pairs(store)
    shares = {
        by: export(store, aggregation=by)[0]["preferences"] for by in ("majority", "reliability", "dawid_skene")
    }
    assert {row["probability"] for row in shares["majority"]} == {0.75}
    assert {row["weight"] for row in shares["majority"]} == {1.0}
    assert all(0.76 < row["probability"] < 1 for row in shares["reliability"])
    assert all(0 < row["weight"] < 1 for row in shares["reliability"])
    assert all(row["probability"] > 0.99 for row in shares["dawid_skene"])


def test_strengths_combine_overlapping_items(store: Store) -> None:
    """a beats b, b beats c: with strengths, a over b is less than certain."""
    project(store, "pair", [["a", "b"], ["b", "c"]])
    add_judgement(store, 0, "ann", "ab", {"choice": "first"})
    add_judgement(store, 1, "ann", "bc", {"choice": "first"})
    rows, _ = export(store, aggregation="bradley_terry")
    result = {sides(row)[:2]: row for row in rows["preferences"]}
    assert set(result) == {("a", "b"), ("b", "c")}
    for row in result.values():
        assert row["probability"] == pytest.approx(1 / (1 + math.exp(-row["margin"])))
        assert 0.5 < row["probability"] < 1
        assert len(row["items"]) == 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"aggregation": "lot"}, "no aggregation 'lot'"),
        ({"aggregation": "dawid_skene"}, "dawid_skene combines pairs"),
        ({"aggregation": "bradley_terry"}, "not a rating"),
        ({"kinds": ("rankings",)}, "has no rankings"),
        ({"criterion": "kind"}, "no criterion 'kind'; choose one of overall"),
    ],
)
def test_invalid_kinds_and_aggregations_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        start_export(Project("p", "?", "rating", settings={"criteria": ["overall"]}), ExportSpec(**settings))


def test_minority_views_are_in_the_manifest(store: Store) -> None:
    items = [[f"a{n}", f"b{n}"] for n in range(4)]
    project(store, "pair", [])
    add_completions(store, "p", [("p0", Completion(name, name), {}) for item in items for name in item])
    add_items(store, "p", items)
    for who in "abcde":
        store.add_annotator(who, id=who)
    with store.writing() as session:
        for n, row in enumerate(session.query(ItemRow).order_by(ItemRow.key)):
            for who in "abcde":
                answer = {"choice": "second" if who in "de" else "first"}
                key = f"{who}{n}"
                session.add(
                    JudgementRow(id=key, item=row.key, annotator=who, shown=items[n], answer=answer, created=1e9)
                )
    _, manifest = export(store)
    views = manifest.to_json()["minority_views"]
    assert [(view["majority"], view["label"], view["company"]) for view in views] == [("a", "b", ["d", "e"])] * 4


@pytest.mark.parametrize("format", ["jsonl", "parquet", "datasets"])
def test_every_format_can_be_read_back(tmp_path: Path, format: str) -> None:
    store = Store(tmp_path / "f.db")
    project(store, "ranking", [["a", "b", "c"]])
    add_judgement(
        store, 0, "ann", "cba", {"order": [2, 1, 0], "rewrite": {"place": 1, "text": "B!"}}, reason="für b"
    )
    started = start_export(store.project("p"), ExportSpec())
    folder, ending = tmp_path / "out", {"jsonl": ".jsonl", "parquet": ".parquet", "datasets": ""}[format]
    folder.mkdir()
    (folder / "mine.txt").write_text("stays")
    with Writer(folder, format, (*started.kinds, "judgements"), overwrite=True) as writer:
        for kind, row in export_rows(store, started):
            writer.add(kind, row)
        manifest = writer.finish(started.to_json)
    assert read_json(folder / "manifest.json") == manifest
    assert read_records(Preference, folder / f"preferences{ending}") == pair_preferences(store, "p").rows
    (ranking,) = read_records(Ranking, folder / f"rankings{ending}")
    assert [one.id for one in ranking.completions] == ["a", "b", "c"]
    (shown,) = read_records(Demonstration, folder / f"demonstrations{ending}")
    assert shown.completion.text == "B!"
    ((_, row),) = read_rows(folder / f"judgements{ending}")
    answer = row["answer"] if format == "jsonl" else json.loads(row["answer"])
    assert (row["reason"], answer["order"], row["value"]) == ("für b", [2, 1, 0], [0.0, 1.0, 2.0])
    names = {path.name for path in folder.iterdir()}
    assert names == {
        *(f"{kind}{ending}" for kind in (*started.kinds, "judgements")),
        "manifest.json",
        "mine.txt",
    }
    store.close()


def test_a_new_export_replaces_the_old_and_a_failed_one_does_not(tmp_path: Path) -> None:
    store = Store(tmp_path / "f.db")
    project(store, "pair", [["a", "b"]])
    add_judgement(store, 0, "ann", "ab", {"choice": "first"})

    def write(format: str, *, fail: bool = False) -> None:
        started = start_export(store.project("p"), ExportSpec())
        with Writer(tmp_path / "out", format, (*started.kinds, "judgements")) as writer:
            for kind, row in export_rows(store, started):
                writer.add(kind, row)
            if fail:
                raise KeyboardInterrupt
            writer.finish(started.to_json)

    write("jsonl")
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    with pytest.raises(KeyboardInterrupt):
        write("parquet", fail=True)
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before
    write("parquet")
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"preferences.parquet", "judgements.parquet", "manifest.json"}
    with pytest.raises(ConfigError, match="no format 'xml'"):
        write("xml")
    store.close()


def test_an_edited_file_is_detected(tmp_path: Path) -> None:
    store = Store(tmp_path / "f.db")
    project(store, "pair", [["a", "b"]])
    add_judgement(store, 0, "ann", "ab", {"choice": "first"})
    started = start_export(store.project("p"), ExportSpec())
    with Writer(tmp_path / "out", "jsonl", (*started.kinds, "judgements")) as writer:
        for kind, row in export_rows(store, started):
            writer.add(kind, row)
        writer.finish(started.to_json)
    store.close()
    path = tmp_path / "out" / "preferences.jsonl"
    provenance = provenance_of(path, digest_source(path))
    assert provenance is not None
    note, manifest = provenance
    assert note == {
        "project": "p",
        "digest": manifest["digest"],
        "judgements": 1,
        "annotators": 1,
        "unchanged": True,
    }
    path.write_text(path.read_text().replace("1.0", "0.9", 1))
    edited = provenance_of(path, digest_source(path))
    assert edited is not None
    assert edited[0]["unchanged"] is False
    assert provenance_of(tmp_path / "f.db", "") is None  # not a file of the manifest
    (tmp_path / "out" / "manifest.json").write_text("[1")
    assert provenance_of(path, digest_source(path)) is None


def test_progress_table_and_export_count_the_same_judgements(store: Store) -> None:
    project(store, "pair", [["a", "b"], ["a", "c"]])
    with store.writing() as session:
        session.query(ItemRow).order_by(ItemRow.key).all()[1].gold = {"choice": "first"}
    store.add_annotator("eve", id="eve")
    store.set_annotator("eve", "withdrawn")
    for who in ("ann", "bob", "eve"):
        for item, shown in enumerate(("ab", "ac")):
            add_judgement(store, item, who, shown, {"choice": "first"}, surplus=(who, item) == ("bob", 0))
    progress = Queue(store, "p").progress()
    assert (progress["judgements"], progress["surplus"]) == (1, 1)
    counted = ("judgements", "surplus", "gold")
    table = {row["id"]: tuple(row[name] for name in counted) for row in annotator_table(store, "p")}
    assert table == {"ann": (1, 0, 1), "bob": (0, 1, 1), "eve": (1, 0, 1)}
    _, manifest = export(store, exclude_annotators=("eve",))
    assert manifest.to_json()["judgements"] == 1
    assert (manifest.left_out["withdrawn_judgements"], manifest.left_out["judgements_without"]) == (1, 0)


def add_sure_and_unsure(store: Store, items: int, unsure_is_right: bool) -> None:
    """Ann and Bob agree on every item; Cyd is sure on even items and agrees, and unsure on the others."""
    project(store, "pair", [[f"a{n}", f"b{n}"] for n in range(items)], confidence=True)
    for n in range(items):
        pair, right, wrong = (f"a{n}", f"b{n}"), *(("first", "second") if n % 4 < 2 else ("second", "first"))
        for who in ("ann", "bob"):
            add_judgement(store, n, who, "", {"choice": right}, pair=pair, confidence=0.75)
        sure = n % 2 == 0
        choice = right if sure or unsure_is_right else wrong
        add_judgement(store, n, "cyd", "", {"choice": choice}, pair=pair, confidence=1.0 if sure else 0.0)


def test_confidence_that_proves_calibrated_weights_votes_by_reliability(store: Store) -> None:
    """Votes are right by 1 on even items; on the others Ann's and Bob's by 1/2, Cyd's by 0: 2/3 on average.

    Cyd's rise by 1 from confidence 0 to 1, with the mean 1/2: unsure ones weigh 1 − 1·(1/2) / (2/3) = 1/4.
    """
    add_sure_and_unsure(store, 40, unsure_is_right=False)
    rows, manifest = export(store, aggregation="reliability")
    about = manifest.to_json()["confidence"]
    assert (about["used"], about["votes"], about["items"]) == (True, 120, 40)
    assert about["slope"] == {"value": 1.0, "low": 1.0, "high": 1.0}
    assert about["means"] == {"ann": 0.75, "bob": 0.75, "cyd": 0.5}
    scores = {one.annotator: one.score or 0.0 for one in load_votes(store, "p").annotator_reliability()}
    disputed = next(row for row in rows["preferences"] if row["items"] == [2])
    weights = [scores["ann"], scores["bob"], 0.25 * scores["cyd"]]
    assert disputed["probability"] == pytest.approx((weights[0] + weights[1]) / sum(weights))
    assert disputed["weight"] == pytest.approx(sum(weights) / 3)


def test_confidence_is_not_used_by_other_aggregations(store: Store) -> None:
    add_sure_and_unsure(store, 40, unsure_is_right=False)
    rows, manifest = export(store, aggregation="majority")
    assert "confidence" not in manifest.to_json()
    disputed = next(row for row in rows["preferences"] if row["items"] == [2])
    assert disputed["probability"] == pytest.approx(2 / 3)


def test_confidence_that_proves_nothing_weights_no_vote(store: Store) -> None:
    add_sure_and_unsure(store, 40, unsure_is_right=True)
    rows, manifest = export(store, aggregation="reliability")
    about = manifest.to_json()["confidence"]
    assert (about["used"], about["slope"]["value"]) == (False, 0.0)
    assert {row["weight"] for row in rows["preferences"]} == {rows["preferences"][0]["weight"]}


def test_without_confidences_the_manifest_has_no_calibration(store: Store) -> None:
    project(store, "pair", [["a", "b"]])
    for who in ("ann", "bob"):
        add_judgement(store, 0, who, "ab", {"choice": "first"})
    assert "confidence" not in export(store, aggregation="reliability")[1].to_json()
