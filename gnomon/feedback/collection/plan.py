"""Target, budgets and settings of a collection."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

from gnomon.core.config import Settings
from gnomon.core.ranges import Range
from gnomon.feedback.export.exporter import ExportSpec
from gnomon.feedback.generation.requests import GenerationSettings
from gnomon.feedback.selection.priority import RANDOM_SHARE
from gnomon.feedback.selection.prompts import PromptMix


class CollectTarget(Settings):
    """When a collection ends.

    Attributes:
        until: number of valid preferences in the project.
        max_judgements: judgements, by anybody, in this collection; `None`: any number.
        max_hours: hours of this collection; `None`: any number.
    """

    until: Annotated[int, Range("it counts preferences", ge=1, le=10**9)]
    max_judgements: Annotated[int, Range("it counts judgements", ge=1, le=10**9)] | None = None
    max_hours: Annotated[float, Range("it is a time in hours", gt=0, le=10_000)] | None = None


@dataclass(frozen=True)
class CollectPlan:
    """Target and settings of a collection.

    Attributes:
        target: when it ends.
        sources: names of the generators.
        spec: aggregation, excluded annotators and filters of the export that the target counts.
        mix: mix of the selected prompts.
        generation: number of completions and sampling settings; its seed is that of the selection too.
        pairs: items per prompt; `None`: as many as completions.
        random_share: share of the items placed at random in the order, if reward models order them.
    """

    target: CollectTarget
    sources: tuple[str, ...] = ()
    spec: ExportSpec = field(default_factory=ExportSpec)
    mix: PromptMix = field(default_factory=PromptMix)
    generation: GenerationSettings = field(default_factory=GenerationSettings)
    pairs: int | None = None
    random_share: float = RANDOM_SHARE
