"""How stages refer to models and data: those of earlier stages, or the user's own."""

from __future__ import annotations

from collections.abc import Collection, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field

from gnomon.data.reading.sources import is_data_file, is_source
from gnomon.rewards.python_reward import is_function
from gnomon.rewards.registry import REWARDS
from gnomon.rewards.remote_reward import is_remote

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")]
CRITIC = "critic"  # the folder of a stage's critic; `<stage>/critic` in recipes
BASE = "base"  # the name of the recipe's model in its stages
RIDGE = "ridge"  # the judge that an evaluation fits on rated texts
TEXT_JUDGES = ("vader", RIDGE)  # judges that are not language models


@dataclass(frozen=True)
class ModelInput:
    """A model that a stage names.

    Attributes:
        key: of the stage's settings, which names it.
        name: `base`, an earlier stage, `<stage>/critic`, or a model of the user's own.
        kinds: that it may be of: `policy`, `reward`, `critic`.
    """

    key: str
    name: str
    kinds: tuple[str, ...] = ("policy",)


@dataclass(frozen=True)
class DataInput:
    """Data that a stage reads.

    Attributes:
        source: `<stage>/<part>`, or a path.
        kinds: the record types that its rows may have.
        may_be_broken: whether the stage itself deals with rows that hold no record.
    """

    source: str
    kinds: tuple[type, ...]
    may_be_broken: bool = False


@dataclass(frozen=True)
class Inputs:
    """The models and data that a stage names.

    Attributes:
        models: without rewards and judges that are no models.
        data: in the order of the settings.
        scorers: the names of its rewards or judges, models or not.
    """

    models: tuple[ModelInput, ...] = ()
    data: tuple[DataInput, ...] = ()
    scorers: tuple[str, ...] = ()

    @property
    def model_names(self) -> list[str]:
        """The names of the models, each once."""
        return list(dict.fromkeys(model.name for model in self.models))

    @property
    def sources(self) -> list[str]:
        """The sources of the data, each once."""
        return list(dict.fromkeys(data.source for data in self.data))


@dataclass(frozen=True)
class ModelComparison:
    """The models that an evaluation compares, and its judges.

    Attributes:
        stage: name of the evaluation.
        models: in display order.
        reference: the model that the candidate is compared with.
        candidate: the model that should be better.
        judges: that score the models' completions.
        independent: the judges that are declared to have taken no part in the training.
    """

    stage: str
    models: tuple[str, ...]
    reference: str
    candidate: str
    judges: tuple[str, ...]
    independent: tuple[str, ...] = ()


def maker(name: str, names: Collection[str]) -> str:
    """The stage that makes the model called `name`: itself, or in `<stage>/critic` the stage; else `name`.

    A named score of a reward model, `<stage>#<score>`, is made by the stage too.
    """
    stage, _, part = name.partition("/")
    model, mark, _ = name.partition("#")
    if mark and model in names:
        return model
    return stage if part == CRITIC and stage in names else name


def is_part(source: str, stages: Set[str]) -> bool:
    """Whether a source is `<stage>/<part>`, and neither an existing file nor named like a data file."""
    stage, _, part = source.partition("/")
    if not part or stage not in stages or is_data_file(part):
        return False
    return not is_source(Path(source).expanduser())


def is_not_a_model(name: str) -> bool:
    """Whether a reward or judge is a function, a class, a server or a judge of texts, not a model."""
    outside = name.startswith("python:") or is_function(name) or is_remote(name)
    return name == RIDGE or outside or name in REWARDS.names()
