"""Recognition of a file's format by its first rows, with the reason. Between two formats nothing is guessed."""

from __future__ import annotations

import importlib
import inspect
import json
import pkgutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from gnomon.core.errors import ConfigError, DataError
from gnomon.data import formats
from gnomon.data.formats.columns import Columns
from gnomon.data.formats.common.misspellings import hint
from gnomon.data.formats.contract import Format
from gnomon.data.formats.own_layout import GNOMON, OwnAnswers, OwnPrompts

NO_FORMATS = ("contract", "registry", "columns", "proposal", "own_layout")  # files of this folder that hold none

SYNONYMS = {  # names that data sets and other tools have for a format
    "open-assistant": "oasst", "openassistant": "oasst", "oasst1": "oasst", "oasst2": "oasst", "hh-rlhf": "hh",
    "anthropic": "hh", "openai": GNOMON, "messages": GNOMON, "chat": "chatml", "capybara": "turn-pairs",
    "webgpt": "scored-pairs", "nectar": "ranked-list", "json-min": "label-studio-min",
}  # fmt: skip


@dataclass(frozen=True)
class Recognized:
    """A format that the rows of a file have.

    Attributes:
        format: the format.
        evidence: why, as a clause; "" for a format that the user chose.
    """

    format: Format
    evidence: str


@dataclass(frozen=True)
class RowLayout:
    """The layout of a file's rows as its user describes it; nothing where it is recognized.

    Attributes:
        name: name of a format.
        columns: the mapping of columns as JSON, so that layouts can be compared.
    """

    name: str = ""
    columns: str = ""

    @classmethod
    def of(cls, name: str = "", columns: Mapping[str, Any] | None = None) -> RowLayout:
        """Make a layout from a name or a mapping of columns.

        Raises:
            ConfigError: both are given, or one of them is wrong.
        """
        if name and columns:
            raise ConfigError("format and columns exclude each other; give one of them.")
        layout = cls(name, json.dumps(columns, ensure_ascii=False) if columns else "")
        _ = layout.format
        return layout

    @property
    def given(self) -> bool:
        """Whether the user described the layout."""
        return bool(self.name or self.columns)

    @property
    def format(self) -> Format | None:
        """The format that the user chose; `None` for Gnomon's own layout."""
        if self.columns:
            return Columns(json.loads(self.columns))
        return None if self.name in ("", GNOMON) else find_format(self.name)


OWN = RowLayout()


@cache
def all_formats() -> dict[str, Format]:
    """Every format by name: the files of this folder."""
    known: dict[str, Format] = {}
    for info in pkgutil.iter_modules(formats.__path__):
        if info.name in NO_FORMATS or info.ispkg:
            continue
        module = importlib.import_module(f"{formats.__name__}.{info.name}")
        own = [v for v in vars(module).values() if inspect.isclass(v) and v.__module__ == module.__name__]
        for kind in own:
            if issubclass(kind, Format):
                known[kind.name] = kind()
    return known


def find_format(name: str) -> Format:
    """Return the format of a name.

    Raises:
        ConfigError: there is none.
    """
    if name not in all_formats():
        raise ConfigError(f"'{name}' is no format; {hint(name, [GNOMON, *all_formats()], SYNONYMS)}")
    return all_formats()[name]


def recognize(
    rows: Sequence[Mapping[str, Any]], path: Path, kinds: Sequence[type] | None = None
) -> Recognized | None:
    """Return the published format that at least half of some rows have; `None` if it is Gnomon's own or unknown.

    A general format counts only where no specific one matches; every format gives way to one that is certain.
    Where Gnomon's own layout fits as well, it is one of the readings; it wins where it holds every wanted kind.

    Args:
        rows: the first rows of a file.
        path: of the file, for messages.
        kinds: kinds of records that are wanted; formats without them are left out, but a specific one that
            alone fits is not.

    Raises:
        DataError: the rows have several formats that differ.
    """
    known = (*all_formats().values(), OwnPrompts(), OwnAnswers())
    matches = [match for one in known if (match := _match(one, rows)) is not None]
    matches = [match for match in matches if not match.format.general] or matches
    if kinds is not None:
        held = [match for match in matches if set(match.format.kinds) & set(kinds)]
        matches = held or [match for match in matches if not match.format.general]
    matches = [match for match in matches if match.format.is_certain(rows)] or matches
    own = next((match for match in matches if match.format.name == GNOMON), None)
    if own is not None and (matches == [own] or (kinds is not None and {*kinds} <= {*own.format.kinds})):
        return None
    if len(matches) > 1:
        listed = ", or as ".join(
            f"{m.format.title} (--format {m.format.name}), because {m.evidence}" for m in matches
        )
        raise DataError(f"{path} can be read as {listed}; choose one of the formats.")
    return matches[0] if matches else None


def _match(one: Format, rows: Sequence[Mapping[str, Any]]) -> Recognized | None:
    reasons = [reason for row in rows if (reason := one.evidence(row)) is not None]
    return Recognized(one, reasons[0]) if reasons and 2 * len(reasons) >= len(rows) else None
