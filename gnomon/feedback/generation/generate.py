"""Answers to a bank's prompts by several authors: different from each other, and each made once.

An answer has a place: its author, prompt, number and settings. A place that has an answer in the store is passed
over, so that a stopped run goes on where it was. An answer that says nearly what the prompt has already
is left out, and its place is tried again with more chance and another wording, a few times.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from sqlalchemy import select

from gnomon.core.errors import ModelError
from gnomon.core.storage.digests import digest
from gnomon.core.types import Completion, Prompt
from gnomon.feedback.generation.generators import Author, Cache, Draft, Order, Refusal, settings_of
from gnomon.feedback.generation.requests import TRIES, Drawing, order_for, too_alike, wording_for
from gnomon.feedback.store.ingest import add_completions
from gnomon.feedback.store.schema import CompletionRow, PromptRow
from gnomon.feedback.store.store import Store

TOGETHER = 16  # answers written into the store at once
PATIENCE = 5  # refusals in a row after which the author, not the prompt, is at fault


class Watching(Protocol):
    """Somebody who is told how far it is."""

    def at(self, done: int, note: str = "") -> None:
        """So many places are done."""


@dataclass
class Made:
    """What became of the places.

    Attributes:
        added: answers that are in the store.
        known: places that had an answer there.
        forced: of those added, the ones that took a hotter or otherwise worded try.
        alike: places left empty, since every try said nearly what was there.
        refused: prompts' ids, with the reason why there is no answer.
        whole: whether every place was looked at; not so after a stop.
    """

    added: int = 0
    known: int = 0
    forced: int = 0
    alike: int = 0
    refused: list[tuple[str, str]] = field(default_factory=list)
    whole: bool = True


@dataclass(frozen=True)
class _Place:
    prompt: Prompt
    number: int
    tried: int = 0


def generate(
    store: Store,
    project: str,
    prompts: Sequence[Prompt],
    author: Author,
    drawing: Drawing,
    cache: Cache,
    *,
    stop: object = False,
    watch: Watching | None = None,
    made: Made | None = None,
) -> Made:
    """Have an author answer prompts of the bank; each answer is in the store soon after it is made.

    Args:
        store: with the prompts.
        project: its id.
        prompts: of the bank.
        author: who answers.
        drawing: how.
        cache: of answers made before.
        stop: becomes true when the answers on their way are to be the last.
        watch: is told how many places are done.
        made: goes on counting there, where several authors answer.

    Raises:
        DataError: a prompt is not in the bank.
        ModelError: the author refuses one prompt after the other.
        GnomonError: the author cannot answer at all.
    """
    made = Made() if made is None else made
    there = _there(store, project)
    texts = {name: [text for text, _ in rows] for name, rows in there.items()}
    had = {mark for rows in there.values() for _, mark in rows}
    everything = [_Place(prompt, number) for number in range(drawing.count) for prompt in prompts]
    places = [one for one in everything if _mark(author, one, drawing) not in had]
    made.known += len(everything) - len(places)
    while places and not stop:
        places = _one_try(store, project, places, author, drawing, cache, texts, stop, watch, made)
    made.whole &= not places
    return made


def _one_try(
    store: Store,
    project: str,
    places: Sequence[_Place],
    author: Author,
    drawing: Drawing,
    cache: Cache,
    texts: dict[str, list[str]],
    stop: object,
    watch: Watching | None,
    made: Made,
) -> list[_Place]:
    """Ask for each place once; returns those that are to be tried again, and after a stop those not looked at."""
    again: list[_Place] = []
    looked, in_a_row = 0, 0
    orders = [order_for(one.prompt, one.number, one.tried, drawing) for one in places]
    found: list[tuple[str, Completion, dict[str, Any]]] = []
    try:
        with closing(_drafts(author, orders, cache)) as drafts:
            for place, order, draft in zip(places, orders, drafts, strict=False):
                looked += 1
                beside = texts.setdefault(place.prompt.id, [])
                if isinstance(draft, Refusal):
                    made.refused.append((place.prompt.id, draft.reason))
                    in_a_row += 1
                    if in_a_row == PATIENCE:
                        raise ModelError(
                            f"{author.name} refused {PATIENCE} prompts one after the other; {draft.reason}"
                        )
                    continue
                in_a_row = 0
                if too_alike(draft.text, beside, drawing.alike):
                    made.alike += place.tried + 1 == TRIES
                    again += [replace(place, tried=place.tried + 1)] * (place.tried + 1 < TRIES)
                else:
                    beside.append(draft.text)
                    found.append(_row(author, place, order, draft, drawing))
                    made.forced += place.tried > 0
                if len(found) == TOGETHER:
                    _write(store, project, found, made)
                if watch:
                    watch.at(made.known + made.added + len(found) + made.alike + len(made.refused), _note(made))
                if stop:
                    break
    finally:
        _write(store, project, found, made)
    return [*again, *places[looked:]]


def _drafts(author: Author, orders: Sequence[Order], cache: Cache) -> Generator[Draft | Refusal, None, None]:
    """An answer to each order: those that were made before, and the others by the author."""
    found = [cache.find(author, order) for order in orders]
    missing = [order for order, draft in zip(orders, found, strict=True) if draft is None]
    fresh = author.write(missing, lambda order, draft: cache.keep(author, order, draft))
    try:
        for draft in found:
            yield next(fresh) if draft is None else draft
    finally:
        if close := getattr(fresh, "close", None):
            close()


def _row(
    author: Author, place: _Place, order: Order, draft: Draft, drawing: Drawing
) -> tuple[str, Completion, dict[str, Any]]:
    mark = _mark(author, place, drawing)
    made = {
        "model": author.name,
        **author.identity,
        **draft.facts,
        "settings": settings_of(order),
        "seed": order.seed,
        "number": place.number,
        "tries": place.tried + 1,
        "finished": draft.finished,
        "place": mark,
    }
    if wording := wording_for(place.prompt, place.number, place.tried, drawing):
        made["wording"] = wording
    return place.prompt.id, Completion(f"made-{mark[:20]}", draft.text, author.name), made


def _mark(author: Author, place: _Place, drawing: Drawing) -> str:
    """The name of a place: the same in every run that asks for the same."""
    plain = order_for(place.prompt, place.number, 0, drawing)
    return digest([author.identity, place.prompt.id, *settings_of(plain).values(), place.number, drawing.seed])


def _there(store: Store, project: str) -> dict[str, list[tuple[str, str]]]:
    """By prompt: the texts that it has, with the place that each was made for, if it was."""
    wanted = (
        select(PromptRow.id, CompletionRow.text, CompletionRow.made)
        .join(CompletionRow, CompletionRow.prompt == PromptRow.key)
        .where(PromptRow.project == project)
        .order_by(CompletionRow.key)
    )
    found = defaultdict(list)
    with store.reading() as session:
        for prompt, text, made in session.execute(wanted):
            found[prompt].append((text, str(made.get("place", ""))))
    return dict(found)


def _write(store: Store, project: str, found: list[tuple[str, Completion, dict[str, Any]]], made: Made) -> None:
    if found:
        made.added += add_completions(store, project, found).added
        found.clear()


def _note(made: Made) -> str:
    parts = {"forced apart": made.forced, "too alike": made.alike, "refused": len(made.refused)}
    return ", ".join(f"{count} {what}" for what, count in parts.items() if count)
