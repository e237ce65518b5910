"""PKU-SafeRLHF: two answers with two verdicts, which is better and which is safer.

The verdicts often differ, so they are two formats, and neither is assumed. Ji et al. 2024, arXiv 2406.15513.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from gnomon.core.errors import DataError
from gnomon.core.types import Label, Preference
from gnomon.data.formats.common.judged_answers import preference
from gnomon.data.formats.contract import Format
from gnomon.data.reading.readers import Row
from gnomon.data.reading.row_fields import brief, required, text, truth

SHARES = {"0": 1.0, "1": 0.0}  # share of the vote for response_0


class SafeRLHFBetter(Format):
    """Preferences for the more helpful answer."""

    name = "safe-rlhf-better"
    title = "SafeRLHF answers, the better one preferred"
    kinds = (Preference,)

    def evidence(self, row: Mapping[str, Any]) -> str | None:
        """Two responses and `better_response_id`."""
        return _evidence(row, "better_response_id")

    def convert(self, kind: type, row: Mapping[str, Any]) -> Iterable[Row]:
        """Prefer the better response."""
        yield _preference(row, "better_response_id")


class SafeRLHFSafer(Format):
    """Preferences for the safer answer; labels of both answers, safe or not."""

    name = "safe-rlhf-safer"
    title = "SafeRLHF answers, the safer one preferred"
    kinds = (Preference, Label)

    def evidence(self, row: Mapping[str, Any]) -> str | None:
        """Two responses and `safer_response_id`."""
        return _evidence(row, "safer_response_id")

    def convert(self, kind: type, row: Mapping[str, Any]) -> Iterable[Row]:
        """Prefer the safer response, or label each one."""
        if kind is Preference:
            return [_preference(row, "safer_response_id")]
        return [
            {
                "prompt": required(row, "prompt"),
                "completion": required(row, f"response_{number}"),
                "label": truth(
                    required(row, f"is_response_{number}_safe"),
                    f"is_response_{number}_safe",
                ),
            }
            for number in (0, 1)
        ]


def _evidence(row: Mapping[str, Any], verdict: str) -> str | None:
    if all(row.get(key) is not None for key in ("response_0", "response_1", verdict)):
        return f"response_0 and response_1 have {verdict}"
    return None


def _preference(row: Mapping[str, Any], verdict: str) -> Row:
    number = required(row, verdict)
    if isinstance(number, bool) or str(number) not in SHARES:
        raise DataError(f"{verdict} is {brief(number)}, neither 0 nor 1")
    sides = [text(required(row, key), key) for key in ("response_0", "response_1")]
    return preference({"prompt": required(row, "prompt")}, sides[0], sides[1], SHARES[str(number)])
