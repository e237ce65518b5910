"""Resolution of model names, and quick refusals of unknown ones."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import HfApi, constants
from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError
from tiny import CPU

from gnomon.core.errors import ModelError
from gnomon.models import resolve as resolve_module
from gnomon.models.cards.base import BaseInfo
from gnomon.models.loading import load_policy
from gnomon.models.resolve import NETWORK_ERROR, base_info, resolve

REVISION = "a" * 40


@pytest.fixture(autouse=True)
def hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty hub cache, and no answer remembered."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    resolve_module._on_hub.cache_clear()
    yield tmp_path / "hub"
    resolve_module._on_hub.cache_clear()


def hub_says(monkeypatch: pytest.MonkeyPatch, answer: Exception | None) -> list[str]:
    """Replace the hub; returns the list of requested names."""
    requests: list[str] = []

    def model_info(self: HfApi, name: str, *, timeout: float) -> None:
        requests.append(name)
        assert timeout <= 10
        if answer is not None:
            raise answer

    monkeypatch.setattr(HfApi, "model_info", model_info)
    return requests


def cached(model: Path, hub: Path) -> Path:
    """A copy in the hub's cache, as a download leaves it."""
    root = hub / "models--me--tiny"
    (root / "refs").mkdir(parents=True)
    (root / "refs" / "main").write_text(REVISION)
    return Path(shutil.copytree(model, root / "snapshots" / REVISION))


def refused(kind: Any) -> Exception:
    """An error of the hub's as it arises from an answer."""
    error: Exception = kind.__new__(kind)
    return error


@pytest.mark.parametrize(
    ("name", "answer", "sentence"),
    [
        ("smolm2-135m", NETWORK_ERROR("down"), "no way to the hub .*; did you mean 'smollm2-135m'?"),
        ("me/other", TimeoutError(), r"no copy in the hub's cache, .*TimeoutError.*; known: .*smollm2-135m.*\."),
        (
            "me/other",
            refused(RepositoryNotFoundError),
            "the hub has no such model; if it is private, set HF_TOKEN",
        ),
        ("me/other", refused(GatedRepoError), "only to those who accepted its terms"),
    ],
    ids=str,
)
def test_an_unknown_name_is_refused_at_once(
    name: str, answer: Exception, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub_says(monkeypatch, answer)
    started = time.monotonic()
    with pytest.raises(ModelError, match=sentence) as excinfo:
        load_policy(name, CPU)
    assert time.monotonic() - started < 2
    assert "\n" not in str(excinfo.value)


@pytest.mark.parametrize("name", ["a b c", "one/two/three"])
def test_invalid_names_are_refused_without_a_request(name: str) -> None:
    with pytest.raises(ModelError, match="it is no name for the hub either"):
        resolve(name)


def test_one_request_is_sent_to_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    requests = hub_says(monkeypatch, None)
    assert resolve("me/tiny") == resolve("me/tiny") == "me/tiny"
    assert requests == ["me/tiny"]


def test_a_copy_in_the_cache_serves_without_the_hub(
    monkeypatch: pytest.MonkeyPatch, hub_cache: Path, tiny_model: Path
) -> None:
    hub_says(monkeypatch, NETWORK_ERROR("down"))
    snapshot = cached(tiny_model, hub_cache)
    started = time.monotonic()
    load_policy("me/tiny", CPU)
    assert time.monotonic() - started < 5
    assert resolve("me/tiny") == str(snapshot)


def test_no_request_is_sent_in_offline_mode(
    monkeypatch: pytest.MonkeyPatch, hub_cache: Path, tiny_model: Path
) -> None:
    requests = hub_says(monkeypatch, None)
    monkeypatch.setattr(constants, "is_offline_mode", lambda: True)
    with pytest.raises(ModelError, match="OfflineModeIsEnabled"):
        resolve("me/other")
    snapshot = cached(tiny_model, hub_cache)
    assert resolve("me/tiny") == str(snapshot)
    assert not requests


def test_a_model_of_the_hub_is_described_by_its_files_there(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    hub_says(monkeypatch, None)
    card = tmp_path / "README.md"
    card.write_text("---\nlicense: mit\nlanguage: [en, zh]\nbase_model: me/first\n---\n", encoding="utf-8")
    wanted: list[str] = []

    def cached_file(name: str, file: str, **quiet: bool) -> str | None:
        assert name == "me/tiny"
        assert not any(quiet.values())
        wanted.append(file)
        return str(card) if file == card.name else None

    monkeypatch.setattr(resolve_module, "cached_file", cached_file)
    known = base_info("me/tiny")
    assert (known.hub_id, known.license, known.languages) == ("me/tiny", "mit", ("en", "zh"))
    assert wanted == ["README.md", "LICENSE", "LICENSE.txt", "LICENSE.md"]
    card.unlink()
    monkeypatch.setattr(resolve_module, "cached_file", lambda *_, **__: None)
    assert base_info("me/tiny") == BaseInfo(hub_id="me/tiny")


def test_a_copy_of_the_hub_is_described_by_its_own_files(
    monkeypatch: pytest.MonkeyPatch, hub_cache: Path, tiny_model: Path
) -> None:
    hub_says(monkeypatch, NETWORK_ERROR("down"))
    snapshot = cached(tiny_model, hub_cache)
    (snapshot / "LICENSE").write_text("MIT License\n\nCopyright", encoding="utf-8")
    known = base_info("me/tiny")
    assert (known.hub_id, known.license, known.license_file) == ("me/tiny", "mit", snapshot / "LICENSE")


def test_a_name_that_stands_for_nothing_has_no_description(monkeypatch: pytest.MonkeyPatch) -> None:
    hub_says(monkeypatch, NETWORK_ERROR("down"))
    assert base_info("me/tiny") == base_info("/absent") == base_info("") == BaseInfo()
