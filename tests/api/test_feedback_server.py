"""The server beside other work: it answers as soon as its address is printed, and ends with its block."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from gnomon.api.feedback.server import serving
from gnomon.core.errors import ConfigError
from gnomon.feedback.store.store import Project, Store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    feedback_store = Store(tmp_path / "f.db")
    feedback_store.add_project(Project("films", "Which is better?", "pair"))
    yield feedback_store
    feedback_store.close()


def test_the_printed_link_works_at_once(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    with serving(store, "films", port=0) as check:
        printed = capsys.readouterr().err
        (link,) = re.findall(r"shown only once: (\S+)", printed)
        page = requests.get(link, timeout=20)
        assert (page.status_code, "films at http://127.0.0.1:" in printed) == (200, True)
        check()
    with pytest.raises(requests.ConnectionError):
        requests.get(link, timeout=20)
    with serving(store, "films", port=0):
        printed = capsys.readouterr().err
    assert "shown only once" not in printed
    assert "gnomon feedback invite --admin creates another" in printed


def test_a_port_that_is_taken_is_one_sentence(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    with serving(store, "films", port=0):
        port = int(re.findall(r"127\.0\.0\.1:(\d+)", capsys.readouterr().err)[0])
        with pytest.raises(
            ConfigError, match=r"cannot listen on 127\.0\.0\.1:\d+ .*; give another --port or --host\.$"
        ):
            serving(store, "films", port=port).__enter__()
