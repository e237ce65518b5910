"""Lines of the files that a cleaning writes, without their ends."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from gnomon.core.storage.files import to_json
from gnomon.data.quality.shard import Rejection


def json_line(row: Mapping[str, Any]) -> bytes:
    """Return a row as JSON."""
    return json.dumps(to_json(row), ensure_ascii=False).encode("utf-8", "replace")


def rejected_line(where: str, rejection: Rejection, line: bytes) -> bytes:
    """Return a line of `rejected.jsonl`.

    Args:
        where: position of the row.
        rejection: why it is not used.
        line: the row as JSON.
    """
    start = json_line({"where": where, "filter": rejection.filter, "reason": rejection.reason})
    return start[:-1] + b', "row": ' + line + b"}"


def weighted_line(line: bytes, factor: float) -> bytes:
    """Return a cleaned row with its weight multiplied."""
    row = json.loads(line)
    return json_line({**row, "weight": row.get("weight", 1.0) * factor})
