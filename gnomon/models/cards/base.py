"""License, languages and hub name of a base model, as its own files state them; nothing is guessed."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from gnomon.core.yaml_text import YAML_VALUE_ERRORS, load_yaml

CARD = "README.md"
LICENSES = ("LICENSE", "LICENSE.txt", "LICENSE.md")
UNKNOWN = "unknown"
LARGEST = 1 << 20  # bytes of a card or a license; longer files are not read
# How the texts of two licenses begin, with blanks and line breaks alike.
BEGINNINGS = {"Apache License Version 2.0, January 2004": "apache-2.0", "MIT License": "mit"}
_FRONT = re.compile(r"\A\s*---[ \t]*\r?\n(.*?)\r?\n---[ \t]*(?:\r?\n|\Z)", re.DOTALL)
_ID = re.compile(r"[a-z0-9][a-z0-9.+-]{0,63}")
_LANGUAGE = re.compile(r"[a-z]{2,3}(-[A-Za-z0-9]{2,8})*|code|multilingual")
_REPOSITORY = re.compile(r"\w[\w.-]*/\w[\w.-]*", re.ASCII)
_LINK = re.compile(r"https?://[^\s<>\"'`]{1,500}")


@dataclass(frozen=True)
class BaseInfo:
    """Known facts of a base model.

    Attributes:
        hub_id: its name on the hub; of a folder, the base model that the card in it names.
        license: an identifier of the hub, `other`, or `unknown`.
        license_name: of a license that is `other`.
        license_link: of a license that is `other`: an address, or the name of a file beside the card.
        license_from: the file that states the license; "" if none does.
        license_file: the text of the license, which goes with models trained from this one.
        languages: codes, as the hub has them.
    """

    hub_id: str | None = None
    license: str = UNKNOWN
    license_name: str | None = None
    license_link: str | None = None
    license_from: str = ""
    license_file: Path | None = None
    languages: tuple[str, ...] = ()


def describe_base(folder: Path, hub_id: str | None = None) -> BaseInfo:
    """Read license and languages of a model from the files in its folder.

    Args:
        folder: with the model's README.md, LICENSE or config.json, any of which may be missing.
        hub_id: the name by which it was fetched from the hub, if it was.
    """
    metadata = read_metadata(folder / CARD)
    file = next((folder / name for name in LICENSES if _is_readable(folder / name)), None)
    own = metadata.get("base_model")
    return BaseInfo(
        hub_id=hub_id or _repository(own[0] if isinstance(own, list) and len(own) == 1 else own),
        **_license(metadata, file, _read_json(folder / "config.json")),
        license_file=file,
        languages=_languages(metadata.get("language")),
    )


def read_metadata(card: Path) -> dict[str, Any]:
    """Read the YAML metadata of a card; empty if there is none that can be read."""
    if not _is_readable(card):
        return {}
    front = _FRONT.match(card.read_text(encoding="utf-8-sig", errors="replace"))
    with suppress(yaml.YAMLError, *YAML_VALUE_ERRORS):
        content = load_yaml(front[1]) if front else None
        return content if isinstance(content, dict) else {}
    return {}


def _license(metadata: Mapping[str, Any], file: Path | None, config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a license, from the card, else its text, else the configuration."""
    if isinstance(stated := metadata.get("license"), str) and stated.strip().lower() not in ("", UNKNOWN):
        return _stated(stated, metadata, file) | {"license_from": CARD}
    if file is not None:
        text = " ".join(file.read_text(encoding="utf-8", errors="replace").split())
        known = next((name for start, name in BEGINNINGS.items() if text.startswith(start)), None)
        other = {"license": "other", "license_name": _slug(text[:60]), "license_link": file.name}
        return ({"license": known} if known else other) | {"license_from": file.name}
    if isinstance(stated := config.get("license"), str) and stated.strip():
        return _stated(stated, config, file) | {"license_from": "config.json"}
    return {}


def _stated(stated: str, fields: Mapping[str, Any], file: Path | None) -> dict[str, Any]:
    """Return a license by its identifier, or `other` with a name if the text is none."""
    name = stated.strip().lower()
    if name != "other" and _ID.fullmatch(name):
        return {"license": name}
    given, link = fields.get("license_name"), fields.get("license_link")
    whole = isinstance(link, str) and _LINK.fullmatch(link)
    title = given if name == "other" and isinstance(given, str) else stated
    return {
        "license": "other",
        "license_name": _slug(title),
        "license_link": link if whole else file.name if file else None,
    }


def _slug(text: str) -> str | None:
    """Convert a text to an identifier of lower-case letters, digits and hyphens."""
    return re.sub(r"[^a-z0-9.]+", "-", text.lower()).strip("-.")[:64] or None


def _repository(name: object) -> str | None:
    """Return a name if it can be that of a model on the hub."""
    fits = isinstance(name, str) and len(name) <= 96 and _REPOSITORY.fullmatch(name)
    return str(name) if fits else None


def _languages(stated: object) -> tuple[str, ...]:
    every = stated if isinstance(stated, list) else [stated]
    return tuple(dict.fromkeys(one for one in _texts(every) if _LANGUAGE.fullmatch(one)))


def _texts(values: list[Any]) -> Iterator[str]:
    """Yield the texts in a list; YAML reads the code of Norwegian as false."""
    yield from ("no" if one is False else one for one in values if isinstance(one, str) or one is False)


def _read_json(path: Path) -> dict[str, Any]:
    with suppress(ValueError, RecursionError):
        content = json.loads(path.read_text(encoding="utf-8")) if _is_readable(path) else None
        return content if isinstance(content, dict) else {}
    return {}


def _is_readable(path: Path) -> bool:
    with suppress(OSError):
        return path.is_file() and path.stat().st_size <= LARGEST
    return False
