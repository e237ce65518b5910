"""Fresh databases for tests: a SQLite file, and one in a PostgreSQL server that the tests start."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

NUMBERS = itertools.count()


def program(name: str) -> str | None:
    """Where one of PostgreSQL's programs is; Debian keeps the server's own off the path."""
    places = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    return shutil.which(name) or (str(places[-1]) if places else None)


def as_postgres(command: Sequence[str], folder: Path) -> None:
    """Run as somebody whom the server accepts: it refuses root."""
    user = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
    subprocess.run([*user, *command], cwd=folder, check=True, capture_output=True)


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The URL of a running server, without the database's name; no TCP port is opened."""
    initdb, pg_ctl = program("initdb"), program("pg_ctl")
    if not initdb or not pg_ctl:
        pytest.skip("PostgreSQL is not installed; apt-get install postgresql")
    # Not below pytest's own folder: a socket's path may not be long, and other runs of pytest shut that folder to
    # all but its owner, while the server is another user's.
    with tempfile.TemporaryDirectory(prefix="gnomon-", dir="/tmp", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o777)
        data = str(folder / "data")
        as_postgres([initdb, "-D", data, "-U", "gnomon", "-A", "trust", "-E", "UTF8", "--no-sync"], folder)
        options = f"-k {folder} -c listen_addresses='' -c fsync=off -c max_connections=200"
        as_postgres([pg_ctl, "-D", data, "-w", "-l", str(folder / "log"), "-o", options, "start"], folder)
        yield f"postgresql://gnomon@/{{name}}?host={folder}"
        as_postgres([pg_ctl, "-D", data, "-m", "immediate", "stop"], folder)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.long)])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database; every test that takes it runs on both kinds, on PostgreSQL as a long one."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'feedback.db'}"
    import psycopg

    server: str = request.getfixturevalue("postgres")
    name = f"t{os.getpid()}_{next(NUMBERS)}"
    with psycopg.connect(server.format(name="postgres"), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return server.format(name=name)
