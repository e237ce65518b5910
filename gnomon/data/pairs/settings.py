"""Settings of `gnomon data pairs`."""

from __future__ import annotations

from typing import Annotated, Literal

from gnomon.core.config import Settings
from gnomon.core.ranges import Range, Seed


class PairSettings(Settings):
    """How preferences are made.

    Attributes:
        min_gap: least difference of two mean ratings; on the scale of the ratings, or with `standardize` in
            standard deviations of the raters.
        ties: `soft` keeps a tie as a preference of probability 0.5, `drop` leaves it out.
        standardize: whether each rater's ratings are standardized to mean 0 and standard deviation 1 first.
        closure: whether a > b and b > c add a > c where a and c were never compared.
        closure_factor: for each step of such a chain after the first, the factor of its margin and weight.
        max_per_prompt: most preferences of a prompt, those with most weight first; 0 for all.
        balance_length: whether preferences are left out at random until the longer side is chosen as often as the
            shorter one, among pairs of about the same ratio of lengths.
        seed: of everything random.
    """

    min_gap: Annotated[float, Range("it is a difference of ratings", ge=0, le=1e9)] = 0.0
    ties: Literal["soft", "drop"] = "soft"
    standardize: bool = False
    closure: bool = False
    closure_factor: Annotated[float, Range("a conclusion is weaker than a vote", gt=0, lt=1)] = 0.5
    max_per_prompt: Annotated[int, Range("it counts preferences; 0 is no limit", ge=0, le=10**6)] = 0
    balance_length: bool = False
    seed: Seed = 0
