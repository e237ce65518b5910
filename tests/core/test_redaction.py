"""Passwords and tokens never appear: not in messages, tracebacks, records of a command or settings."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from project import Project, Ran

from gnomon.core.boundary import write_crash
from gnomon.core.errors import DataError, GnomonError
from gnomon.core.redaction import redact, redact_values
from gnomon.core.storage.environment import environment
from gnomon.core.storage.folder_lock import FolderLock
from gnomon.feedback.generation.backends import open_generator
from gnomon.feedback.store.store import Store

SECRET = ("huSh7", "qUi3t")  # the two halves of each password below, in no path
DATABASES = [
    "postgresql://ann:huSh7@qUi3t@host/db",
    "postgresql://ann:huSh7/qUi3t@host/db",
    "postgresql://ann:huSh7?qUi3t@host:port/db",
    "postgresql://ann:huSh7 qUi3t@host:port/db",
    "postgresql://ann/x:huSh7#qUi3t@host/db",
    "postgresql://ann:huSh7qUi3t",
    "postgresql://ann:huSh7@[::1/qUi3t@db",
    "postgresql://127.0.0.1:1/db?password=huSh7%40qUi3t",
    "postgresql://127.0.0.1:1/db?user=ann&sslpassword=huSh7qUi3t",
    "postgresql:/ann:huSh7qUi3t@host/db",
    "postgresql:///ann:huSh7qUi3t@host/db",
    "postgresql//ann:huSh7qUi3t@host/db",
    "ann:huSh7@qUi3t@host/db",
    "mysql://ann:huSh7qUi3t@host/db",
    "sqlite://ann:huSh7qUi3t@host/db",
    "sqlite:///nowhere/ann:huSh7qUi3t@host/db",
    "nosuch+driver://ann:huSh7qUi3t@host/db",
    "://ann:huSh7qUi3t@host",
]
SERVERS = [
    "http://ann:huSh7qUi3t@host/v1#model",
    "http://ann:huSh7?qUi3t@host/v1#model",
    "http://ann:huSh7#qUi3t@host/v1#model",
    "http://ann:huSh7@qUi3t@host/v1#model",
    "http://huSh7qUi3t@host/v1#model",
    "http://host/v1?key=huSh7qUi3t#model",
    "http://host/v1?token=huSh7qUi3t",
    "https://[huSh7qUi3t:x@host/v1#model",
    "ftp://ann:huSh7qUi3t@host/v1#model",
]


def hides_passwords(text: str) -> bool:
    return not any(half in text for half in SECRET)


@pytest.mark.parametrize("address", DATABASES)
def test_no_stores_address_shows_its_password(address: str, ask: Callable[..., Ran]) -> None:
    if not (":///" in address or "://" not in address):  # others are names of files
        with pytest.raises(GnomonError) as error:
            Store(address)
        assert hides_passwords(str(error.value))
    code, out, err = ask("feedback", "status", address)
    assert code == 2
    assert hides_passwords(out + err)


@pytest.mark.parametrize("source", SERVERS)
def test_no_servers_address_shows_its_password_or_key(source: str) -> None:
    with pytest.raises(GnomonError) as error:
        open_generator(source, {})
    assert hides_passwords(str(error.value))


@pytest.mark.parametrize("address", [*DATABASES[::4], *SERVERS[::4]])
@pytest.mark.parametrize(
    "command",
    [
        lambda a: ("run", a),
        lambda a: ("run", "recipe.yaml", f"store={a}"),
        lambda a: ("check", "recipe.yaml", a),
        lambda a: ("feedback", "status", "none.db", a),
        lambda a: (a,),
        lambda a: ("chat", a, f"--{a}"),
    ],
)
def test_no_command_repeats_a_password(
    command: Callable[[str], tuple[str, ...]], address: str, ask: Callable[..., Ran], project: Project
) -> None:
    arguments = [str(project.recipe) if one == "recipe.yaml" else one for one in command(address)]
    code, out, err = ask(*arguments)
    assert code == 2
    assert hides_passwords(out + err)


@pytest.mark.parametrize("address", [a for a in DATABASES if "@" in a or "?" in a])
def test_records_of_a_process_hold_no_password(
    address: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sys, "argv", ["gnomon", "run", f"track={address}"])
    assert hides_passwords(environment(0, {})["command"])
    with FolderLock(tmp_path, "folder"):
        (lock,) = tmp_path.glob(".*")
        assert "track=" in lock.read_text(encoding="utf-8")
        assert hides_passwords(lock.read_text(encoding="utf-8"))
    monkeypatch.setenv("GNOMON_CRASH_FOLDER", str(tmp_path))
    try:
        raise ValueError(f"the server at {address} has gone")
    except ValueError as error:
        file = write_crash(error)
    assert file is not None
    assert hides_passwords(file.read_text(encoding="utf-8"))
    assert hides_passwords(json.dumps(redact_values({"data": {"a": [f"{address}"]}})))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("at postgresql://ann:p/w@rd@host/db.", "at postgresql://ann:***@host/db."),
        ("at postgresql://ann@host/db.", "at postgresql://ann@host/db."),
        ("'https://hf_abc@hub.co/x' is none", "'https://***@hub.co/x' is none"),
        ("http://h/v1?api_key=abc&x=1", "http://h/v1?api_key=***&x=1"),
        ("mail ann@host about runs/a: 3 rows", "mail ann@host about runs/a: 3 rows"),
        ("http://localhost:8000/v1 is none", "http://localhost:8000/v1 is none"),
        ("http://localhost:8000, http://[::1]:80/", "http://localhost:8000, http://[::1]:80/"),
        ("db://ann:huSh7", "db://ann:***"),
        ("first://a\nb:c@d", "first://a\nb:***@d"),
    ],
)
def test_text_without_secrets_is_unchanged(text: str, shown: str) -> None:
    assert redact(text) == shown
    assert str(DataError(text)) == shown
