"""The four published rating sets through the store: imported ratings, and how far people agree in them."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import insert, select, update

from gnomon.core.types import Completion, Judgement, Message, Prompt, RatedText
from gnomon.data.film_reviews import HIGHEST, LOWEST, RATING_SETS, load_rating_set
from gnomon.data.splits import normalized_text
from gnomon.feedback.export.preferences_from_ratings import judgements_from_ratings, rated_texts_from_judgements
from gnomon.feedback.store.ingest import add_completions, add_items, add_prompts
from gnomon.feedback.store.schema import CompletionRow, ItemRow, JudgementRow
from gnomon.feedback.store.store import BankPrompt, Project, Store
from gnomon.feedback.task_types import check_answer, setup_of
from gnomon.stats.agreement import krippendorff_alpha
from gnomon.stats.human_ceiling import human_ceiling
from gnomon.stats.intervals import Estimate

CRITERION = "sentiment"
SHIFT = 1 - LOWEST  # the store's ratings begin at 1
PAIRS = 20_000
CHUNK = 5000


def rating_sets() -> list[dict[str, Any]]:
    """Of each set, as it comes back from the store: texts, ratings, agreement."""
    return [_described(name) for name in RATING_SETS]


def _described(name: str) -> dict[str, Any]:
    items, rejected = load_rating_set(name)
    assert not rejected, rejected[0]
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder) / "ratings.db")
        write_ratings(store, name, items)
        rated = read_ratings(store, name)
        store.close()
    counts = [len(item.ratings) for item in rated]
    alpha = krippendorff_alpha([item.ratings for item in rated], "interval")
    ceiling = human_ceiling(rated, PAIRS, seed=0)
    row = {
        "set": name,
        "texts": len(rated),
        "equal": len(items) - len(rated),
        "ratings": sum(counts),
        "least": min(counts),
        "most": max(counts),
        "alpha": _interval(alpha),
        "correlation": _interval(ceiling.correlation),
        "order": _interval(ceiling.pair_agreement),
        "ties": ceiling.tie_share,
    }
    print(row, flush=True)
    return row


def _interval(estimate: Estimate) -> list[float | None]:
    return [estimate.value, estimate.low, estimate.high]


def write_ratings(store: Store, project: str, items: Sequence[RatedText]) -> None:
    """A project with an item for each text, done, and a judgement for each of its ratings.

    Who gave a rating is not known: its annotator is its place in the list of its text. Of equal texts the first
    is taken.
    """
    first = {normalized_text(item.text): item for item in reversed(items)}
    unique = [item for item in items if first[normalized_text(item.text)] is item]
    prompt = Prompt(project, (Message("user", f"How positive is this text? ({project})"),))
    most = max(len(item.ratings) for item in unique)
    settings = {"criteria": [CRITERION]}
    store.add_project(Project(project, "How positive is it?", "rating", 1, most, settings=settings))
    add_prompts(store, project, [BankPrompt(prompt)])
    add_completions(store, project, ((prompt.id, Completion(item.id, item.text), {}) for item in unique))
    add_items(store, project, ([item.id] for item in unique))
    annotators = [f"{project}:place-{position:02d}" for position in range(most)]
    for annotator in annotators:
        store.add_annotator(annotator, id=annotator)
    with store.writing() as session:
        keys = {row.id: row.key for row in session.scalars(select(CompletionRow)) if row.project == project}
        item_keys = {
            row.completions[0]: row.key for row in session.scalars(select(ItemRow)) if row.project == project
        }
        answers = {float(value): _answer(value, settings) for value in range(LOWEST, HIGHEST + 1)}
        rows = []
        for judgement in judgements_from_ratings(unique):
            position = int(judgement.id.rpartition(":r")[2])
            rows.append(
                {
                    "id": judgement.id,
                    "item": item_keys[keys[judgement.shown[0]]],
                    "annotator": annotators[position],
                    "shown": list(judgement.shown),
                    "answer": answers[judgement.value[0]],
                    "reason": "",
                    "seconds": {},
                    "surplus": False,
                    "created": time.time(),
                }
            )
        for start in range(0, len(rows), CHUNK):
            session.execute(insert(JudgementRow), rows[start : start + CHUNK])
        session.execute(update(ItemRow).where(ItemRow.project == project).values(state="done"))


def _answer(rating: int, settings: dict[str, Any]) -> dict[str, Any]:
    """As the store takes it."""
    return check_answer("rating", setup_of(settings), 1, {"scores": [{CRITERION: rating + SHIFT}]})


def read_ratings(store: Store, project: str) -> list[RatedText]:
    """The texts with their ratings as the store has them, on the scale of the set."""
    with store.reading() as session:
        completion_rows = session.execute(
            select(CompletionRow.id, CompletionRow.text).where(CompletionRow.project == project)
        )
        texts = {row.id: row.text for row in completion_rows}
        judgement_rows = session.execute(
            select(JudgementRow.id, JudgementRow.annotator, JudgementRow.shown, JudgementRow.answer)
            .join(ItemRow, ItemRow.key == JudgementRow.item)
            .where(ItemRow.project == project)
            .order_by(JudgementRow.sequence)
        )
        return rated_texts_from_judgements(
            (
                Judgement(
                    row.id,
                    row.annotator,
                    project,
                    tuple(row.shown),
                    (row.answer["scores"][0][CRITERION] - SHIFT,),
                )
                for row in judgement_rows
            ),
            texts,
        )
