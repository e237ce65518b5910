"""Export judgements as training data, with a manifest of their provenance.

Gold items are never exported. Every current judgement is a row of the kind `judgements` with its item and whether
it is surplus; the other rows are aggregated from those that are not, and list their items. So each row can be
traced to judgements.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import time
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from sqlalchemy.orm import Session

from gnomon.core.errors import ConfigError, DataError
from gnomon.core.storage.files import to_json
from gnomon.core.types import Demonstration, Preference
from gnomon.data.records import parse_record
from gnomon.feedback.export.aggregation import (
    AggregationMethod,
    Aggregator,
    ScoredCompletion,
    check_aggregation,
    fit_aggregator,
    is_both_bad,
    is_weightless,
    item_preferences,
    item_rankings,
    score_completion,
    score_preferences,
    strength_preferences,
)
from gnomon.feedback.export.resolved_items import paused_annotators, why_invalid
from gnomon.feedback.export.row_filters import RowFilters
from gnomon.feedback.export.row_schema import (
    Row,
    RowKind,
    decided_row,
    judgement_row,
    preference_row,
    ranking_row,
    rewritten_row,
    written_row,
)
from gnomon.feedback.quality.written_quality import CheckedText, checked_texts, counted_texts
from gnomon.feedback.store.schema import AnnotatorRow, ExportRow
from gnomon.feedback.store.store import Project, Store, require
from gnomon.feedback.task_types import DEMONSTRATION, setup_of
from gnomon.feedback.tasks.judgements import (
    JudgedItem,
    count_judgements,
    count_unsure,
    gold_label,
    has_anonymous_judgements,
    item_votes,
    judged_items,
    snapshot,
)
from gnomon.feedback.written_answers import without_unmatched_reviews
from gnomon.stats.minority_opinions import minority_views
from gnomon.stats.votes import Vote

ROW_KINDS: dict[str, tuple[RowKind, ...]] = {  # by task, besides judgements
    "pair": ("preferences", "demonstrations"),
    "ranking": ("rankings", "preferences", "demonstrations"),
    "rating": ("preferences", "demonstrations"),
    "likert": ("preferences", "demonstrations"),
    DEMONSTRATION: ("demonstrations",),
}
MIN_VOTES_FOR_MINORITY = 5  # per item: a minority of two against three
FILTERED = "rows_dropped_by_"  # with the name of a filter: a reason in the manifest
ExportedRow = tuple[RowKind, Row]


@dataclass(frozen=True)
class ExportSpec:
    """Selection and aggregation of an export.

    Attributes:
        aggregation: method; see `gnomon.feedback.export.aggregation`.
        kinds: kinds of rows, besides judgements; empty: all that the task has.
        criterion: criterion of the scores to use; `None`: their mean over all criteria.
        exclude_annotators: ids of annotators whose judgements are left out.
        min_confidence: judgements with a lower confidence are left out; those without one are not.
        min_alpha: Krippendorff's alpha of the project below which the export is refused.
        filters: filters of data quality that drop rows, by name; see `gnomon.data.quality`.
        valid_only: leave out what is no valid preference: items that are not resolved, or resolved as a tie or as
            both bad; preferences with equal votes; judgements of paused annotators.
        exclude_flagged: leave out written texts in which a check found something.
    """

    aggregation: str = "majority"
    kinds: tuple[str, ...] = ()
    criterion: str | None = None
    exclude_annotators: tuple[str, ...] = ()
    min_confidence: float | None = None
    min_alpha: float | None = None
    filters: Mapping[str, Any] = field(default_factory=dict)
    valid_only: bool = False
    exclude_flagged: bool = False


@dataclass
class ExportManifest:
    """Counts and provenance of an export, collected while its rows are created.

    Attributes:
        project: the exported project.
        spec: spec of the export.
        kinds: kinds of rows, besides judgements.
        rows: number of rows by kind.
        judgements: number of judgements that count.
        annotators: who made them.
        left_out: number of things that became no row, by reason.
        even: number of preferences with probability 0.5, and of items with tied completions, which give two
            rankings.
        minority: minority opinions; see `gnomon.stats.minority_opinions`.
        decisions: for each item, the id of the reviewer's decision.
        hash: SHA-256 of all rows.
        row_filters: filters of the spec.
        confidence: calibration of confidence, and whether votes are weighted by it.
        flags: number of exported written texts by flag.
    """

    project: Project
    spec: ExportSpec
    kinds: tuple[RowKind, ...]
    rows: dict[str, int]
    judgements: int = 0
    annotators: set[str] = field(default_factory=set)
    left_out: dict[str, int] = field(default_factory=dict)
    even: int = 0
    minority: list[dict[str, Any]] = field(default_factory=list)
    decisions: dict[str, str] = field(default_factory=dict)
    hash: Any = field(default_factory=hashlib.sha256)
    row_filters: RowFilters = field(default_factory=lambda: RowFilters({}))
    confidence: dict[str, Any] | None = None
    flags: dict[str, int] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The manifest as JSON; its digest is SHA-256 of all rows, the same for the same store."""
        return {
            "project": self.project.id,
            "title": self.project.title,
            "task": self.project.task,
            "by": self.spec.aggregation,
            "criterion": self.spec.criterion,
            "rows": self.rows,
            "judgements": self.judgements,
            "annotators": sorted(self.annotators),
            "without": sorted(self.spec.exclude_annotators),
            **self.selection(),
            **({"confidence": self.confidence} if self.confidence else {}),
            **({"flags": self.flags} if self.project.task == DEMONSTRATION else {}),
            "left_out": self.left_out,
            "even": self.even,
            "minority_views": self.minority,
            "decisions": self.decisions,
            "digest": self.hash.hexdigest(),
        }

    def selection(self) -> dict[str, Any]:
        """The bounds and filters of the spec that are set."""
        spec = self.spec
        bounds = {"min_confidence": spec.min_confidence, "min_alpha": spec.min_alpha}
        set_bounds = {name: value for name, value in bounds.items() if value is not None}
        return {
            **set_bounds,
            **({"filters": to_json(spec.filters)} if spec.filters else {}),
            **({"valid_only": True} if spec.valid_only else {}),
            **({"exclude_flagged": True} if spec.exclude_flagged else {}),
        }

    def leave_out(self, reason: str, count: int = 1) -> None:
        """Count something that becomes no row."""
        self.left_out[reason] = self.left_out.get(reason, 0) + count

    def keeps(self, record: Any) -> bool:
        """Return whether no filter drops a record; count it otherwise."""
        if name := self.row_filters.drops(record):
            self.leave_out(f"{FILTERED}{name}")
        return not name

    def add(self, kind: RowKind, row: Row) -> ExportedRow:
        """Count a row."""
        line = json.dumps([kind, row], ensure_ascii=False, sort_keys=True, separators=(",", ":"))
        self.hash.update(line.encode() + b"\n")
        self.rows[kind] += 1
        return kind, row


def start_export(project: Project, spec: ExportSpec) -> ExportManifest:
    """Create an empty manifest for an export.

    Raises:
        ConfigError: the project's task has no such rows, not this aggregation, or no written texts.
    """
    if spec.exclude_flagged and project.task != DEMONSTRATION:
        raise ConfigError(f"a {project.task} project has no written answers; remove --exclude-flagged.")
    check_aggregation(spec.aggregation, project.task, setup_of(project.settings), spec.criterion)
    possible = ROW_KINDS[project.task]
    for kind in spec.kinds:
        if kind not in possible:
            raise ConfigError(f"a {project.task} project has no {kind}; choose among {', '.join(possible)}.")
    if spec.valid_only and project.task == DEMONSTRATION:
        raise ConfigError("written answers are no preferences; remove --valid-only.")
    kinds = tuple(kind for kind in possible if kind in (spec.kinds or possible))
    rows: dict[str, int] = dict.fromkeys((*kinds, "judgements"), 0)
    return ExportManifest(project, spec, kinds, rows, row_filters=RowFilters(spec.filters))


def export_rows(store: Store, export: ExportManifest) -> Iterator[ExportedRow]:
    """Yield every row with its kind, all from one snapshot of the store.

    Raises:
        DataError: an excluded annotator does not exist, or all reliabilities are 0.
    """
    project, spec = export.project.id, export.spec
    with snapshot(store) as session:
        for name in spec.exclude_annotators:
            require(session.get(AnnotatorRow, name), "annotator", name)
        for reason, annotators in (
            ("withdrawn_judgements", None),
            ("judgements_without", spec.exclude_annotators),
        ):
            export.leave_out(reason, count_judgements(session, project, annotators))
        paused = paused_annotators(session, spec.exclude_annotators) if spec.valid_only else ()
        if spec.valid_only:
            export.leave_out("paused_judgements", count_judgements(session, project, paused))
        excluded = (*spec.exclude_annotators, *paused)
        if spec.min_confidence is not None:
            count = count_unsure(session, project, spec.min_confidence, excluded)
            export.leave_out("judgements_below_confidence", count)
        judged = judged_items(session, project, exclude=excluded, min_confidence=spec.min_confidence)
        items = _to_export(judged, export)
        if export.project.task == DEMONSTRATION:
            checked = checked_texts(session, project)
            for item in items:
                yield from _written_rows(item, checked, export)
            return
        aggregator = _fit(session, export, excluded)
        for _, group in itertools.groupby(items, key=lambda item: item.prompt.id):
            single: list[ScoredCompletion] = []
            compared: list[JudgedItem] = []
            for item in group:
                invalid = why_invalid(item, export.project) if spec.valid_only else ""
                yield from _item_rows(item, aggregator, export, invalid)
                if invalid:
                    continue
                if spec.aggregation == "bradley_terry" and not is_both_bad(item, aggregator):
                    compared.append(item)
                elif len(item.completions) == 1 and (one := score_completion(item, aggregator)) is not None:
                    single.append(one)
            if "preferences" in export.kinds:
                for preference, both in score_preferences(item.prompt, single, aggregator):
                    yield from _preference(preference, both, export)
                for preference, keys in strength_preferences(compared, aggregator) if compared else ():
                    yield from _preference(preference, keys, export)


def record_export(store: Store, manifest: dict[str, Any]) -> None:
    """Record an export in the store, so that training data can be traced to judgements."""
    with store.writing() as session:
        session.add(
            ExportRow(
                project=manifest["project"], digest=manifest["digest"], manifest=manifest, created=time.time()
            )
        )


def _fit(session: Session, export: ExportManifest, excluded: Sequence[str]) -> Aggregator:
    """First pass over the votes, without excluded annotators: fit the aggregator, find minority opinions."""
    method: AggregationMethod = export.spec.aggregation  # type: ignore[assignment]  # checked by `start_export`
    if method in ("reliability", "dawid_skene") and has_anonymous_judgements(session, export.project.id):
        raise ConfigError(
            f"{method} needs the identity of annotators, but ratings of '{export.project.id}' are anonymous; "
            "choose --aggregation majority."
        )
    task, setup = export.project.task, setup_of(export.project.settings)
    find_minorities = task in ("pair", "ranking")  # different scores are not different opinions
    if method == "majority" and not find_minorities:
        return Aggregator(method, export.spec.criterion)
    votes: list[Vote] = []
    tests: list[Vote] = []
    gold: dict[Hashable, Hashable] = {}
    most = 0
    least = export.spec.min_confidence
    for item in judged_items(session, export.project.id, exclude=excluded, min_confidence=least):
        right = gold_label(item)
        if right is None:
            votes += item_votes(item)
            most = max(most, len(item.counted_judgements))
        elif method == "reliability":
            tests += item_votes(item)
            gold[item.key] = right
    if find_minorities and most >= MIN_VOTES_FOR_MINORITY:
        export.minority = [to_json(asdict(view)) for view in minority_views(votes)]
    aggregator = fit_aggregator(method, export.spec.criterion, votes + tests, gold, setup)
    if (calibration := aggregator.confidence) is not None:
        export.confidence = {"used": calibration.is_calibrated, **to_json(asdict(calibration))}
    if aggregator.weights and not any(aggregator.weights.values()):
        raise DataError(
            f"no annotator of project '{export.project.id}' has a reliability above 0, so no vote would count; "
            "choose --aggregation majority."
        )
    return aggregator


def _to_export(items: Iterable[JudgedItem], export: ExportManifest) -> Iterator[JudgedItem]:
    """Yield the judged items that are not gold."""
    for item in items:
        if item.gold is not None:
            export.leave_out("gold_items")
        elif not item.judgements and item.decision is None:
            export.leave_out("unjudged_items")
        else:
            yield item


def _item_rows(
    item: JudgedItem, aggregator: Aggregator, export: ExportManifest, invalid: str
) -> Iterator[ExportedRow]:
    """Yield the rows of one item: its judgements, and, unless it is invalid, the rows aggregated from them."""
    for judgement in item.judgements:
        values = aggregator.worth(judgement)
        yield export.add("judgements", judgement_row(item, judgement, [values[one] for one in judgement.shown]))
        if judgement.surplus:
            export.leave_out("surplus_judgements")
            continue
        export.annotators.add(judgement.annotator)
        export.judgements += 1
        if "demonstrations" in export.kinds and "rewrite" in judgement.answer:
            yield from _demonstration(rewritten_row(item, judgement), export)
    if item.decision is not None:
        export.decisions[str(item.key)] = item.decision.id
    elif not item.counted_judgements:
        export.leave_out("unjudged_items")
        return
    if invalid:
        export.leave_out(invalid)
        return
    if is_weightless(item, aggregator):
        export.leave_out("weightless_items")
        return
    if len(item.completions) == 1:
        return
    if is_both_bad(item, aggregator):
        export.leave_out("both_bad_items")
        return
    export.leave_out(
        "both_bad_judgements",
        sum(judgement.answer.get("choice") == "bad" for judgement in item.counted_judgements),
    )
    if "rankings" in export.kinds:
        rankings = item_rankings(item, aggregator)
        rankings = tuple(filter(export.keeps, rankings))
        export.even += len(rankings) > 1
        for ranking in rankings:
            yield export.add("rankings", ranking_row(ranking, item.key))
    if "preferences" in export.kinds and export.spec.aggregation != "bradley_terry":
        for preference in item_preferences(item, aggregator):
            yield from _preference(preference, (item.key,), export)


def _written_rows(
    item: JudgedItem, checked: Mapping[str, CheckedText], export: ExportManifest
) -> Iterator[ExportedRow]:
    """Yield the rows of an item whose answer is written: its judgements, and each accepted text, or a decision's.

    Args:
        item: the item.
        checked: the project's texts with their flags, by the id of the judgement.
        export: counts what becomes no row.
    """
    texts = counted_texts(item)
    matched = {one.id for one in without_unmatched_reviews(item.counted_judgements)}
    for judgement in item.judgements:
        yield export.add("judgements", judgement_row(item, judgement, ()))
        if judgement.surplus:
            export.leave_out("surplus_judgements")
        elif judgement.id not in matched:
            export.leave_out("unmatched_reviews")
        else:
            export.annotators.add(judgement.annotator)
            export.judgements += 1
    if item.decision is not None:
        export.decisions[str(item.key)] = item.decision.id
        export.leave_out("replaced_texts", len(texts))
        if "text" in item.decision.answer:
            yield from _demonstration(decided_row(item, item.decision), export)
        else:
            export.leave_out("rejected_items")
        return
    if not texts:
        export.leave_out("unjudged_items")
        return
    approval = setup_of(export.project.settings).approval
    for text in texts:
        outcome, flags = text.outcome(approval), checked[text.written.id].flags
        if outcome != "accepted":
            export.leave_out(f"{outcome}_texts")
        elif export.spec.exclude_flagged and flags:
            export.leave_out("flagged_texts")
        else:
            for row in _demonstration(written_row(item, text, flags), export):
                for flag in flags:
                    export.flags[flag] = export.flags.get(flag, 0) + 1
                yield row


def _demonstration(row: Row, export: ExportManifest) -> Iterator[ExportedRow]:
    """Yield the row of a demonstration, unless a filter drops it."""
    if not export.row_filters.singles or export.keeps(parse_record(Demonstration, row)):
        yield export.add("demonstrations", row)


def _preference(preference: Preference, items: Sequence[int], export: ExportManifest) -> Iterator[ExportedRow]:
    """Yield the row of a preference, unless it is not valid or a filter drops it."""
    if export.spec.valid_only and preference.probability == 0.5:
        export.leave_out("even_preferences")
    elif export.keeps(preference):
        export.even += preference.probability == 0.5
        yield export.add("preferences", preference_row(preference, items))
