"""Generate completions of prompts with several generators: distinct texts, each generated once.

A slot is a generator, prompt, number and settings. A slot whose completion is in the store is skipped, so that a
stopped run can be resumed. A text that is too similar to an existing completion of its prompt is dropped,
and its slot is tried again a few times with a higher temperature and a rephrased prompt.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from sqlalchemy import select

from gnomon.core.errors import BusyError, DiskFullError, GnomonError, Interrupted, ModelError
from gnomon.core.storage.digests import digest
from gnomon.core.types import Completion, Prompt
from gnomon.feedback.generation.generators import (
    CompletionGenerator,
    GeneratedText,
    GenerationCache,
    GenerationRequest,
    Refusal,
    cached_texts,
    settings_of,
)
from gnomon.feedback.generation.requests import (
    TRIES,
    GenerationSettings,
    rephrasing_for,
    request_for,
    too_similar,
)
from gnomon.feedback.store.ingest import add_completions
from gnomon.feedback.store.schema import CompletionRow, PromptRow
from gnomon.feedback.store.store import Store

WRITE_BATCH = 16  # completions written into the store at once
PATIENCE = 5  # consecutive refusals after which the generator, not the prompt, is at fault

CompletionEntry = tuple[str, Completion, dict[str, Any]]  # prompt id, completion, provenance


class ProgressSink(Protocol):
    """Receives progress, such as a progress bar."""

    def at(self, done: int, note: str = "") -> None:
        """Report the number of finished steps."""


@dataclass
class GenerationResult:
    """Counts of what happened to the slots.

    Attributes:
        added: completions added to the store.
        known: slots that already had a completion.
        forced: added completions that needed a higher temperature or a rephrased prompt.
        too_similar: slots left empty because every attempt was too similar.
        refused: prompt ids, with the reason why there is no completion.
        whole: whether every slot was processed; false after a stop.
    """

    added: int = 0
    known: int = 0
    forced: int = 0
    too_similar: int = 0
    refused: list[tuple[str, str]] = field(default_factory=list)
    whole: bool = True


def run_generators(
    store: Store,
    project: str,
    prompts: Sequence[Prompt],
    generators: Sequence[CompletionGenerator],
    settings: GenerationSettings,
    cache: GenerationCache,
    *,
    stop: object = False,
    progress: ProgressSink | None = None,
    failures: dict[int, str] | None = None,
) -> GenerationResult:
    """Generate completions with one generator after the other; each is closed when it has finished.

    Args:
        store: database with the prompts.
        project: id of the project.
        prompts: prompts of the project.
        generators: write the completions.
        settings: number of completions and sampling.
        cache: cache of generated texts.
        stop: becomes true when the texts in flight are to be the last.
        progress: receives the number of finished slots.
        failures: receives the sentence of each generator that fails, by its index, and the others go on; `None`:
            the first failure ends the generation.

    Raises:
        GnomonError: a generator fails, or the store.
    """
    result = GenerationResult()
    for index, generator in enumerate(generators):
        try:
            with closing(generator):
                generate(
                    store,
                    project,
                    prompts,
                    generator,
                    settings,
                    cache,
                    stop=stop,
                    progress=progress,
                    result=result,
                )
        except (BusyError, DiskFullError, Interrupted):
            raise
        except GnomonError as error:
            if failures is None:
                raise
            failures[index] = str(error)
    return result


@dataclass(frozen=True)
class _Slot:
    prompt: Prompt
    number: int
    attempt: int = 0


def generate(
    store: Store,
    project: str,
    prompts: Sequence[Prompt],
    generator: CompletionGenerator,
    settings: GenerationSettings,
    cache: GenerationCache,
    *,
    stop: object = False,
    progress: ProgressSink | None = None,
    result: GenerationResult | None = None,
) -> GenerationResult:
    """Generate completions of stored prompts; each is in the store soon after it is generated.

    Args:
        store: database with the prompts.
        project: id of the project.
        prompts: prompts of the project.
        generator: writes the completions.
        settings: number of completions and sampling.
        cache: cache of generated texts.
        stop: becomes true when the texts in flight are to be the last.
        progress: receives the number of finished slots.
        result: counts to continue, if several generators run.

    Raises:
        DataError: a prompt is not in the project.
        ModelError: the generator refuses several prompts in a row.
        GnomonError: the generator cannot fulfill any request.
    """
    result = GenerationResult() if result is None else result
    existing = _existing_texts(store, project)
    texts = {name: [text for text, _ in rows] for name, rows in existing.items()}
    filled = {mark for rows in existing.values() for _, mark in rows}
    everything = [_Slot(prompt, number) for number in range(settings.count) for prompt in prompts]
    slots = [slot for slot in everything if _mark(generator, slot, settings) not in filled]
    result.known += len(everything) - len(slots)
    while slots and not stop:
        slots = _attempt(store, project, slots, generator, settings, cache, texts, stop, progress, result)
    result.whole &= not slots
    return result


def _attempt(
    store: Store,
    project: str,
    slots: Sequence[_Slot],
    generator: CompletionGenerator,
    settings: GenerationSettings,
    cache: GenerationCache,
    texts: dict[str, list[str]],
    stop: object,
    progress: ProgressSink | None,
    result: GenerationResult,
) -> list[_Slot]:
    """Try each slot once; returns those to try again, and after a stop those that were not processed."""
    again: list[_Slot] = []
    processed, refusals = 0, 0
    requests = [request_for(slot.prompt, slot.number, slot.attempt, settings) for slot in slots]
    entries: list[CompletionEntry] = []
    try:
        with closing(cached_texts(generator, requests, cache)) as written:
            for slot, request, text in zip(slots, requests, written, strict=False):
                processed += 1
                others = texts.setdefault(slot.prompt.id, [])
                if isinstance(text, Refusal):
                    result.refused.append((slot.prompt.id, text.reason))
                    refusals += 1
                    if refusals == PATIENCE:
                        raise ModelError(f"{generator.name} refused {PATIENCE} prompts in a row; {text.reason}")
                    continue
                refusals = 0
                if too_similar(text.text, others, settings.similarity):
                    result.too_similar += slot.attempt + 1 == TRIES
                    again += [replace(slot, attempt=slot.attempt + 1)] * (slot.attempt + 1 < TRIES)
                else:
                    others.append(text.text)
                    entries.append(_entry(generator, slot, request, text, settings))
                    result.forced += slot.attempt > 0
                if len(entries) == WRITE_BATCH:
                    _write(store, project, entries, result)
                if progress:
                    total = result.known + result.added + len(entries) + result.too_similar + len(result.refused)
                    progress.at(total, _note(result))
                if stop:
                    break
    finally:
        _write(store, project, entries, result)
    return [*again, *slots[processed:]]


def _entry(
    generator: CompletionGenerator,
    slot: _Slot,
    request: GenerationRequest,
    text: GeneratedText,
    settings: GenerationSettings,
) -> CompletionEntry:
    mark = _mark(generator, slot, settings)
    provenance = {
        "model": generator.name,
        **generator.identity,
        **text.facts,
        "settings": settings_of(request),
        "seed": request.seed,
        "number": slot.number,
        "tries": slot.attempt + 1,
        "finished": text.finished,
        "place": mark,
    }
    if rephrasing := rephrasing_for(slot.prompt, slot.number, slot.attempt, settings):
        provenance["wording"] = rephrasing
    return slot.prompt.id, Completion(f"made-{mark[:20]}", text.text, generator.name), provenance


def _mark(generator: CompletionGenerator, slot: _Slot, settings: GenerationSettings) -> str:
    """The digest of a slot: the same in every run with the same settings."""
    plain = request_for(slot.prompt, slot.number, 0, settings)
    return digest([generator.identity, slot.prompt.id, *settings_of(plain).values(), slot.number, settings.seed])


def _existing_texts(store: Store, project: str) -> dict[str, list[tuple[str, str]]]:
    """By prompt: the texts of its completions, each with the digest of the slot it fills, if any."""
    query = (
        select(PromptRow.id, CompletionRow.text, CompletionRow.generation)
        .join(CompletionRow, CompletionRow.prompt == PromptRow.key)
        .where(PromptRow.project == project)
        .order_by(CompletionRow.key)
    )
    texts = defaultdict(list)
    with store.reading() as session:
        for prompt, text, provenance in session.execute(query):
            texts[prompt].append((text, str(provenance.get("place", ""))))
    return dict(texts)


def _write(store: Store, project: str, entries: list[CompletionEntry], result: GenerationResult) -> None:
    if entries:
        result.added += add_completions(store, project, entries).added
        entries.clear()


def _note(result: GenerationResult) -> str:
    parts = {"retried": result.forced, "too similar": result.too_similar, "refused": len(result.refused)}
    return ", ".join(f"{count} {name}" for name, count in parts.items() if count)
