"""Filters of data quality on the rows of an export, and the least agreement of a project."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gnomon.core.errors import ConfigError, DataError
from gnomon.data.quality.contract import RecordFilter
from gnomon.data.quality.file_filters.agreement import RaterAgreement
from gnomon.data.quality.registry import all_filters, build_filters
from gnomon.feedback.quality.summary import quality_report
from gnomon.feedback.store.store import Store
from gnomon.feedback.task_types import DEMONSTRATION


class RowFilters:
    """The filters that leave rows out of an export.

    Args:
        settings: of filters by name; only those that check each record alone can be used.

    Raises:
        ConfigError: there is no such filter, a setting is wrong, or the filter compares records.
    """

    def __init__(self, settings: Mapping[str, Any]):
        off = {name: "off" for name in all_filters() if name not in settings}
        self.singles: list[RecordFilter | RaterAgreement] = []
        for one in build_filters({**off, **settings}):
            if one.action == "off" or one.idle:
                continue
            if not isinstance(one, RecordFilter | RaterAgreement) or one.needs():
                raise ConfigError(
                    f"filters.{one.name} needs more than single rows; use gnomon data clean on the exported file."
                )
            if one.action != "drop":
                raise ConfigError(
                    f"filters.{one.name}: an export can only drop; use gnomon data clean to {one.action} rows."
                )
            one.prepare()
            self.singles.append(one)

    def drops(self, record: Any) -> str:
        """Return the name of the first filter that drops a record; "" if none does."""
        for one in self.singles:
            if one.applies_to(type(record)) and any(one.check(record, None)):
                return one.name
        return ""


def check_alpha(store: Store, project: str, least: float) -> None:
    """Refuse an export of judgements that agree too little.

    Args:
        store: database with the project.
        project: id of the project.
        least: Krippendorff's alpha of pairs, or the lowest of all criteria, from which on the export goes on.

    Raises:
        ConfigError: annotators of the project write the answers.
        DataError: alpha is lower, or cannot be computed.
    """
    if store.project(project).task == DEMONSTRATION:
        raise ConfigError("written answers have no agreement, so --min-alpha does not apply; remove it.")
    report = quality_report(store, project)
    panels = [report.overall] if report.task == "pair" else list(report.aspects.values())
    values = [panel.alpha.value for panel in panels if panel.alpha.value is not None]
    if not values:
        raise DataError(
            f"project '{project}' has no item with votes of two annotators that differ, so that agreement is not "
            "known; collect more votes, or leave --min-alpha out."
        )
    if min(values) < least:
        raise DataError(
            f"Krippendorff's alpha of project '{project}' is {min(values):.2f}, below {least:g}: annotators "
            "agree little more than by chance; clarify the guidelines and judge again."
        )
