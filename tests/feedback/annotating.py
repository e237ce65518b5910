"""A small project in a store, and annotators who choose completions by name."""

from __future__ import annotations

from typing import Any

from alembic import command
from alembic.config import Config
from tiny import prompts_of

from gnomon.core.types import Completion
from gnomon.feedback.store.database import MIGRATIONS
from gnomon.feedback.store.ingest import add_completions, add_items, add_prompts
from gnomon.feedback.store.store import BankPrompt, Project, Store
from gnomon.feedback.tasks.queue import AnnotationTask, NewJudgement, Queue

NAMES = ("ann", "bob", "cyd", "dan", "eve")


def project(
    store: Store,
    items: int,
    *,
    gold: int = 0,
    votes_per_item: int = 2,
    max_votes: int = 4,
    task: str = "pair",
    sides: str = "ab",
    names: tuple[str, ...] = NAMES,
    **settings: Any,
) -> Queue:
    """Create items 0, 1, … and then gold items, of completions `a0`, `b0`, …; in gold items `a` is best."""
    store.add_project(Project("films", "Which is better?", task, votes_per_item, max_votes, settings=settings))
    count = items + gold
    add_prompts(store, "films", [BankPrompt(p, "old" if n % 2 else "new") for n, p in enumerate(_prompts(count))])
    add_completions(
        store,
        "films",
        [(f"p{n}", Completion(f"{side}{n}", f"{side} of {n}"), {}) for n in range(count) for side in sides],
    )
    add_items(store, "films", [[f"{side}{n}" for side in sides] for n in range(items)])
    best: dict[str, Any] = {"choice": "first"} if task == "pair" else {"order": list(range(len(sides)))}
    add_items(store, "films", [[f"{side}{n}" for side in sides] for n in range(items, count)], gold=best)
    for name in names:
        store.add_annotator(name, id=name)
    return Queue(store, "films")


def _prompts(count: int) -> Any:
    return prompts_of(*(f"film {n}?" for n in range(count)))


def submit_choice(queue: Queue, task: AnnotationTask, who: str, better: str, **more: Any) -> NewJudgement:
    """Submit a judgement of a pair: `a`, `b`, `tie` or `bad`."""
    choice = better
    if better in "ab":
        choice = ("first", "second")[[c.id[0] for c in task.completions].index(better)]
    judgement = NewJudgement(f"{who}-{task.item}", task.item, who, {"choice": choice}, **more)
    queue.submit(judgement)
    return judgement


def take(queue: Queue, who: str) -> AnnotationTask:
    task = queue.take(who)
    assert task is not None
    return task


def judge_all(queue: Queue, who: str, by_item: Any) -> list[int]:
    """Judge all available items with the choice `by_item(item number)`; return the items in order."""
    items = []
    while (task := queue.take(who)) is not None:
        items.append(task.item)
        submit_choice(queue, task, who, by_item(int(task.completions[0].id[1:])))
    return items


def state_of(store: Store, item: int) -> tuple[str, int]:
    from gnomon.feedback.store.schema import ItemRow

    with store.reading() as session:
        row = session.get(ItemRow, item)
        assert row is not None
        return row.state, row.target_votes


def downgrade(store: Store, revision: str) -> None:
    """Bring the tables of a store back to an earlier revision."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    with store.engine.begin() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, revision)
