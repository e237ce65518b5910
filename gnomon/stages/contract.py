"""The interface of a kind of stage: its settings, inputs, checks, estimate, run and result.

A kind of stage is one class in one file. What the pipeline, the report and comparisons need to know of a stage,
they take from the methods below; a kind overrides those that apply to it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Self

from pydantic import BeforeValidator, Field, PrivateAttr

from gnomon.core.config import Settings, validate
from gnomon.core.storage.result_model import Number, ResultModel, Words, finite
from gnomon.models.cards.facts import Figure, JudgementSource
from gnomon.stages.references import Inputs, ModelComparison, Name
from gnomon.stages.train_settings import TrainSettings
from gnomon.stages.workspace import StageRecipe, Workspace

PARTS = ("process", "weights", "gradients", "optimizer", "activations", "sampling", "states")
IN_TURN = ("activations", "sampling")  # never in memory at once


@dataclass(frozen=True)
class StagePlan:
    """Estimated memory and time of a stage.

    Attributes:
        name: of the stage, or `stage/phase`.
        does: a short description.
        parameters: total and trainable.
        bytes: by part (`PARTS`); activations and sampling take turns.
        tokens_per_second: of a training pass, or of sampling where nothing is trained.
        seconds: upper bound, since completions may end early.
        several: whether an optimizer step has several micro-batches, so that gradients of one coexist with the
            activations of the next. With a single one, gradients appear as its activations are freed.
    """

    name: str
    does: str
    parameters: tuple[int, int]
    bytes: dict[str, float]
    tokens_per_second: float
    seconds: float
    several: bool = True

    @property
    def peak(self) -> float:
        """Peak memory in bytes."""
        in_turn = IN_TURN if self.several else (*IN_TURN, "gradients")
        always = sum(size for part, size in self.bytes.items() if part not in in_turn)
        return always + max(self.bytes[part] for part in in_turn)


def _cell(value: object) -> object:
    """A text, or a number if it is finite."""
    return value if isinstance(value, str) else finite(value)


Cell = Annotated[int | float | str | None, BeforeValidator(_cell)]


class ResultTable(ResultModel):
    """A table of the report.

    Attributes:
        header: the columns' titles.
        rows: of texts and numbers; the first column names the row.
    """

    header: list[Words] = Field(default_factory=list)
    rows: list[list[Cell]] = Field(default_factory=list)


class Section(ResultModel):
    """What the report shows of a stage whose kind has no template of its own.

    Attributes:
        notes: paragraphs.
        figures: texts and numbers by what they are.
        tables: by their titles.
    """

    notes: list[Words] = Field(default_factory=list)
    figures: dict[str, Cell] = Field(default_factory=dict)
    tables: dict[str, ResultTable] = Field(default_factory=dict)


class Result(ResultModel):
    """The result of a stage, written to `result.json` by the stage and read by the report.

    Attributes:
        view: the kind's template in `gnomon/reporting/templates/stages/`; `other` shows `section`.
        kind: of the result; the report finds the class by it.
        seconds: that the stage took.
    """

    view: ClassVar[str] = "other"
    kind: Words = ""
    seconds: Number = None

    @property
    def label(self) -> str:
        """What the report calls the stage: a key of its translations, or the name of an algorithm."""
        return self.kind

    @property
    def nothing_learned(self) -> str:
        """Why a training learned nothing, a key of `training.outcome.REASONS`; "" for every other stage."""
        return ""

    def section(self) -> Section:
        """What the report shows where the kind has no template of its own: by default every text and number."""
        plain = {name: value for name, value in self.given().items() if isinstance(value, str | int | float)}
        return Section(figures={name: value for name, value in plain.items() if name not in ("kind", "seconds")})

    def judgement_source(self, stage: str) -> JudgementSource | None:
        """The judgements that the stage made its data of, for the cards of models; `None` without any.

        Args:
            stage: name of the stage.
        """
        return None

    def figures_of(self, model: str, stage: str) -> Sequence[Figure]:
        """What the stage measured of a model of the run, for the model's card.

        Args:
            model: name of the stage that made the model.
            stage: name of this stage.
        """
        return ()

    @property
    def remark(self) -> str:
        """Why a training learned nothing, in words for the console; "" for every other stage."""
        return ""


class RecordedResult(Result):
    """The result of a stage whose kind has no template, as a report reads it without the kind's code."""

    kind: Words = ""
    report: Section = Section()


class Stage(Settings, ABC):
    """Base class of all kinds of stages; its fields are the stage's settings.

    Attributes:
        name: of the stage, and of its folder in the run.
        key: the key of a recipe's row by which its kind is known without `kind`; "" for none.
        result_type: the class of the results of `run`.
        data_keys: settings that name data, for paths relative to the recipe; `a.b` is the key b of the mapping a.
        model_keys: settings that name models, rewards or functions, likewise.
        nested_keys: settings that are lists of rows which have such keys again.
        parallel: whether each process of a run with several takes part; otherwise the first runs the stage alone.
        uses_model: whether the result depends on the recipe's `model`.
    """

    key: ClassVar[str] = ""
    result_type: ClassVar[type[Result]] = Result
    data_keys: ClassVar[tuple[str, ...]] = ()
    model_keys: ClassVar[tuple[str, ...]] = ()
    nested_keys: ClassVar[tuple[str, ...]] = ()
    parallel: ClassVar[bool] = False
    uses_model: ClassVar[bool] = True
    name: Name
    _kind: str = PrivateAttr("")
    _kind_digest: str = PrivateAttr("")

    @property
    def kind_name(self) -> str:
        """The `kind` of the stage's row in the recipe; "" where a key of the row implies it."""
        return self._kind

    @property
    def from_outside(self) -> bool:
        """Whether the kind is not one of Gnomon's own."""
        return bool(self._kind_digest)

    def code_from_outside(self) -> dict[str, dict[str, str]]:
        """What is recorded of the kind and the algorithms that are not Gnomon's own, by their names."""
        code = {self._kind: {"digest": self._kind_digest}} if self.from_outside else {}
        for training in self.trainings():
            code |= training.algorithm_from_outside()
        return code

    @classmethod
    def from_row(cls, row: Mapping[str, Any], recipe: StageRecipe, where: str) -> Self:  # noqa: ARG003
        """Validate a recipe's row, completed with the recipe's defaults.

        Args:
            row: of the recipe.
            recipe: with the defaults; its stages are not read yet.
            where: prefix of error messages.

        Raises:
            ConfigError: a setting is missing, unknown or out of range.
        """
        return validate(cls, row, where)

    def check(self, recipe: StageRecipe, where: str) -> None:
        """Check what single settings do not show, without reading data or models.

        Args:
            recipe: of the stage.
            where: prefix of error messages.

        Raises:
            ConfigError: settings contradict each other, or a needed one is missing.
        """

    def inputs(self) -> Inputs:
        """The models and data that the settings name."""
        return Inputs()

    def parts(self) -> frozenset[str]:
        """The data that the stage writes for later stages: `part` of `<stage>/<part>`, in `<part>.jsonl`."""
        return frozenset()

    def model_kind(self) -> str:
        """The kind of the model in the stage's folder `model`: `policy`, `reward`, or "" without one."""
        return ""

    def saved_critic(self) -> str | None:
        """The path in a run of the stage's saved critic; `None` without one."""
        return None

    def trainings(self) -> Sequence[TrainSettings]:
        """The trainings of the stage, one for each algorithm."""
        return ()

    def as_training(self) -> TrainSettings | None:
        """The stage itself if it is one training and nothing else, so that its algorithm may be varied."""
        return None

    def comparison(self) -> ModelComparison | None:
        """The models and judges of an evaluation; `None` for every other stage."""
        return None

    def estimate(self, work: Workspace, baseline_bytes: float) -> list[StagePlan]:
        """Estimate memory and time for `gnomon run --dry-run`, and write what later stages need into the folder.

        By default a stage with data for later stages is run, and no other is listed.

        Args:
            work: a temporary run folder.
            baseline_bytes: memory of the process before any model is loaded.
        """
        if self.parts():
            self.run(work)
        return []

    @abstractmethod
    def run(self, work: Workspace) -> Result:
        """Run the stage: write its files into `work.stage_folder(self.name)` and return its result."""

    def describe(self) -> str:
        """What the stage does, in a word or two, for `gnomon check`."""
        return type(self).__name__

    def row(self) -> dict[str, Any]:
        """The stage as a row of a recipe, with every default that its result depends on."""
        return self.model_dump(mode="json", exclude_none=True)

    def semantic_settings(self) -> dict[str, Any]:
        """The settings with defaults, without those that change no result."""
        return self.model_dump()
