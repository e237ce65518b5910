"""From judgements in the store to data that a model learns from, with a manifest of the voices in it.

Gold items test annotators and are never exported. Every judgement that stands is a row of the kind `judgements`,
which names its item, and says whether it is surplus; other rows are made of those that are not, and name their
items. So each can be traced to voices.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import time
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from sqlalchemy.orm import Session

from gnomon.core.errors import ConfigError, DataError
from gnomon.core.storage.files import to_json
from gnomon.core.types import Preference
from gnomon.feedback.export.aggregation import (
    By,
    Scheme,
    Scored,
    both_bad,
    check_scheme,
    compared,
    compared_apart,
    compared_by_strength,
    learn_scheme,
    ranked,
    scored,
    weightless,
)
from gnomon.feedback.export.row_schema import (
    Kind,
    Row,
    demonstration_row,
    judgement_row,
    preference_row,
    ranking_row,
)
from gnomon.feedback.store.schema import AnnotatorRow, ExportRow
from gnomon.feedback.store.store import Project, Store, existing
from gnomon.feedback.task_types import setup_of
from gnomon.feedback.tasks.judgements import (
    Asked,
    asked_items,
    count_judgements,
    gold_label,
    nameless,
    snapshot,
    votes_of,
)
from gnomon.stats.minority_opinions import minority_views
from gnomon.stats.votes import Vote

MADE: dict[str, tuple[Kind, ...]] = {  # of each task, besides judgements
    "pair": ("preferences", "demonstrations"),
    "ranking": ("rankings", "preferences", "demonstrations"),
    "rating": ("preferences", "demonstrations"),
    "likert": ("preferences", "demonstrations"),
}
LEAST_VOICES = 5  # of an item in which two can be a minority: three say otherwise
Made = tuple[Kind, Row]


@dataclass(frozen=True)
class Wanted:
    """What is exported.

    Attributes:
        by: how voices are combined; see `gnomon.feedback.export.aggregation`.
        kinds: of rows, besides judgements; all that the task gives where none is named.
        criterion: the one that scores are taken of; `None`: their mean over all criteria.
        without: annotators whose judgements are left out.
    """

    by: str = "majority"
    kinds: tuple[str, ...] = ()
    criterion: str | None = None
    without: tuple[str, ...] = ()


@dataclass
class Tally:
    """What was made of a project, counted while it is made.

    Attributes:
        rows: how many there are of each kind.
        judgements: how many of those that stand count.
        annotators: whose these are.
        left_out: what became no row, by the reason.
        even: preferences whose voices are split evenly, and items of which two completions have the same
            worth, which give two rankings.
        minority: views that the majority does not share; see `gnomon.stats.minority_opinions`.
        decisions: by item, the id of what a reviewer decided of it.
        hash: of all rows.
    """

    project: Project
    wanted: Wanted
    kinds: tuple[Kind, ...]
    rows: dict[str, int]
    judgements: int = 0
    annotators: set[str] = field(default_factory=set)
    left_out: dict[str, int] = field(default_factory=dict)
    even: int = 0
    minority: list[dict[str, Any]] = field(default_factory=list)
    decisions: dict[str, str] = field(default_factory=dict)
    hash: Any = field(default_factory=hashlib.sha256)

    @property
    def manifest(self) -> dict[str, Any]:
        """What the rows were made of. The digest is SHA-256 of all rows: of the same store it is the same."""
        return {
            "project": self.project.id,
            "title": self.project.title,
            "task": self.project.task,
            "by": self.wanted.by,
            "criterion": self.wanted.criterion,
            "rows": self.rows,
            "judgements": self.judgements,
            "annotators": sorted(self.annotators),
            "without": sorted(self.wanted.without),
            "left_out": self.left_out,
            "even": self.even,
            "minority_views": self.minority,
            "decisions": self.decisions,
            "digest": self.hash.hexdigest(),
        }

    def leave_out(self, why: str, count: int = 1) -> None:
        """Count what becomes no row."""
        self.left_out[why] = self.left_out.get(why, 0) + count

    def add(self, kind: Kind, row: Row) -> Made:
        """Count a row."""
        said = json.dumps([kind, row], ensure_ascii=False, sort_keys=True, separators=(",", ":"))
        self.hash.update(said.encode() + b"\n")
        self.rows[kind] += 1
        return kind, row


def begin(project: Project, wanted: Wanted) -> Tally:
    """An empty tally of a project.

    Raises:
        ConfigError: the project's task gives no such rows, or cannot be combined so.
    """
    check_scheme(wanted.by, project.task, setup_of(project.settings), wanted.criterion)
    possible = MADE[project.task]
    for kind in wanted.kinds:
        if kind not in possible:
            raise ConfigError(f"a {project.task} project gives no {kind}; choose among {', '.join(possible)}.")
    kinds = tuple(kind for kind in possible if kind in (wanted.kinds or possible))
    return Tally(project, wanted, kinds, dict.fromkeys((*kinds, "judgements"), 0))


def made_rows(store: Store, tally: Tally) -> Iterator[Made]:
    """Every row with its kind as it is made, all of one snapshot of the store.

    Raises:
        DataError: an annotator to be left out is not known, or nobody can be relied on by whose reliability
            voices are to be combined.
    """
    project, wanted = tally.project.id, tally.wanted
    with snapshot(store) as session:
        for name in wanted.without:
            existing(session.get(AnnotatorRow, name), "annotator", name)
        for why, whom in (("withdrawn_judgements", None), ("judgements_without", wanted.without)):
            tally.leave_out(why, count_judgements(session, project, whom))
        scheme = _learn(session, tally)
        items = _to_export(asked_items(session, project, without=wanted.without), tally)
        for _, group in itertools.groupby(items, key=lambda asked: asked.prompt.id):
            apart: list[Scored] = []
            together: list[Asked] = []
            for asked in group:
                yield from _item_rows(asked, scheme, tally)
                if wanted.by == "bradley_terry" and not both_bad(asked, scheme):
                    together.append(asked)
                elif len(asked.completions) == 1 and (one := scored(asked, scheme)) is not None:
                    apart.append(one)
            if "preferences" in tally.kinds:
                for preference, keys in compared_apart(asked.prompt, apart, scheme):
                    yield _preference(preference, keys, tally)
                for preference, of in compared_by_strength(together, scheme) if together else ():
                    yield _preference(preference, of, tally)


def record_export(store: Store, manifest: dict[str, Any]) -> None:
    """Note in the store what was exported, so that a model's data can be traced to voices."""
    with store.writing() as session:
        session.add(
            ExportRow(
                project=manifest["project"], digest=manifest["digest"], manifest=manifest, created=time.time()
            )
        )


def _learn(session: Session, tally: Tally) -> Scheme:
    """The first look at all votes: who can be relied on, what is likely true, and who sees it otherwise."""
    by: By = tally.wanted.by  # type: ignore[assignment]  # checked by `begin`
    if by in ("reliability", "dawid_skene") and nameless(session, tally.project.id):
        raise ConfigError(
            f"{by} needs to know who said what, and ratings of '{tally.project.id}' came without names; "
            "choose --by majority."
        )
    task, setup = tally.project.task, setup_of(tally.project.settings)
    views = task in ("pair", "ranking")  # where scores differ nobody need see it otherwise
    if by == "majority" and not views:
        return Scheme(by, tally.wanted.criterion)
    votes: list[Vote] = []
    tests: list[Vote] = []
    gold: dict[Hashable, Hashable] = {}
    most = 0
    for asked in asked_items(session, tally.project.id, without=tally.wanted.without):
        right = gold_label(asked)
        if right is None:
            votes += votes_of(asked)
            most = max(most, len(asked.voices))
        elif by == "reliability":
            tests += votes_of(asked)
            gold[asked.item] = right
    if views and most >= LEAST_VOICES:
        tally.minority = [to_json(asdict(view)) for view in minority_views(votes)]
    scheme = learn_scheme(by, tally.wanted.criterion, votes + tests, gold, setup)
    if scheme.weights and not any(scheme.weights.values()):
        raise DataError(
            f"nobody who judged project '{tally.project.id}' has a reliability above 0, so no voice would count; "
            "choose --by majority."
        )
    return scheme


def _to_export(items: Iterable[Asked], tally: Tally) -> Iterator[Asked]:
    """The items that somebody judged and that are no tests."""
    for asked in items:
        if asked.gold is not None:
            tally.leave_out("gold_items")
        elif not asked.judgements and asked.decided is None:
            tally.leave_out("unjudged_items")
        else:
            yield asked


def _item_rows(asked: Asked, scheme: Scheme, tally: Tally) -> Iterator[Made]:
    """What one item gives: its judgements, and what is made of them."""
    for said in asked.judgements:
        found = scheme.worth(said)
        yield tally.add("judgements", judgement_row(asked, said, [found[one] for one in said.shown]))
        if said.surplus:
            tally.leave_out("surplus_judgements")
            continue
        tally.annotators.add(said.annotator)
        tally.judgements += 1
        if "demonstrations" in tally.kinds and "rewrite" in said.answer:
            yield tally.add("demonstrations", demonstration_row(asked, said))
    if asked.decided is not None:
        tally.decisions[str(asked.item)] = asked.decided.id
    elif not asked.voices:
        tally.leave_out("unjudged_items")
        return
    if weightless(asked, scheme):
        tally.leave_out("weightless_items")
        return
    if len(asked.completions) == 1:
        return
    if both_bad(asked, scheme):
        tally.leave_out("both_bad_items")
        return
    tally.leave_out("both_bad_judgements", sum(said.answer.get("choice") == "bad" for said in asked.voices))
    if "rankings" in tally.kinds:
        rankings = ranked(asked, scheme)
        tally.even += len(rankings) > 1
        for ranking in rankings:
            yield tally.add("rankings", ranking_row(ranking, asked.item))
    if "preferences" in tally.kinds and tally.wanted.by != "bradley_terry":
        for preference in compared(asked, scheme):
            yield _preference(preference, (asked.item,), tally)


def _preference(made: Preference, items: Sequence[int], tally: Tally) -> Made:
    tally.even += made.probability == 0.5
    return tally.add("preferences", preference_row(made, items))
