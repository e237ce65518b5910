"""Settings of an examination."""

from __future__ import annotations

from typing import Annotated

from gnomon.core.config import Settings
from gnomon.core.ranges import Range, Seed
from gnomon.stats.clustered import RESAMPLES


class ExaminationSettings(Settings):
    """Settings of an examination.

    Attributes:
        category: column whose values are the categories, `a.b` for a nested one; "" detects it.
        perturbed: pairs whose answers are changed to measure robustness, and put under other prompts; 0 for none.
        bins: bins of calibration.
        resamples: resamples of the bootstrap over prompts.
        seed: of everything random.
    """

    category: str = ""
    perturbed: Annotated[int, Range("it counts pairs; 0 measures no robustness", ge=0, le=10**7)] = 300
    bins: Annotated[
        int, Range("one bin shows no calibration, and empty ones are many beyond 100", ge=2, le=100)
    ] = 10
    resamples: Annotated[int, Range("an interval needs some", ge=100, le=10**6)] = RESAMPLES
    seed: Seed = 0
