"""Instructions as Stanford Alpaca, Self-Instruct, Dolly and MT-Bench have them.

{"instruction": "…", "input": "…", "output": "…"}; Taori et al. 2023, https://github.com/tatsu-lab/stanford_alpaca
{"instruction": "…", "instances": [{"input": "…", "output": "…"}]}; Wang et al. 2022, arXiv 2212.10560
{"instruction": "…", "context": "…", "response": "…"}; Dolly 15k
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from gnomon.core.errors import DataError
from gnomon.core.types import Demonstration, Prompt
from gnomon.data.formats.contract import Format, carried, has_value, only_column, source_column
from gnomon.data.reading.readers import Row
from gnomon.data.reading.row_fields import filled, listed, mapping, required, text

INPUTS = ("input", "context")
OUTPUTS = ("output", "response")
NO_INPUT = "<noinput>"  # of instructions that a model wrote
OTHER_LAYOUTS = ("chosen", "rejected", "history", "kto_tag", "completion", "completions", "prompt", "messages")


class Alpaca(Format):
    """Instructions, each with an optional input and with an output, or with several instances of both."""

    name = "alpaca"
    title = "Alpaca instructions"
    kinds = (Demonstration, Prompt)

    def evidence(self, row: Mapping[str, Any]) -> str | None:
        """An instruction with an output or with instances."""
        if not has_value(row, "instruction") or any(row.get(key) not in (None, "") for key in OTHER_LAYOUTS):
            return None
        if isinstance(row.get("instances"), list):
            return "instruction comes with instances of input and output"
        output = only_column(row, OUTPUTS)
        return f"instruction comes with {output}" if output else None

    def kind_of(self, rows: Sequence[Mapping[str, Any]]) -> type:
        """Demonstrations, but prompts where the outputs of most rows are empty."""
        blank = sum(not any(filled(row.get(key)) for key in (*OUTPUTS, "instances")) for row in rows)
        return Prompt if 2 * blank > len(rows) else Demonstration

    def convert(self, kind: type, row: Mapping[str, Any]) -> Iterable[Row]:
        """Put the instruction before the input, with a line break between them."""
        if row.get("instances") is None:
            if not any(filled(row.get(key)) for key in INPUTS):
                required(row, "instruction")
            rest = carried(row, kind, {"instruction", *INPUTS, *OUTPUTS})
            yield {**rest, **_converted(kind, row.get("instruction"), row)}
            return
        instances = listed(row["instances"], "instances")
        if not instances:
            raise DataError("instances is empty")
        rest = carried(row, kind, {"instruction", "instances", "id"})
        for instance in instances:
            yield {**rest, **_converted(kind, row.get("instruction"), mapping(instance))}


def instruction_with_input(instruction: Any, row: Mapping[str, Any]) -> str:
    """Return the text of a prompt: the instruction and, if there is one, the input on the next line.

    Raises:
        DataError: one of them is no text.
    """
    key = next((key for key in INPUTS if filled(row.get(key))), None)
    parts = [text("" if instruction is None else instruction, "instruction")]
    if key is not None and str(row[key]).strip().lower() != NO_INPUT:
        parts.append(text(row[key], key))
    return "\n".join(part for part in parts if part)


def _converted(kind: type, instruction: Any, row: Mapping[str, Any]) -> Row:
    own: Row = {"prompt": instruction_with_input(instruction, row)}
    if kind is Demonstration:
        own["completion"] = required(row, source_column(row, OUTPUTS))
    return own
