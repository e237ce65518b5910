"""Migrations of a store, and the cost of the queue's statements."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory
from annotating import downgrade, project, submit_choice, take
from exported import pair_preferences
from sqlalchemy import event, select, text
from sqlalchemy.exc import IntegrityError

from gnomon.core.errors import ConfigError
from gnomon.core.types import Completion, Message
from gnomon.feedback.crowd_platforms import CrowdWorker, crowd_link
from gnomon.feedback.store import database as opened
from gnomon.feedback.store.access import Access
from gnomon.feedback.store.crowd_access import CrowdAccess
from gnomon.feedback.store.ingest import add_completions, add_items
from gnomon.feedback.store.schema import ItemRow, JudgementRow
from gnomon.feedback.store.store import Project, Store
from gnomon.feedback.task_types import setup_of
from gnomon.feedback.tasks.queue import Queue


def test_revisions_are_those_of_alembic() -> None:
    config = Config()
    config.set_main_option("script_location", str(opened.MIGRATIONS).replace("%", "%%"))
    scripts = ScriptDirectory.from_config(config)
    assert opened.revisions() == [script.revision for script in scripts.walk_revisions()][::-1]
    assert opened.revisions()[-1] == scripts.get_current_head()


def vote_counts(store: Store) -> dict[int, int]:
    with store.reading() as session:
        return {row.key: row.vote_count for row in session.scalars(select(ItemRow))}


def test_migrating_an_older_store_counts_its_votes(database: str) -> None:
    """The initial tables have no vote counts: the migration counts the judgements."""
    store = Store(database)
    queue = project(store, 2, votes_per_item=3)
    for who, better in (("ann", "a"), ("bob", "b"), ("cyd", "a")):
        submit_choice(queue, take(queue, who), who, better)
    for who in ("ann", "bob"):
        submit_choice(queue, take(queue, who), who, "a")
    store.set_annotator("bob", "withdrawn")
    counts = vote_counts(store)
    assert sorted(counts.values()) == [1, 2]
    downgrade(store, "0001")
    store.close()
    again = Store(database)
    assert vote_counts(again) == counts
    again.close()


def test_a_migrated_store_of_texts_accepts_completions_with_turns(database: str) -> None:
    """Existing completions keep their texts and judgements; a completion with turns is added beside them."""
    store = Store(database)
    queue = project(store, 1, votes_per_item=1)
    judgement = submit_choice(queue, take(queue, "ann"), "ann", "a")
    downgrade(store, "0002")
    store.close()
    again = Store(database)
    (old,) = pair_preferences(again, "films").rows
    assert (old.chosen.text, old.chosen.turns) == ("a of 0", None)
    turns = (Message("assistant", "a of 0"), Message("user", "More?"), Message("assistant", "No."))
    add_completions(again, "films", [("p0", Completion("talk", "a of 0", turns=turns), {})])
    add_items(again, "films", [["a0", "talk"]])
    task = take(Queue(again, "films"), "bob")
    assert {one.turns for one in task.completions} == {None, turns}
    assert judgement.item != task.item
    again.close()


def test_vote_counts_follow_judgements_corrections_and_withdrawals(database: str) -> None:
    store = Store(database)
    queue = project(store, 1, votes_per_item=2)
    first = submit_choice(queue, take(queue, "ann"), "ann", "a")
    assert set(vote_counts(store).values()) == {1}
    queue.submit(replace(first, id="second thoughts", corrects=first.id))
    assert set(vote_counts(store).values()) == {1}
    submit_choice(queue, take(queue, "bob"), "bob", "a")
    assert set(vote_counts(store).values()) == {2}
    store.set_annotator("ann", "withdrawn")
    assert set(vote_counts(store).values()) == {1}
    store.set_annotator("ann", "active")
    assert set(vote_counts(store).values()) == {2}
    store.close()


def test_items_with_most_votes_come_first(database: str) -> None:
    store = Store(database)
    queue = project(store, 3, votes_per_item=3)
    with store.writing() as session:
        last = session.scalars(select(ItemRow).order_by(ItemRow.key.desc()).limit(1)).one()
        last.priority = 1.0
    nearest = take(queue, "ann")
    submit_choice(queue, nearest, "ann", "a")
    with store.writing() as session:
        session.execute(text("UPDATE items SET priority = 0"))
    assert take(queue, "bob").item == nearest.item
    store.close()


def test_the_next_item_is_read_in_the_order_of_an_index(tmp_path: Path) -> None:
    """Nothing is sorted, so an item costs the same in a large project."""
    store = Store(tmp_path / "store.db")
    queue = project(store, 4)
    statements: list[str] = []
    event.listen(store.engine, "before_cursor_execute", lambda c, cursor, sql, *rest: statements.append(sql))
    take(queue, "ann")
    (next_item,) = [sql for sql in statements if "ORDER BY items.priority DESC" in sql]
    with store.engine.connect() as connection:
        plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {next_item.replace('?', '0')}")
        steps = [row[3] for row in plan]
    assert any("ix_items_queue" in step for step in steps)
    assert not any("TEMP B-TREE" in step for step in steps)
    store.close()


def test_a_judgement_takes_few_statements(tmp_path: Path) -> None:
    """Each is a round trip to a server: five to lease an item, seven to submit a judgement."""
    store = Store(tmp_path / "store.db")
    queue, statements = project(store, 4, gold_rate=0.0), list[str]()
    event.listen(store.engine, "before_cursor_execute", lambda c, cursor, sql, *rest: statements.append(sql))
    task = take(queue, "ann")
    lease = len(statements)
    submit_choice(queue, task, "ann", "a")
    assert {sql for sql in statements if "BEGIN" in sql} == {"BEGIN IMMEDIATE"}
    assert (lease - 1, len(statements) - lease - 1) == (5, 7)
    store.close()


def test_a_connection_that_the_server_closed_is_replaced(postgres: str, database: str) -> None:
    if not database.startswith("postgresql"):
        pytest.skip("SQLite has no server")
    store = Store(database)
    project(store, 1)
    other = Store(database)
    with other.writing() as session:
        end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
        session.execute(text(f"{end} AND datname = current_database()"))
    assert store.projects() == ["films"]
    other.close()
    store.close()


def test_settings_of_an_older_store_have_their_current_names(database: str) -> None:
    store = Store(database)
    settings = {
        "gold_rate": 0.2, "ranking_size": 5, "min_reliability": 0.4, "min_votes_before_pause": 7,
        "consensus_threshold": 0.6, "min_seconds": 2.0, "max_seconds": 90.0, "min_reason_chars": 9,
    }  # fmt: skip
    store.add_project(Project("old", "Which is better?", "ranking", settings=settings))
    downgrade(store, "0003")
    with store.engine.connect() as connection:
        stored = connection.execute(text("SELECT settings FROM projects")).scalar()
    assert "least_votes" in str(stored)
    assert "min_votes_before_pause" not in str(stored)
    store.close()
    again = Store(database)
    assert again.project("old").settings == settings
    again.close()
    with pytest.raises(ConfigError, match=r"'floor' is invalid .*; it is called 'min_reliability'"):
        setup_of({"floor": 0.5})


def test_columns_of_an_older_store_get_their_current_names(database: str) -> None:
    """Rows of revision 4 are readable under the names of the fields, and the constraint has the new names."""
    store = Store(database)
    project(store, 1, votes_per_item=2, max_votes=3)
    downgrade(store, "0004")
    with store.engine.connect() as connection:
        assert connection.execute(text("SELECT wanted, most FROM projects")).one() == (2, 3)
        assert connection.execute(text("SELECT wanted, heard FROM items")).one() == (2, 0)
    store.close()
    again = Store(database)
    assert (again.project("films").votes_per_item, again.project("films").max_votes) == (2, 3)
    with again.reading() as session:
        item = session.scalars(select(ItemRow)).one()
        assert (item.target_votes, item.vote_count, item.open_to_humans) == (2, 0, True)
    with pytest.raises(IntegrityError), again.writing() as session:
        session.execute(text("UPDATE projects SET max_votes = 1"))
    again.close()


def test_an_older_store_admits_crowd_workers(database: str) -> None:
    """Judgements stored before the tables of crowd platforms name no link, and count as before."""
    store = Store(database)
    queue = project(store, 2, votes_per_item=1)
    submit_choice(queue, take(queue, "ann"), "ann", "a")
    downgrade(store, "0005")
    store.close()
    again = Store(database)
    crowd = CrowdAccess(Access(again))
    _, token = crowd.add_link("films", crowd_link("mturk"))
    assert crowd.join("films", token, CrowdWorker("A1", {})).is_new
    with again.reading() as session:
        assert session.scalars(select(JudgementRow.invite)).all() == [None]
    assert len(pair_preferences(again, "films").rows) == 1
    again.close()


def test_a_store_with_a_damaged_schema_is_refused_in_one_sentence(tmp_path: Path) -> None:
    """SQLite quotes the damaged name in its message, which the driver cannot decode."""
    file = tmp_path / "store.db"
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("CREATE TABLE annotators (name TEXT)")
        connection.commit()
    content = file.read_bytes()
    file.write_bytes(content.replace(b"CREATE TABLE annotators", b"CREATE TABL\xd6 annotators"))
    with pytest.raises(ConfigError, match="cannot be opened"):
        Store(file)


def test_an_older_store_gets_projects_of_demonstrations(database: str) -> None:
    """The constraint on the task is replaced in place: projects, items and judgements stay."""
    store = Store(database)
    queue = project(store, 2)
    submit_choice(queue, take(queue, "ann"), "ann", "a")
    counts = vote_counts(store)
    downgrade(store, "0009")
    with pytest.raises(IntegrityError), store.engine.begin() as connection:
        connection.execute(text("UPDATE projects SET task = 'demonstration'"))
    store.close()
    again = Store(database)
    again.add_project(Project("help", "Write.", "demonstration", 1, 1))
    with pytest.raises(IntegrityError), again.engine.begin() as connection:
        connection.execute(text("UPDATE projects SET task = 'quiz'"))
    assert vote_counts(again) == counts
    assert again.project("films").task == "pair"
    if again.engine.dialect.name == "sqlite":
        with again.engine.connect() as connection:
            assert connection.exec_driver_sql("PRAGMA integrity_check").scalar() == "ok"
            assert connection.exec_driver_sql("PRAGMA foreign_key_check").all() == []
    again.close()
