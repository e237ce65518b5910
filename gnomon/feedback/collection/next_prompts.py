"""Prompts of the next round: those with completions but no items first, then a selection by the mix."""

from __future__ import annotations

from collections.abc import Collection

from gnomon.core.types import Prompt
from gnomon.feedback.selection.items import prompt_completions
from gnomon.feedback.selection.prompts import PromptMix, select_prompts
from gnomon.feedback.store.store import Store
from gnomon.feedback.task_types import SCALES


def next_prompts(
    store: Store,
    project: str,
    count: int,
    mix: PromptMix,
    *,
    generates: bool,
    tried: Collection[str] = (),
    seed: int = 0,
) -> list[Prompt]:
    """Choose prompts that have no items, without near-duplicates of each other and of prompts with items.

    A prompt that has completions already, such as one whose generation was stopped, comes first.

    Args:
        store: the feedback store.
        project: id of the project.
        count: number of prompts.
        mix: mix of the prompts that have no completions.
        generates: whether completions are generated; else only prompts with enough completions are chosen.
        tried: ids of prompts that made no item before.
        seed: seed of the selection.
    """
    entries = prompt_completions(store, project)
    free = [entry for entry in entries if not entry.items and entry.prompt.id not in tried]
    enough = 1 if generates else 1 if store.project(project).task in SCALES else 2
    begun = [entry.prompt for entry in free if len(entry.completions) >= enough]
    chosen = begun[:count]
    if generates and len(chosen) < count:
        used = [entry.prompt for entry in entries if entry.items or entry.prompt.id in tried]
        counts = {entry.prompt.id: entry.items for entry in entries if entry.items}
        selected = select_prompts(
            store.bank(project), count - len(chosen), mix, counts, seed, max_items=1, earlier=[*used, *begun]
        )
        chosen += [one.prompt.prompt for one in selected]
    return chosen
