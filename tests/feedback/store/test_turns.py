"""Completions of several turns stay whole: imported, displayed, exported and imported again."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from exported import pair_preferences
from hypothesis import HealthCheck, given, settings, strategies as st
from sqlalchemy import select

from gnomon.core.storage.files import to_json
from gnomon.core.types import Completion, Demonstration, Message, Preference, Ranking
from gnomon.data.records import parse_record, read_records
from gnomon.feedback.export.exporter import ExportSpec, export_rows, start_export
from gnomon.feedback.export.writers import Writer
from gnomon.feedback.importing.items import add_groups, own_ids, read_groups
from gnomon.feedback.store.schema import CompletionRow
from gnomon.feedback.store.store import Project, Store
from gnomon.feedback.tasks.adjudication import review_item
from gnomon.feedback.tasks.gold_items import add_gold
from gnomon.feedback.tasks.queue import NewJudgement, Queue
from gnomon.web.markdown import completion_as_html

GOOD = [("assistant", "Hello!"), ("user", "A film, please."), ("assistant", 'Metropolis 日本語 🎬 "q"')]
BAD = [("assistant", "Hello!"), ("tool", "no film"), ("assistant", 'Metropolis 日本語 🎬 "q"')]
ROLES = {"user": "User <b>", "assistant": "Assistant", "tool": "Tool", "system": "System"}


def rows_of(turns: list[tuple[str, str]], **last: Any) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = [{"role": role, "content": content} for role, content in turns]
    rows[-1].update(last)
    return rows


def store_of(path: Path, rows: list[dict[str, Any]], task: str = "pair", **setup: Any) -> tuple[Store, Queue]:
    """A store with the items of these rows, each of which needs one judgement."""
    file = path.with_suffix(".jsonl")
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    store = Store(path)
    store.add_project(Project("p", "Which?", task, 1, 1, settings=setup))
    add_groups(store, "p", read_groups(file, task))
    store.add_annotator("ann", id="ann")
    return store, Queue(store, "p")


def test_completions_that_differ_in_a_users_turn_are_different(tmp_path: Path) -> None:
    """The assistant's turns are equal in both; the turn between them differs."""
    row = {"prompt": "Hi", "chosen": rows_of(GOOD), "rejected": rows_of(BAD)}
    store, queue = store_of(tmp_path / "f.db", [row])
    task = queue.take("ann")
    assert task is not None
    shown = {tuple((m.role, m.content) for m in one.turns or ()) for one in task.completions}
    assert shown == {tuple(GOOD), tuple(BAD)}
    assert len(review_item(store, "p", task.item).completions[0].turns or ()) == 3
    assert add_groups(store, "p", read_groups(tmp_path / "f.jsonl")).known == 1
    store.close()


MESSAGE = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=8).filter(str.strip)
TALK = st.lists(st.tuples(st.sampled_from(["user", "tool"]), MESSAGE, MESSAGE), max_size=3)


@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(first=TALK, second=TALK, marks=st.sampled_from([{}, {"train": True}, {"reasoning_content": "hm"}]))
@pytest.mark.parametrize("format", ["jsonl", "parquet"])
def test_imported_conversations_are_exported_and_read_unchanged(
    tmp_path_factory: pytest.TempPathFactory, format: str, first: Any, second: Any, marks: dict[str, Any]
) -> None:
    """Import, judge, export and read give the imported conversations, for any turns."""
    folder = tmp_path_factory.mktemp("law")

    def answer(talk: Any, end: str) -> list[dict[str, Any]]:
        turns = [pair for role, others, own in talk for pair in (("assistant", own), (role, others))]
        return rows_of([*turns, ("assistant", end)], **marks)

    row = {"prompt": "Hi", "chosen": answer(first, "the good end"), "rejected": answer(second, "the bad end")}
    imported = parse_record(Preference, row)
    store, queue = store_of(folder / "f.db", [row])
    task = queue.take("ann")
    assert task is not None
    good = next(n for n, one in enumerate(task.completions) if one.text.endswith("the good end"))
    queue.submit(NewJudgement("j", task.item, "ann", {"choice": ("first", "second")[good]}))
    tally = start_export(store.project("p"), ExportSpec())
    with Writer(folder / "out", format, (*tally.kinds, "judgements")) as writer:
        for kind, exported in export_rows(store, tally):
            writer.add(kind, exported)
        writer.finish(tally.to_json)
    (read,) = read_records(Preference, folder / "out" / f"preferences.{format}")
    assert [read] == pair_preferences(store, "p").rows
    assert (read.chosen.turns, read.chosen.text) == (imported.chosen.turns, imported.chosen.text)
    assert (read.rejected.turns, read.rejected.text) == (imported.rejected.turns, imported.rejected.text)
    assert parse_record(Preference, to_json(read)) == read
    store.close()


def test_a_rewrite_replaces_the_last_turn(tmp_path: Path) -> None:
    """The annotator edits the last turn, and the demonstration has those before it unchanged."""
    row = {"prompt": "Hi", "chosen": rows_of(GOOD), "rejected": rows_of([*GOOD[:2], ("assistant", "No.")])}
    store, queue = store_of(tmp_path / "f.db", [row], rewrite=True)
    task = queue.take("ann")
    assert task is not None
    texts = queue.displayed_texts("ann", task.item)
    assert sorted(texts) == sorted([GOOD[-1][1], "No."])
    index = texts.index("No.")
    better = {"choice": ("second", "first")[index], "rewrite": {"place": index, "text": "Metropolis."}}
    queue.submit(NewJudgement("j", task.item, "ann", better))
    tally = start_export(store.project("p"), ExportSpec())
    (exported,) = (row for kind, row in export_rows(store, tally) if kind == "demonstrations")
    completion = parse_record(Demonstration, exported).completion
    assert [(m.role, m.content) for m in completion.turns or ()] == [*GOOD[:2], ("assistant", "Metropolis.")]
    assert completion.text == "Hello!\n\nMetropolis."
    store.close()


def test_gold_completions_keep_their_turns_and_may_be_equal_to_those_of_another_prompt(tmp_path: Path) -> None:
    store, _ = store_of(tmp_path / "f.db", [{"prompt": "Hi", "chosen": "Yes.", "rejected": "No."}])
    rows = [{"prompt": words, "completions": [rows_of(GOOD), "No."]} for words in ("One?", "Two?")]
    read = [parse_record(Ranking, row) for row in rows]
    gold = [replace(row, completions=own_ids(row.prompt, row.completions)) for row in read]
    assert add_gold(store, "p", gold).added == 2
    with store.reading() as session:
        stored = list(session.scalars(select(CompletionRow.turns).where(CompletionRow.turns.is_not(None))))
    assert stored == [rows_of(GOOD)] * 2
    store.close()


def test_the_page_displays_every_turn_and_escapes_its_text() -> None:
    turns = (
        Message("assistant", "*Hello* <script>x</script>", "thinking <b>"),
        Message("user", "<img src=x>"),
        Message("assistant", "Bye"),
    )
    html = completion_as_html(Completion("c", "", turns=turns), ROLES)
    assert html.count('<div class="turn">') == 3
    assert "<em>Hello</em> &lt;script&gt;" in html
    assert "<blockquote><p>thinking &lt;b&gt;</p>" in html
    assert "User &lt;b&gt;</div>" in html
    assert "<img" not in html
    assert completion_as_html(Completion("c", "*Hello*"), ROLES) == "<p><em>Hello</em></p>\n"
