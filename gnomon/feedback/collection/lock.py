"""Lock of a collection: one at a time for a project, on either database, released when its process ends."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from gnomon.core.errors import BusyError
from gnomon.core.storage.digests import digest
from gnomon.core.storage.folder_lock import FolderLock
from gnomon.feedback.store.database import sqlite_file
from gnomon.feedback.store.store import Store

COLLECTIONS = 71_837  # first key of PostgreSQL's advisory locks of collections; an arbitrary number


@contextmanager
def only_collection(store: Store, project: str) -> Iterator[None]:
    """Context manager: hold the lock of a project's collection.

    SQLite: a lock on a file in a hidden folder beside the store, which is removed at the end. PostgreSQL: an
    advisory lock of a connection of its own.

    Raises:
        BusyError: another process collects the project.
    """
    if store.engine.dialect.name == "postgresql":
        with _advisory_lock(store, project):
            yield
        return
    file = sqlite_file(store.url)
    if file is None:  # a database in memory belongs to this process
        yield
        return
    file = file.resolve()
    folder = file.parent / f".{file.name}.collect-{digest(project)[:12]}"
    try:
        with FolderLock(folder, "lock folder", advice="stop it", subject=f"project '{project}' of {file}"):
            yield
    finally:
        with suppress(OSError):  # another process has it
            folder.rmdir()


@contextmanager
def _advisory_lock(store: Store, project: str) -> Iterator[None]:
    keys = {"kind": COLLECTIONS, "project": int(digest(project)[:7], 16)}
    with store.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        if not connection.execute(text("SELECT pg_try_advisory_lock(:kind, :project)"), keys).scalar():
            raise BusyError(
                f"project '{project}' is in use by another process that collects; wait until it ends, or stop it."
            )
        try:
            yield
        finally:
            with suppress(DBAPIError):  # the server released it when the connection broke
                connection.execute(text("SELECT pg_advisory_unlock(:kind, :project)"), keys)
