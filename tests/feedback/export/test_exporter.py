"""What is made of judgements, on both databases: numbers by hand, what is left out, and each format read."""

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
from gnomon.data.reading.records import read_records
from gnomon.feedback.export.aggregation import Aggregator, is_weightless
from gnomon.feedback.export.exporter import ExportManifest, ExportSpec, export_rows, start_export
from gnomon.feedback.export.provenance import provenance_of
from gnomon.feedback.export.writers import Writer
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
    found = Store(database)
    yield found
    found.close()


def project(store: Store, task: str, items: list[list[str]], **settings: Any) -> None:
    """A project whose items are of completions `a`, `b`, … of one prompt."""
    store.add_project(Project("p", "?", task, settings=settings))
    add_prompts(store, "p", [BankPrompt(one) for one in prompts_of("Q?")])
    names = sorted({name for item in items for name in item})
    add_completions(store, "p", [("p0", Completion(name, name.upper(), f"model-{name}"), {}) for name in names])
    add_items(store, "p", items)


def say(store: Store, item: int, who: str, shown: str, answer: Answer, **more: Any) -> str:
    """A judgement of the item at a place, counted from 0, who saw the completions in this order."""
    store.add_annotator(who, id=who)
    with store.writing() as session:
        key = session.query(ItemRow).order_by(ItemRow.key).all()[item].key
        name = f"{who}-{item}{more.pop('version', '')}"
        seen = list(more.pop("pair", shown))
        row = JudgementRow(id=name, item=key, annotator=who, shown=seen, answer=answer, created=1e9, **more)
        session.add(row)
    return name


def export(store: Store, **wanted: Any) -> tuple[dict[str, list[dict[str, Any]]], ExportManifest]:
    tally = start_export(store.project("p"), ExportSpec(**wanted))
    rows: dict[str, list[dict[str, Any]]] = {}
    for kind, row in export_rows(store, tally):
        rows.setdefault(kind, []).append(row)
    return rows, tally


def sides(row: dict[str, Any]) -> tuple[str, str, float, float]:
    return row["chosen"]["id"], row["rejected"]["id"], row["probability"], row["margin"]


def test_a_pair_by_majority_whatever_order_was_seen(store: Store) -> None:
    """Two for b, one tie, one bad: 2.5 of 3 voices, a mean difference of 2/3."""
    project(store, "pair", [["a", "b"], ["a", "c"], ["b", "c"]])
    say(store, 0, "ann", "ab", {"choice": "second"})
    say(store, 0, "bob", "ba", {"choice": "first"})
    say(store, 0, "cem", "ab", {"choice": "tie"})
    say(store, 0, "dan", "ab", {"choice": "bad"})
    say(store, 1, "ann", "ac", {"choice": "bad"})
    rows, tally = export(store)
    ((chosen, rejected, probability, margin),) = map(sides, rows["preferences"])
    assert (chosen, rejected) == ("b", "a")
    assert (probability, margin) == pytest.approx((2.5 / 3, 2 / 3))
    assert rows["preferences"][0]["chosen"]["source"] == "model-b"
    assert len(rows["judgements"]) == 5
    assert {tuple(row["value"]) for row in rows["judgements"]} == {(0, 1), (1, 0), (0.5, 0.5), (0, 0)}
    left_out = {name: n for name, n in tally.left_out.items() if n}
    assert left_out == {"both_bad_judgements": 1, "both_bad_items": 1, "unjudged_items": 1}


def test_gold_corrections_and_those_who_withdrew_are_not_there(store: Store) -> None:
    project(store, "pair", [["a", "b"], ["a", "c"]])
    with store.writing() as session:
        session.query(ItemRow).order_by(ItemRow.key).all()[1].gold = {"choice": "first"}
    first = say(store, 0, "ann", "ab", {"choice": "first"})
    say(store, 0, "ann", "ab", {"choice": "second"}, supersedes=first, version="b")
    say(store, 0, "eve", "ab", {"choice": "first"})
    say(store, 1, "ann", "ac", {"choice": "first"})
    store.set_annotator("eve", "withdrawn")
    rows, tally = export(store)
    assert [row["id"] for row in rows["judgements"]] == ["ann-0b"]
    assert [sides(row)[:3] for row in rows["preferences"]] == [("b", "a", 1.0)]
    assert (tally.left_out["gold_items"], tally.left_out["withdrawn_judgements"]) == (1, 1)
    assert tally.annotators == {"ann"}


def test_somebody_left_out_changes_the_data_and_its_digest(store: Store) -> None:
    project(store, "pair", [["a", "b"]])
    say(store, 0, "ann", "ab", {"choice": "first"})
    say(store, 0, "bob", "ab", {"choice": "second"})
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


def test_a_surplus_judgement_is_kept_and_is_no_voice(store: Store) -> None:
    project(store, "pair", [["a", "b"], ["a", "c"]])
    say(store, 0, "ann", "ab", {"choice": "first"})
    say(store, 0, "bob", "ab", {"choice": "second", "rewrite": {"place": 0, "text": "More."}}, surplus=True)
    say(store, 1, "bob", "ac", {"choice": "second"}, surplus=True)
    rows, tally = export(store)
    assert [sides(row)[:3] for row in rows["preferences"]] == [("a", "b", 1.0)]
    found = [(row["id"], row["surplus"]) for row in rows["judgements"]]
    assert found == [("ann-0", False), ("bob-0", True), ("bob-1", True)]
    assert "demonstrations" not in rows
    assert (tally.to_json()["judgements"], tally.to_json()["annotators"]) == (1, ["ann"])
    assert (tally.left_out["surplus_judgements"], tally.left_out["unjudged_items"]) == (2, 1)


def test_a_decision_on_a_score_is_in_the_manifest(store: Store) -> None:
    project(store, "rating", [["a"]], criteria=["kind"])
    say(store, 0, "ann", "a", {"scores": [{"kind": 8}]})
    with store.writing() as session:
        item = session.query(ItemRow).one()
        item.state, key = "disputed", item.key
    decide(store, "p", key, "ann", {"scores": [{"kind": 3}]}, id="d")
    _, tally = export(store)
    assert tally.to_json()["decisions"] == {str(key): "d"}


def test_items_of_which_nobody_is_relied_on_are_counted(store: Store) -> None:
    """Eve and Zoe never agree, so nothing is left of either; Ann knew the gold answer."""
    project(store, "ranking", [["a", "b", "c"], ["a", "b", "d"], ["a", "c", "d"], ["b", "c", "d"]])
    with store.writing() as session:
        last = session.query(ItemRow).order_by(ItemRow.key).all()[3]
        last.gold, last.state = {"order": [0, 1, 2]}, "gold"
    for item, shown in enumerate(("abc", "abd")):
        say(store, item, "eve", shown, {"order": [item, 1 - item, 2]})
        say(store, item, "zoe", shown, {"order": [1 - item, item, 2]})
    with pytest.raises(DataError, match="nobody who judged project 'p' has a reliability above 0"):
        export(store, aggregation="reliability")
    say(store, 2, "ann", "acd", {"order": [0, 1, 2]})
    say(store, 3, "ann", "bcd", {"order": [0, 1, 2]})
    rows, tally = export(store, aggregation="reliability")
    assert [sides(row)[:2] for row in rows["preferences"]] == [("a", "c"), ("a", "d"), ("c", "d")]
    assert tally.left_out["weightless_items"] == 2


def test_a_score_without_a_weight_is_counted_too() -> None:
    (prompt,) = prompts_of("Q?")
    said = StoredJudgement("j", "eve", ("a",), {"scores": [{"kind": 3}]}, "", None, None, 0.0)
    asked = JudgedItem(1, prompt, (Completion("a", "A"),), None, (said,))
    assert is_weightless(asked, Aggregator("reliability", weights={"eve": 0.0}))
    assert not is_weightless(asked, Aggregator("reliability", weights={"eve": 0.1}))


def test_a_ranking_is_also_its_pairs(store: Store) -> None:
    """Orders abc and bac: means 1.5, 1.5, 0; a and b are even, and both beat c by 1.5 places."""
    project(store, "ranking", [["a", "b", "c"]])
    say(store, 0, "ann", "cba", {"order": [2, 1, 0]})
    say(store, 0, "bob", "abc", {"order": [1, 0, 2]})
    rows, tally = export(store)
    orders = [[one["id"] for one in row["completions"]] for row in rows["rankings"]]
    assert orders == [["a", "b", "c"], ["b", "a", "c"]]  # neither side of a tie is preferred
    assert [row["weight"] for row in rows["rankings"]] == [0.5, 0.5]
    assert list(map(sides, rows["preferences"])) == [
        ("a", "b", 0.5, 0.0),
        ("a", "c", 1.0, 1.5),
        ("b", "c", 1.0, 1.5),
    ]
    assert tally.even == 2
    only, _ = export(store, kinds=("preferences",))
    assert set(only) == {"preferences", "judgements"}


def test_scores_are_compared_within_a_prompt(store: Store) -> None:
    """a: 8, 6; b: 7. Of two pairs of scores one is won: even, and the means are even too. c: 2 loses all."""
    project(store, "rating", [["a"], ["b"], ["c"]], criteria=["kind", "true"])
    for item, who, kind, true in ((0, "ann", 8, 8), (0, "bob", 4, 8), (1, "ann", 7, 7), (2, "ann", 3, 1)):
        say(store, item, who, "abc"[item], {"scores": [{"kind": kind, "true": true}]})
    rows, _ = export(store)
    found = {frozenset(sides(row)[:2]): sides(row)[2:] for row in rows["preferences"]}
    assert found[frozenset("ab")] == (0.5, 0.0)
    assert found[frozenset("ac")] == (1.0, 5.0)
    assert found[frozenset("bc")] == (1.0, 5.0)
    by_kind, _ = export(store, criterion="kind")
    found = {frozenset(sides(row)[:2]): sides(row)[2:] for row in by_kind["preferences"]}
    assert found[frozenset("ab")] == (0.5, 1.0)  # 8 > 7 > 4, means 6 and 7
    assert len(rows["preferences"][0]["items"]) == 2


def test_a_rewrite_is_a_demonstration(store: Store) -> None:
    project(store, "pair", [["a", "b"]])
    say(store, 0, "ann", "ab", {"choice": "first", "rewrite": {"place": 0, "text": "更好。"}})
    rows, _ = export(store)
    (row,) = rows["demonstrations"]
    assert (row["completion"], row["prompt"]["messages"][0]["content"]) == (
        {"id": "ann-0", "text": "更好。", "source": "rewrite"},
        "Q?",
    )


def ten_pairs(store: Store) -> None:
    """Ann, Bob and Dan agree on ten items, Eve says the opposite of them."""
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
                shown, said = [f"a{n}", f"b{n}"], {"choice": choice}
                key = f"{who}{n}"
                session.add(
                    JudgementRow(id=key, item=row.key, annotator=who, shown=shown, answer=said, created=1e9)
                )


def test_who_errs_weighs_less(store: Store) -> None:
    ten_pairs(store)
    shares = {
        by: export(store, aggregation=by)[0]["preferences"] for by in ("majority", "reliability", "dawid_skene")
    }
    assert {row["probability"] for row in shares["majority"]} == {0.75}
    assert {row["weight"] for row in shares["majority"]} == {1.0}
    assert all(0.76 < row["probability"] < 1 for row in shares["reliability"])
    assert all(0 < row["weight"] < 1 for row in shares["reliability"])
    assert all(row["probability"] > 0.99 for row in shares["dawid_skene"])


def test_strengths_bear_on_pairs_together(store: Store) -> None:
    """a beats b, b beats c: by strengths, a over b is no longer certain, and a chain is in order."""
    project(store, "pair", [["a", "b"], ["b", "c"]])
    say(store, 0, "ann", "ab", {"choice": "first"})
    say(store, 1, "ann", "bc", {"choice": "first"})
    rows, _ = export(store, aggregation="bradley_terry")
    found = {sides(row)[:2]: row for row in rows["preferences"]}
    assert set(found) == {("a", "b"), ("b", "c")}
    for row in found.values():
        assert row["probability"] == pytest.approx(1 / (1 + math.exp(-row["margin"])))
        assert 0.5 < row["probability"] < 1
        assert len(row["items"]) == 1


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ({"aggregation": "lot"}, "no aggregation 'lot'"),
        ({"aggregation": "dawid_skene"}, "dawid_skene combines pairs"),
        ({"aggregation": "bradley_terry"}, "not a rating"),
        ({"kinds": ("rankings",)}, "has no rankings"),
        ({"criterion": "kind"}, "no criterion 'kind'; choose one of overall"),
    ],
)
def test_what_a_project_cannot_give(wanted: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        start_export(Project("p", "?", "rating", settings={"criteria": ["overall"]}), ExportSpec(**wanted))


def test_a_view_that_two_hold_together_is_in_the_manifest(store: Store) -> None:
    items = [[f"a{n}", f"b{n}"] for n in range(4)]
    project(store, "pair", [])
    add_completions(store, "p", [("p0", Completion(name, name), {}) for item in items for name in item])
    add_items(store, "p", items)
    for who in "abcde":
        store.add_annotator(who, id=who)
    with store.writing() as session:
        for n, row in enumerate(session.query(ItemRow).order_by(ItemRow.key)):
            for who in "abcde":
                said = {"choice": "second" if who in "de" else "first"}
                key = f"{who}{n}"
                session.add(
                    JudgementRow(id=key, item=row.key, annotator=who, shown=items[n], answer=said, created=1e9)
                )
    _, tally = export(store)
    views = tally.to_json()["minority_views"]
    assert [(view["majority"], view["label"], view["company"]) for view in views] == [("a", "b", ["d", "e"])] * 4


@pytest.mark.parametrize("format", ["jsonl", "parquet", "datasets"])
def test_every_format_is_read_again_as_it_was(tmp_path: Path, format: str) -> None:
    store = Store(tmp_path / "f.db")
    project(store, "ranking", [["a", "b", "c"]])
    say(store, 0, "ann", "cba", {"order": [2, 1, 0], "rewrite": {"place": 1, "text": "B!"}}, reason="für b")
    tally = start_export(store.project("p"), ExportSpec())
    folder, ending = tmp_path / "out", {"jsonl": ".jsonl", "parquet": ".parquet", "datasets": ""}[format]
    folder.mkdir()
    (folder / "mine.txt").write_text("stays")
    with Writer(folder, format, (*tally.kinds, "judgements"), overwrite=True) as writer:
        for kind, row in export_rows(store, tally):
            writer.add(kind, row)
        manifest = writer.finish(tally.to_json)
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
    assert names == {*(f"{kind}{ending}" for kind in (*tally.kinds, "judgements")), "manifest.json", "mine.txt"}
    store.close()


def test_a_new_export_takes_the_place_of_the_old_and_a_broken_one_leaves_it(tmp_path: Path) -> None:
    store = Store(tmp_path / "f.db")
    project(store, "pair", [["a", "b"]])
    say(store, 0, "ann", "ab", {"choice": "first"})

    def write(format: str, *, fail: bool = False) -> None:
        tally = start_export(store.project("p"), ExportSpec())
        with Writer(tmp_path / "out", format, (*tally.kinds, "judgements")) as writer:
            for kind, row in export_rows(store, tally):
                writer.add(kind, row)
            if fail:
                raise KeyboardInterrupt
            writer.finish(tally.to_json)

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


def test_an_edited_file_is_known(tmp_path: Path) -> None:
    store = Store(tmp_path / "f.db")
    project(store, "pair", [["a", "b"]])
    say(store, 0, "ann", "ab", {"choice": "first"})
    tally = start_export(store.project("p"), ExportSpec())
    with Writer(tmp_path / "out", "jsonl", (*tally.kinds, "judgements")) as writer:
        for kind, row in export_rows(store, tally):
            writer.add(kind, row)
        writer.finish(tally.to_json)
    store.close()
    path = tmp_path / "out" / "preferences.jsonl"
    found = provenance_of(path, digest_source(path))
    assert found is not None
    note, manifest = found
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
    assert provenance_of(tmp_path / "f.db", "") is None  # the manifest does not speak of it
    (tmp_path / "out" / "manifest.json").write_text("[1")
    assert provenance_of(path, digest_source(path)) is None


def test_judgements_are_counted_alike_everywhere(store: Store) -> None:
    project(store, "pair", [["a", "b"], ["a", "c"]])
    with store.writing() as session:
        session.query(ItemRow).order_by(ItemRow.key).all()[1].gold = {"choice": "first"}
    store.add_annotator("eve", id="eve")
    store.set_annotator("eve", "withdrawn")
    for who in ("ann", "bob", "eve"):
        for item, shown in enumerate(("ab", "ac")):
            say(store, item, who, shown, {"choice": "first"}, surplus=(who, item) == ("bob", 0))
    progress = Queue(store, "p").progress()
    assert (progress["judgements"], progress["surplus"]) == (1, 1)
    counted = ("judgements", "surplus", "gold")
    table = {row["id"]: tuple(row[name] for name in counted) for row in annotator_table(store, "p")}
    assert table == {"ann": (1, 0, 1), "bob": (0, 1, 1), "eve": (1, 0, 1)}
    _, tally = export(store, exclude_annotators=("eve",))
    assert tally.to_json()["judgements"] == 1
    assert (tally.left_out["withdrawn_judgements"], tally.left_out["judgements_without"]) == (1, 0)
