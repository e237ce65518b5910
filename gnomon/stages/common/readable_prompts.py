"""The prompts of a stage that models can read; those with images, sounds or videos are rejected rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from gnomon.core.errors import DataError
from gnomon.core.progress import console
from gnomon.core.types import Prompt, RejectedRow
from gnomon.data.encoding import REFUSED_CHARACTERS
from gnomon.data.reading.media.parts import media_reason
from gnomon.data.record_kinds import all_refused
from gnomon.data.records import record_media
from gnomon.data.templates.rendering import prompt_label


def readable_prompts(
    prompts_by_source: Mapping[str, Sequence[Prompt]], stage: str, *, report: bool = True
) -> tuple[dict[str, list[Prompt]], list[RejectedRow]]:
    """Return the prompts of each source that are text alone, and the others as rejected rows.

    Args:
        prompts_by_source: the prompts of each source, as the recipe names it.
        stage: name of the stage, for messages.
        report: print how many rows of a source are rejected.

    Raises:
        DataError: every prompt of a source is rejected.
    """
    readable: dict[str, list[Prompt]] = {}
    rejected: list[RejectedRow] = []
    for source, prompts in prompts_by_source.items():
        refused = [_rejected(prompt) for prompt in prompts if record_media(prompt)]
        if refused and len(refused) == len(prompts):
            reasons = [f"{row.where}: {row.reason}" for row in refused]
            raise DataError(f"stage '{stage}': {all_refused(Path(source), reasons)}")
        if refused and report:
            first = f"{refused[0].where}: {refused[0].reason}".removeprefix(f"{Path(source)}, ")
            message = f"  {len(refused)} of {len(prompts)} rows of {source} refused, the first at {first}"
            console.print(message, markup=False, highlight=False, soft_wrap=True)
        readable[source] = [prompt for prompt in prompts if not record_media(prompt)]
        rejected += refused
    return readable, rejected


def _rejected(prompt: Prompt) -> RejectedRow:
    reason = f"{media_reason(record_media(prompt))}; remove the row"
    return RejectedRow(prompt_label(prompt), reason, prompt.messages[-1].content[:REFUSED_CHARACTERS])
