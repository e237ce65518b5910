"""Facts of a model card, as values that are cheap to import."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Kind = Literal["policy", "reward", "critic"]


@dataclass(frozen=True)
class DataFile:
    """Data that a model was trained on, with the SHA-256 of its content."""

    name: str
    sha256: str


@dataclass(frozen=True)
class JudgementSource:
    """Judgements behind a model, from one export or one file of ratings.

    Attributes:
        source: the data's name in the recipe.
        store: the project of the feedback store, or the file of ratings.
        judgements: number of judgements.
        annotators: number of people and programs, in words.
        aggregation: method by which several judgements on an item became one result.
        digest: SHA-256 of the whole export; "" for ratings.
        unchanged: whether the file still is as it was exported.
    """

    source: str
    store: str
    judgements: int | None
    annotators: str
    aggregation: str
    digest: str = ""
    unchanged: bool = True


@dataclass(frozen=True)
class ModelCard:
    """Facts of a model card besides those in the model's own files and in those of its base.

    Attributes:
        name: of the model.
        base: the name by which the model is loaded that training started from; "" if it is unknown.
        base_name: the base model as the user named it.
        start: the earlier stage that training started from; "" if it started from the base model.
        algorithms: that trained it, in turn, by their names in a recipe.
        description: of the algorithms, with papers and formulas.
        recipe: the part of the recipe that leads to this model, as YAML.
        seed: of everything random.
        versions: of Python and of packages, by name.
        judgements: behind the model and the rewards that trained it.
        data: that it and the rewards that trained it were trained on.
    """

    name: str = "model"
    base: str = ""
    base_name: str = ""
    start: str = ""
    algorithms: tuple[str, ...] = ()
    description: str = ""
    recipe: str = ""
    seed: int | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    judgements: tuple[JudgementSource, ...] = ()
    data: tuple[DataFile, ...] = ()


@dataclass(frozen=True)
class Figure:
    """A measured value with its 95% interval.

    Attributes:
        name: what is measured, such as `win rate`.
        value: as measured.
        low: lower bound; `None` where there is no interval.
        high: upper bound.
        measured: the stage that measured it.
        about: what it was compared with, and by which judge, as pairs of a word and a name.
        note: how to read it.
        own: whether it is a figure of the model itself, not of what it is compared with.
    """

    name: str
    value: float
    low: float | None
    high: float | None
    measured: str
    about: tuple[tuple[str, str], ...] = ()
    note: str = ""
    own: bool = True
