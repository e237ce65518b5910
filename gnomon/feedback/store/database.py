"""The database of the feedback store: opens SQLite or PostgreSQL by URL and migrates its tables."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, create_engine, event, inspect, text
from sqlalchemy.engine import URL, make_url as parsed_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError

from gnomon.core.boundary import first_line
from gnomon.core.errors import ConfigError
from gnomon.core.redaction import HIDDEN, SECRET_KEY

MIGRATIONS = Path(__file__).parent / "migrations"
BUSY = 30.0  # seconds that a writer waits for another one
POOL: dict[str, Any] = {"pool_size": 8, "max_overflow": 24}
SECRET = re.compile(SECRET_KEY, re.IGNORECASE)  # keys in the query of a URL
LOCK = 71_836  # key of PostgreSQL's advisory lock for migrations; an arbitrary number


def open_database(url: str) -> Engine:
    """Open a database and bring its tables to this version.

    Args:
        url: database URL, as `as_url` returns it.

    Raises:
        ConfigError: the database cannot be opened, or its tables are of a newer Gnomon.
    """
    try:
        engine = _engine(url)
        try:
            _migrate(engine)
        except BaseException:
            engine.dispose()
            raise
    except UnicodeDecodeError:  # the driver decodes SQLite's message, which quotes the damaged schema
        raise ConfigError(
            f"the feedback store {redacted_url(url)} cannot be opened (its file is damaged); restore a backup."
        ) from None
    except (ArgumentError, NoSuchModuleError, ModuleNotFoundError, DBAPIError) as error:
        problem = _without_password(first_line(getattr(error, "orig", None) or error), url)
        raise ConfigError(
            f"the feedback store {redacted_url(url)} cannot be opened ({problem}); check its path or URL."
        ) from None
    return engine


def as_url(url: str | Path) -> str:
    """Convert a path of a SQLite file, or a URL, to SQLAlchemy's URL; PostgreSQL uses the driver psycopg."""
    address = str(url)
    if "://" not in address:
        return f"sqlite:///{Path(address).expanduser()}"
    scheme, _, rest = address.partition("://")
    return f"postgresql+psycopg://{rest}" if scheme in ("postgres", "postgresql") else address


def make_url(url: str) -> URL:
    """Parse a database URL.

    Raises:
        ArgumentError: the URL is invalid; the message quotes no part of it, since any part may be a password.
    """
    try:
        parsed = parsed_url(url)
    except (ValueError, ArgumentError):
        raise ArgumentError("it is not a database URL; its form is scheme://user:password@host/name") from None
    name = "" if parsed.get_backend_name() == "sqlite" else parsed.database or ""
    if "@" in f"{parsed.host or ''}{name}":
        raise ArgumentError("it has more than one @; write an @ of the password as %40")
    return parsed


def sqlite_file(url: str | Path) -> Path | None:
    """Return the file of a SQLite store, existing or not; `None` for other databases and for one in memory."""
    try:
        parsed = make_url(as_url(url))
    except ArgumentError:
        return None
    name = parsed.database
    return Path(name) if parsed.get_backend_name() == "sqlite" and name and name != ":memory:" else None


def redacted_url(url: str) -> str:
    """Return a URL without its password; only its scheme if it cannot be parsed, since any part may be secret."""
    try:
        parsed = make_url(url)
    except ArgumentError:
        scheme, separator, _ = url.partition(":")
        return f"{scheme}://{HIDDEN}" if separator and scheme.replace("+", "").isalnum() else HIDDEN
    query = {key: HIDDEN if SECRET.fullmatch(key) else value for key, value in parsed.query.items()}
    return parsed.set(query=query).render_as_string(hide_password=True)


def _without_password(problem: str, url: str) -> str:
    """Remove the password of a URL from a driver's message, which may quote it."""
    try:
        parsed = make_url(url)
    except ArgumentError:
        return problem
    secrets = [parsed.password, *(value for key, value in parsed.query.items() if SECRET.fullmatch(key))]
    for secret in secrets:
        if isinstance(secret, str) and secret:
            problem = re.sub(rf"(?<!\w){re.escape(secret)}(?!\w)", HIDDEN, problem)
    return problem


def _engine(url: str) -> Engine:
    if not url.startswith("sqlite"):
        return create_engine(make_url(url), pool_pre_ping=True, **POOL)
    pool = {} if sqlite_file(url) is None else POOL
    engine = create_engine(url, connect_args={"timeout": BUSY, "check_same_thread": False}, **pool)

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _: Any) -> None:
        # Otherwise the driver starts transactions itself, after the first reads.
        connection.isolation_level = None
        cursor = connection.cursor()
        for setting in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
            cursor.execute(f"PRAGMA {setting}")
        cursor.close()

    return engine


def revisions() -> list[str]:
    """Return the revisions of the tables, oldest first, from the names of the migration files."""
    return sorted(file.name.partition("_")[0] for file in (MIGRATIONS / "versions").glob("[0-9]*.py"))


def _revision(engine: Engine) -> str | None:
    """Read the revision of a database's tables, `None` of an empty one, without the slow import of alembic."""
    with engine.connect() as connection:
        if not inspect(connection).has_table("alembic_version"):
            return None
        revision: str | None = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
        return revision


def _migrate(engine: Engine) -> None:
    """Create the tables, or bring them to this version of Gnomon."""
    current, supported = _revision(engine), revisions()
    if current == supported[-1]:
        return
    if current is not None and current not in supported:
        raise ConfigError(f"the feedback store is of a newer Gnomon (its tables: {current}); upgrade Gnomon.")
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    with engine.begin() as connection:
        # If several processes open a new store at once, one creates the tables while the others wait.
        sqlite = engine.dialect.name == "sqlite"
        connection.exec_driver_sql("BEGIN IMMEDIATE" if sqlite else f"SELECT pg_advisory_xact_lock({LOCK})")
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
