"""What is known of a base model is what its own files state, and unknown otherwise."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from gnomon.models.cards.base import BaseInfo, describe_base, read_metadata

APACHE = "\n              Apache License\n           Version 2.0, January 2004\n"


def write_card(folder: Path, **metadata: Any) -> None:
    text = f"---\n{yaml.safe_dump(metadata)}---\n\n# A model\n"
    (folder / "README.md").write_text(text, encoding="utf-8")


def test_nothing_is_guessed(tmp_path: Path) -> None:
    assert describe_base(tmp_path) == BaseInfo()
    assert describe_base(tmp_path / "absent", "ann/model") == BaseInfo(hub_id="ann/model")
    assert BaseInfo().license == "unknown"


def test_the_card_of_the_base_states_license_and_languages(tmp_path: Path) -> None:
    write_card(tmp_path, license="Apache-2.0", language=["en", "zh-Hant", "English", 7], base_model=["ann/first"])
    assert describe_base(tmp_path) == BaseInfo(
        hub_id="ann/first", license="apache-2.0", license_from="README.md", languages=("en", "zh-Hant")
    )
    assert describe_base(tmp_path, "bob/own").hub_id == "bob/own"


def test_norwegian_is_not_false(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("---\nlanguage: no\n---\n", encoding="utf-8")
    assert describe_base(tmp_path).languages == ("no",)


@pytest.mark.parametrize(
    ("metadata", "name", "link"),
    [
        ({"license": "other", "license_name": "llama3", "license_link": "LICENSE"}, "llama3", None),
        (
            {"license": "other", "license_name": "Gemma Terms", "license_link": "https://ai.google.dev/gemma"},
            "gemma-terms",
            "https://ai.google.dev/gemma",
        ),
        ({"license": "My own license, v1"}, "my-own-license-v1", None),
        ({"license": "other", "license_link": "javascript:alert(1)"}, "other", None),
    ],
)
def test_a_license_without_an_identifier_is_other(
    tmp_path: Path, metadata: dict[str, str], name: str, link: str | None
) -> None:
    write_card(tmp_path, **metadata)
    known = describe_base(tmp_path)
    assert (known.license, known.license_name, known.license_link) == ("other", name, link)


@pytest.mark.parametrize(
    ("text", "license_", "name"),
    [
        (APACHE + "terms", "apache-2.0", None),
        ("MIT License\n\nCopyright (c) 2026 Ann", "mit", None),
        ("This is not the MIT License.", "other", "this-is-not-the-mit-license"),
    ],
)
def test_the_text_of_a_license_is_recognized_by_its_beginning(
    tmp_path: Path, text: str, license_: str, name: str | None
) -> None:
    (tmp_path / "LICENSE").write_text(text, encoding="utf-8")
    known = describe_base(tmp_path)
    assert (known.license, known.license_name, known.license_from) == (license_, name, "LICENSE")
    assert known.license_file == tmp_path / "LICENSE"
    assert known.license_link == ("LICENSE" if name else None)


def test_the_configuration_comes_last(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"license": "mit"}), encoding="utf-8")
    assert describe_base(tmp_path).license_from == "config.json"
    (tmp_path / "LICENSE").write_text(APACHE, encoding="utf-8")
    assert describe_base(tmp_path).license == "apache-2.0"
    write_card(tmp_path, license="unknown")
    assert describe_base(tmp_path).license == "apache-2.0"
    write_card(tmp_path, license="cc-by-4.0")
    assert describe_base(tmp_path).license == "cc-by-4.0"


@pytest.mark.parametrize("front", ["", "no metadata", "[1, 2]", "a: &a [*a]", ": :", "x: 2026-02-30"])
def test_a_card_without_readable_metadata_states_nothing(tmp_path: Path, front: str) -> None:
    (tmp_path / "README.md").write_text(f"---\n{front}\n---\n", encoding="utf-8")
    (tmp_path / "config.json").write_text("[" * 9_000, encoding="utf-8")
    assert read_metadata(tmp_path / "README.md") == {}
    assert describe_base(tmp_path) == BaseInfo()


@pytest.mark.parametrize(
    "name", ["../../etc", "a/b/c", "ann/", "/ann", "ann/mo del", "x" * 91 + "/model", 3, None]
)
def test_what_cannot_be_a_name_on_the_hub_is_left_out(tmp_path: Path, name: object) -> None:
    write_card(tmp_path, base_model=name)
    assert describe_base(tmp_path).hub_id is None
