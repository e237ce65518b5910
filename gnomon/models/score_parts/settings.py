"""Settings of named scores and of the other parts of a reward model. Needs no torch."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from gnomon.core.config import Settings
from gnomon.core.ranges import Finite, Range, Weight

ScoreLoss = Literal["squared", "logistic", "ordinal"]
TieModel = Literal["davidson", "rao_kupper"]
ScoreName = Annotated[str, Field(pattern=r"^[^\s#/][^#/]{0,59}$")]
MOST_LEVELS = 100
RATING = "rating"  # the name under which the overall score is shown on the scale of people's ratings
Deviation = Annotated[float, Range("it divides ratings", gt=0, le=1e30)]


class NamedScore(Settings):
    """The head of one named score.

    Attributes:
        loss: `squared`: the score in standard deviations of the training data; `logistic`: the cross-entropy of
            the score as a share of its scale; `ordinal`: cumulative logits over whole numbers (McCullagh 1980).
        weight: weight of its loss.
        scale: lowest and highest value; one outside is refused. `logistic` takes 0 to 1 without it, `ordinal`
            needs it.
    """

    loss: ScoreLoss = "squared"
    weight: Weight = 1.0
    scale: tuple[Finite, Finite] | None = None

    @model_validator(mode="after")
    def _has_a_scale(self) -> NamedScore:
        if self.scale is not None and self.scale[0] >= self.scale[1]:
            raise ValueError("scale is its lowest and its highest value, such as [0, 4]")
        if self.loss == "ordinal":
            if self.scale is None:
                raise ValueError("ordinal needs the scale of whole numbers, such as scale: [0, 4]")
            low, high = self.scale
            if low != int(low) or high != int(high) or high - low >= MOST_LEVELS:
                raise ValueError(f"ordinal takes at most {MOST_LEVELS} whole numbers, not {low:g} to {high:g}")
        return self

    @property
    def bounds(self) -> tuple[float, float] | None:
        """Lowest and highest value; `None` if any is valid."""
        return (0.0, 1.0) if self.scale is None and self.loss == "logistic" else self.scale

    @property
    def shape(self) -> tuple[ScoreLoss, tuple[float, float] | None]:
        """What its weights depend on."""
        return self.loss, self.bounds


class RatingScale(Settings):
    """The scale of people's ratings, by which an overall score becomes a rating.

    Attributes:
        mean: of the ratings of the training data.
        deviation: their standard deviation.
    """

    mean: Finite
    deviation: Deviation


class PartSettings(Settings):
    """The parts of a reward model beside its head.

    Attributes:
        scores: the heads of named scores.
        gate: whether the overall score is a mean of the named ones with weights by the prompt.
        tie: model of ties whose parameter is learned; `None` if none is.
        overall: whether the overall score was learned.
        rating: scale of the ratings that the overall score was trained on; `None` without.
    """

    scores: dict[ScoreName, NamedScore] = Field(default_factory=dict)
    gate: bool = False
    tie: TieModel | None = None
    overall: bool = True
    rating: RatingScale | None = None

    @property
    def empty(self) -> bool:
        """Whether there are no parts."""
        return self == PartSettings()
