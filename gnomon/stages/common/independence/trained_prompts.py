"""Held-out prompts that the evaluated model was trained on: a win on them shows memory, not skill."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any

from gnomon.core.errors import GnomonError
from gnomon.core.progress import console
from gnomon.core.types import Prompt
from gnomon.data.records import prompt_of_record, read_records
from gnomon.stages.common.independence.ancestry import ancestry
from gnomon.stages.workspace import Workspace


def trained_prompts(prompts: Sequence[Prompt], model: str, work: Workspace) -> list[Prompt]:
    """Return the prompts that a model, or a model it was trained from, learned from; in order.

    Texts are compared after NFC normalization, with runs of white space as one space. Files that are gone are not
    compared.

    Args:
        prompts: of the evaluation.
        model: name of the model in the recipe.
        work: the run.
    """
    wanted = {_text(prompt): prompt for prompt in prompts}
    trained: set[tuple[tuple[str, str], ...]] = set()
    known = ancestry(model, work.folder)
    for data in known.policy_data:
        with suppress(GnomonError):  # a file may have changed since; the training itself has checked it
            records: list[Any] = read_records(data.kind, data.path, layout=data.layout)
            trained |= _texts(records) & wanted.keys()
    return [prompt for text, prompt in wanted.items() if text in trained]


def report_trained_prompts(prompts: Sequence[Prompt], trained: Sequence[Prompt]) -> None:
    """Print how many held-out prompts were trained on, with the first of them, if any.

    Args:
        prompts: of the evaluation.
        trained: those of them that were trained on.
    """
    if trained:
        first = trained[0].where or trained[0].id
        console.print(
            f"  [yellow]trained on {len(trained)} of {len(prompts)} held-out prompts[/yellow], the first at ",
            end="",
        )
        console.print(f"{first}; hold other prompts out", markup=False, highlight=False, soft_wrap=True)


def _texts(records: Iterable[Any]) -> set[tuple[tuple[str, str], ...]]:
    return {_text(prompt) for record in records if (prompt := prompt_of_record(record)) is not None}


def _text(prompt: Prompt) -> tuple[tuple[str, str], ...]:
    """Roles and normalized texts of a prompt."""
    return tuple(
        (message.role, " ".join(unicodedata.normalize("NFC", message.content).split()))
        for message in prompt.messages
    )
