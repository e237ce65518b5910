"""One collection at a time, on both databases."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from annotating import project

from gnomon.core.errors import BusyError
from gnomon.feedback.collection.lock import only_collection
from gnomon.feedback.store.store import Project, Store


@pytest.fixture
def store(database: str) -> Iterator[Store]:
    feedback_store = Store(database)
    project(feedback_store, 1)
    feedback_store.add_project(Project("books", "Which is better?", "pair"))
    yield feedback_store
    feedback_store.close()


def test_a_second_collection_of_a_project_is_refused(store: Store, database: str) -> None:
    second = Store(database)
    with only_collection(store, "films"):
        with pytest.raises(BusyError, match=r"project 'films'.*process.*wait until it ends, or stop it\.$"):
            only_collection(second, "films").__enter__()
        with only_collection(second, "books"):
            pass
    with only_collection(second, "films"):
        pass
    second.close()


def test_a_failed_collection_leaves_no_lock(tmp_path: Path) -> None:
    store = Store(tmp_path / "f.db")
    project(store, 1)
    locked = only_collection(store, "films")
    locked.__enter__()
    assert len(list(tmp_path.glob(".f.db.collect-*"))) == 1
    assert not locked.__exit__(ZeroDivisionError, ZeroDivisionError(), None)
    assert list(tmp_path.glob(".f.db.collect-*")) == []
    (tmp_path / "link.db").symlink_to(tmp_path / "f.db")
    linked = Store(tmp_path / "link.db")
    with only_collection(store, "films"), pytest.raises(BusyError):
        only_collection(linked, "films").__enter__()
    store.close()
    linked.close()


def test_a_store_in_memory_needs_no_lock() -> None:
    store = Store("sqlite://")
    with only_collection(store, "films"), only_collection(store, "films"):
        pass
    store.close()
