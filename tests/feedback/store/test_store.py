"""The feedback store, on SQLite and on PostgreSQL."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import inspect, text
from tiny import prompts_of

from gnomon.core.errors import ConfigError, DataError
from gnomon.core.types import Completion, Message, Prompt
from gnomon.feedback.store.database import as_url
from gnomon.feedback.store.ingest import IngestCounts, add_completions, add_items, add_prompts
from gnomon.feedback.store.schema import Table
from gnomon.feedback.store.store import BankPrompt, Project, Store

FILMS = Project("films", "Which review is better?", "pair")


@pytest.fixture
def store(database: str) -> Iterator[Store]:
    store = Store(database)
    store.add_project(FILMS)
    yield store
    store.close()


def fill(store: Store) -> None:
    add_prompts(store, "films", [BankPrompt(p) for p in prompts_of("Solaris?", "Playtime?")])
    answers = [("p0", Completion("a", "Good."), {}), ("p0", Completion("b", "Bad."), {"model": "m", "seed": 3})]
    add_completions(store, "films", [*answers, ("p1", Completion("c", "Good."), {})])


def test_the_migrations_create_the_tables_of_the_schema(store: Store) -> None:
    """Comparing the database with the schema finds no difference, and there are no other tables."""

    def comparable(_: Any, name: str | None, kind: str, *rest: Any) -> bool:
        # SQLite does not report which columns of an index are descending; test_database checks the query plan.
        return not (kind == "index" and name == "ix_items_queue" and store.engine.dialect.name == "sqlite")

    with store.engine.connect() as connection:
        context = MigrationContext.configure(
            connection, opts={"compare_type": True, "include_object": comparable}
        )
        assert compare_metadata(context, Table.metadata) == []
    assert set(inspect(store.engine).get_table_names()) == {*Table.metadata.tables, "alembic_version"}


def test_a_store_keeps_its_rows_when_it_is_opened_again(store: Store) -> None:
    fill(store)
    again = Store(store.url)
    assert [p.id for p in again.prompts("films")] == ["p0", "p1"]
    with pytest.raises(DataError, match="there is a project 'films' already"):
        again.add_project(FILMS)
    again.close()


def test_prompts_are_read_as_they_were_added(store: Store) -> None:
    conversation = (
        Message("system", "Kurz."),
        Message("user", "花样年华?\n\0".replace("\0", "")),
        Message("assistant", "…"),
    )
    prompts = [Prompt("one", conversation, answer="42"), *prompts_of("a")]
    assert add_prompts(
        store, "films", [BankPrompt(p, category="c", tags=("t",)) for p in prompts]
    ) == IngestCounts(2, 0)
    assert store.prompts("films") == prompts


def test_duplicates_are_not_added(store: Store) -> None:
    fill(store)
    assert add_prompts(
        store, "films", [BankPrompt(Prompt("other", prompts_of("Solaris?")[0].messages))]
    ) == IngestCounts(0, 1)
    assert add_completions(store, "films", [("p0", Completion("z", "Good."), {})]) == IngestCounts(0, 1)
    assert add_items(store, "films", [["a", "b"], ["b", "a"]]) == IngestCounts(1, 1)
    assert add_items(store, "films", [["a", "b"]]) == IngestCounts(0, 1)


def test_an_invalid_import_changes_nothing(store: Store) -> None:
    fill(store)
    valid = BankPrompt(Prompt("new", (Message("user", "New?"),)))
    new: tuple[str, Completion, dict[str, Any]] = ("p0", Completion("n", "New."), {})
    other = BankPrompt(Prompt("p0", (Message("user", "Other?"),)))
    broken: list[Callable[[], object]] = [
        lambda: add_prompts(store, "films", [valid, other]),
        lambda: add_completions(store, "films", [new, ("p9", Completion("m", ""), {})]),
        lambda: add_completions(store, "films", [new, ("p0", Completion("a", "?"), {})]),
        lambda: add_items(store, "films", [["a", "b"], ["a", "c"]]),
        lambda: add_items(store, "films", [["a", "b"], ["a", "a"]]),
        lambda: add_items(store, "nowhere", [["a", "b"]]),
    ]
    for add in broken:
        with pytest.raises(DataError, match=r"use another id\.|has no |different completions of one prompt"):
            add()
    with store.reading() as session:
        tables = ("prompts", "completions", "items")
        counts = [session.scalar(text(f"SELECT count(*) FROM {name}")) for name in tables]
    assert counts == [2, 3, 0]


def test_counts_map_ids_of_duplicates_to_those_of_the_store(store: Store) -> None:
    fill(store)
    twin = BankPrompt(Prompt("twin", prompts_of("Solaris?")[0].messages))
    assert add_prompts(store, "films", [twin]).ids == {"twin": "p0"}
    assert add_completions(store, "films", [("p0", Completion("z", "Good."), {})]).ids == {"z": "a"}


def test_a_value_that_the_database_cannot_store_is_refused(store: Store) -> None:
    if store.engine.dialect.name == "sqlite":
        pytest.skip("SQLite stores any text")
    with pytest.raises(DataError, match="cannot store a value"):
        add_prompts(store, "films", [BankPrompt(Prompt("nul", (Message("user", "a"),)), category="a\0b")])


@pytest.mark.long
@pytest.mark.slow
def test_several_processes_can_open_a_new_store_at_once(database: str) -> None:
    line = "import sys; from gnomon.feedback.store.store import Store; Store(sys.argv[1]).close()"
    openers = [
        subprocess.Popen([sys.executable, "-c", line, database], stderr=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    for opener in openers:
        _, err = opener.communicate(timeout=60)
        assert opener.returncode == 0, err


def test_more_rows_than_a_chunk_are_added(store: Store) -> None:
    many = (BankPrompt(Prompt(f"m{i}", (Message("user", f"{i}?"),))) for i in range(1203))
    assert add_prompts(store, "films", many) == IngestCounts(1203, 0)
    assert len(store.prompts("films")) == 1203


def test_the_database_checks_the_numbers_of_votes(store: Store) -> None:
    from sqlalchemy.exc import IntegrityError

    with pytest.raises(IntegrityError), store.writing() as session:
        session.execute(text("UPDATE projects SET votes_per_item = 9"))


def test_a_store_of_a_newer_gnomon_is_refused(store: Store) -> None:
    with store.engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(ConfigError, match=r"of a newer Gnomon \(its tables: 9999\); upgrade"):
        Store(store.url)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("mysql://root:secret@host/db", "cannot be opened"),
        ("postgresql://gnomon:secret@127.0.0.1:1/db", "cannot be opened"),
        ("sqlite:////nowhere/at/all.db", "cannot be opened"),
        ("://", "cannot be opened"),
    ],
)
def test_the_error_for_an_unreachable_store_has_no_password(url: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as error:
        Store(url)
    assert "secret" not in str(error.value)


def test_a_file_that_is_not_a_database_is_refused_and_unchanged(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("not a database, but long enough to be read as one" * 40, encoding="utf-8")
    with pytest.raises(ConfigError, match="file is not a database"):
        Store(path)
    assert path.read_text(encoding="utf-8").startswith("not a database")


def test_sqlite_uses_a_write_ahead_log_and_syncs(tmp_path: Path) -> None:
    store = Store(tmp_path / "feedback.db")
    with store.engine.connect() as connection:
        values = [connection.exec_driver_sql(f"PRAGMA {key}").scalar() for key in ("journal_mode", "synchronous")]
    assert values == ["wal", 2]
    with closing(sqlite3.connect(tmp_path / "feedback.db")) as plain:
        assert plain.execute("SELECT count(*) FROM projects").fetchone() == (0,)
    store.close()


def test_as_url_converts_paths_and_schemes() -> None:
    assert as_url("a/b.db") == "sqlite:///a/b.db"
    assert as_url("postgres://u@h/d") == as_url("postgresql://u@h/d") == "postgresql+psycopg://u@h/d"
    assert as_url("sqlite:///x.db") == "sqlite:///x.db"
