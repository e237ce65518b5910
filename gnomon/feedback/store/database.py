"""The database behind the feedback store: SQLite or PostgreSQL by URL, opened with its tables up to date."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, create_engine, event, inspect, text
from sqlalchemy.engine import URL
from sqlalchemy.engine import make_url as parsed_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError

from gnomon.core.boundary import first_line
from gnomon.core.errors import ConfigError
from gnomon.core.redaction import HIDDEN, SECRET_KEY

MIGRATIONS = Path(__file__).parent / "migrations"
BUSY = 30.0  # seconds that a writer waits for another
POOL: dict[str, Any] = {"pool_size": 8, "max_overflow": 24}
SECRET = re.compile(SECRET_KEY, re.IGNORECASE)  # keys of an address's query
LOCK = 71_836  # PostgreSQL's advisory lock for making tables; any number that nobody else uses


def open_database(url: str) -> Engine:
    """An engine whose database has this version's tables.

    Args:
        url: as `as_url` gives it.

    Raises:
        ConfigError: the database cannot be opened, or a newer Gnomon made it.
    """
    try:
        engine = _engine(url)
        try:
            _migrate(engine)
        except BaseException:
            engine.dispose()
            raise
    except (ArgumentError, NoSuchModuleError, ModuleNotFoundError, DBAPIError) as error:
        problem = _without_password(first_line(getattr(error, "orig", None) or error), url)
        raise ConfigError(f"the feedback store {shown_address(url)} cannot be opened ({problem}).") from None
    return engine


def as_url(url: str | Path) -> str:
    """A path is a SQLite file; PostgreSQL is spoken to by psycopg."""
    said = str(url)
    if "://" not in said:
        return f"sqlite:///{Path(said).expanduser()}"
    kind, _, rest = said.partition("://")
    return f"postgresql+psycopg://{rest}" if kind in ("postgres", "postgresql") else said


def make_url(url: str) -> URL:
    """The parts of a database's address.

    Raises:
        ArgumentError: it is no address; its text quotes nothing of it, since any part may be of a password.
    """
    try:
        found = parsed_url(url)
    except (ValueError, ArgumentError):
        raise ArgumentError(
            "it is no address of a database; its form is kind://user:password@host/name"
        ) from None
    name = "" if found.get_backend_name() == "sqlite" else found.database or ""
    if "@" in f"{found.host or ''}{name}":
        raise ArgumentError("it has an @ too many; write one that belongs to a password as %40")
    return found


def sqlite_file(url: str | Path) -> Path | None:
    """The file of a SQLite store, which need not be there; `None` for other databases, and one in memory."""
    try:
        found = make_url(as_url(url))
    except ArgumentError:
        return None
    name = found.database
    return Path(name) if found.get_backend_name() == "sqlite" and name and name != ":memory:" else None


def shown_address(url: str) -> str:
    """An address without its password; if it cannot be parsed, its kind alone: any part may be a password."""
    try:
        found = make_url(url)
    except ArgumentError:
        kind, separator, _ = url.partition(":")
        return f"{kind}://{HIDDEN}" if separator and kind.replace("+", "").isalnum() else HIDDEN
    query = {key: HIDDEN if SECRET.fullmatch(key) else value for key, value in found.query.items()}
    return found.set(query=query).render_as_string(hide_password=True)


def _without_password(problem: str, url: str) -> str:
    """A driver's words about an address, in which it may quote the password."""
    try:
        found = make_url(url)
    except ArgumentError:
        return problem
    secrets = [found.password, *(value for key, value in found.query.items() if SECRET.fullmatch(key))]
    for secret in secrets:
        if isinstance(secret, str) and secret:
            problem = re.sub(rf"(?<!\w){re.escape(secret)}(?!\w)", HIDDEN, problem)
    return problem


def _engine(url: str) -> Engine:
    if not url.startswith("sqlite"):
        return create_engine(make_url(url), pool_pre_ping=True, **POOL)
    pool = {} if sqlite_file(url) is None else POOL
    made = create_engine(url, connect_args={"timeout": BUSY, "check_same_thread": False}, **pool)

    @event.listens_for(made, "connect")
    def prepare(connection: Any, _: Any) -> None:
        connection.isolation_level = None  # or the driver begins transactions by itself, too late to be exact
        cursor = connection.cursor()
        for setting in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
            cursor.execute(f"PRAGMA {setting}")
        cursor.close()

    return made


def revisions() -> list[str]:
    """Revisions of the tables, oldest first: the numbers that the files of migrations start with."""
    return sorted(file.name.partition("_")[0] for file in (MIGRATIONS / "versions").glob("[0-9]*.py"))


def _revision(engine: Engine) -> str | None:
    """The revision of a database's tables, `None` of an empty one; alembic would take longer to import."""
    with engine.connect() as connection:
        if not inspect(connection).has_table("alembic_version"):
            return None
        found: str | None = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
        return found


def _migrate(engine: Engine) -> None:
    """Bring the tables to this version of Gnomon, or make them."""
    now, known = _revision(engine), revisions()
    if now == known[-1]:
        return
    if now is not None and now not in known:
        raise ConfigError(f"the feedback store is of a newer Gnomon (its tables: {now}); upgrade Gnomon.")
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    with engine.begin() as connection:
        # One of several that open a new store makes its tables; the others wait, and find them.
        sqlite = engine.dialect.name == "sqlite"
        connection.exec_driver_sql("BEGIN IMMEDIATE" if sqlite else f"SELECT pg_advisory_xact_lock({LOCK})")
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
