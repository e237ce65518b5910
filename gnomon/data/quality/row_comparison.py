"""The filters that compare the records of a file, each after the other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnomon.data.quality.contract import Candidates, Decision, Digests, FileFilter, Tools
from gnomon.data.quality.findings import Findings
from gnomon.data.quality.shard import UNREADABLE, Rejection
from gnomon.data.quality.work.checked_rows import CheckedRows
from gnomon.data.records import parse_record, prompt_of_record


@dataclass
class RowComparison:
    """The result of comparing the records of a file.

    Attributes:
        remaining: whether a row is clean, `[N]`.
        dropped: index of a row that passed the checks of single rows → why it is rejected.
        weights: index of a row → factor of its weight.
        bias: how far the labels follow something else than quality, in [0, 1].
    """

    remaining: NDArray[np.bool_]
    dropped: dict[int, Rejection] = field(default_factory=dict)
    weights: dict[int, float] = field(default_factory=dict)
    bias: float = 0.0

    @property
    def unreadable(self) -> int:
        """Number of dropped rows that hold no record."""
        return sum(one.filter == UNREADABLE for one in self.dropped.values())

    def drop(self, index: int, rejection: Rejection) -> None:
        """Reject a row."""
        self.dropped[index] = rejection
        self.remaining[index] = False


class _FileRecords(Candidates):
    """The records of checked rows, with the features of one filter."""

    def __init__(
        self, kind: type, rows: CheckedRows, features: Digests, remaining: NDArray[np.bool_], tools: Tools
    ):
        self.kind, self.features, self.remaining, self.tools = kind, features, remaining, tools
        self.rows = rows

    def where(self, index: int) -> str:
        return self.rows.positions[index]

    def row(self, index: int) -> Mapping[str, Any]:
        row: Mapping[str, Any] = self.rows.row(index)
        return row

    def record(self, index: int) -> Any:
        return parse_record(self.kind, self.row(index))


def compare_rows(
    kind: type, filters: Sequence[FileFilter], rows: CheckedRows, findings: Findings, tools: Tools
) -> RowComparison:
    """Apply the filters that compare records.

    Args:
        kind: of the records.
        filters: in their order.
        rows: the checked rows; their features are those of the filters in the same order.
        findings: collects what the filters find.
        tools: models that filters use.
    """
    result, features = RowComparison(rows.remaining), rows.features
    for index, reason in list(_ambiguous_ids(kind, rows, result.remaining)):
        result.drop(index, Rejection(UNREADABLE, reason))
    start = 2
    for one in filters:
        own = features[:, start : start + one.width]
        start += one.width
        decision: Decision = one.decide(_FileRecords(kind, rows, own, result.remaining.copy(), tools))
        findings.counts[one.name].figures.update(decision.figures)
        for index in sorted(decision.reasons):
            findings.add(index, rows.positions[index], one.name, decision.reasons[index])
            if one.action == "drop":
                result.drop(index, Rejection(one.name, decision.reasons[index]))
        if one.action == "drop":
            result.weights.update(decision.weights)
        result.bias = max(result.bias, decision.bias)
    return result


def _ambiguous_ids(kind: type, rows: CheckedRows, remaining: NDArray[np.bool_]) -> Iterator[tuple[int, str]]:
    """Rows whose prompt id stands for another prompt in an earlier row: groups are formed by it."""
    indices = np.flatnonzero(remaining)
    features = rows.features[indices]
    _, first, inverse = np.unique(features[:, 0], return_index=True, return_inverse=True)
    other = first[inverse]
    for at in np.flatnonzero(features[:, 1] != features[other, 1]):
        index = int(indices[at])
        prompt = prompt_of_record(parse_record(kind, rows.row(index)))
        assert prompt is not None, "rows without prompts have equal features"
        where = rows.positions[int(indices[other[at]])]
        yield index, f"prompt id '{prompt.id}' stands for another prompt at {where}"
