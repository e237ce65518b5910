"""Steps of one answer, each labeled right or wrong, as TRL's stepwise supervision has them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from gnomon.core.errors import DataError
from gnomon.core.types import Label
from gnomon.data.formats.contract import Format, UnusedRow
from gnomon.data.reading.counting import counted
from gnomon.data.reading.readers import Row
from gnomon.data.reading.row_fields import filled, listed, required, text, truth

SEPARATOR = "\n"  # between steps


class StepwiseLabels(Format):
    """Steps under `completions` with a label each; each becomes a label of the answer up to that step."""

    name = "stepwise"
    title = "steps with labels"
    kinds = (Label,)

    def evidence(self, row: Mapping[str, Any]) -> str | None:
        """As many labels as completions."""
        steps, labels = row.get("completions"), row.get("labels")
        if not isinstance(steps, list) or not isinstance(labels, list) or row.get("prompt") is None:
            return None
        fits = steps and len(steps) == len(labels) and all(isinstance(one, str) for one in steps)
        return "completions have labels, one for each step" if fits else None

    def convert(self, kind: type, row: Mapping[str, Any]) -> Iterable[Row]:
        """Return the answer up to each labeled step."""
        steps = [text(one, "completions") for one in listed(required(row, "completions"), "completions")]
        labels = listed(required(row, "labels"), "labels")
        if len(steps) != len(labels):
            raise DataError(f"it has {counted(len(steps), 'completions')} and {counted(len(labels), 'labels')}")
        prompt = {key: row[key] for key in ("prompt", "system") if filled(row.get(key))}
        required(prompt, "prompt")
        rows = [
            {**prompt, "completion": SEPARATOR.join(steps[:count]), "label": truth(label, "labels")}
            for count, label in enumerate(labels, start=1)
            if label is not None
        ]
        if not rows:
            raise UnusedRow("none of its steps has a label")
        return rows
