"""The augment stage: preferences made of judged ones, each kind kept by its gain on held-out pairs."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field

from gnomon.core.config import validate
from gnomon.core.errors import DataError
from gnomon.core.progress import console
from gnomon.core.ranges import Range
from gnomon.core.storage.files import write_jsonl
from gnomon.core.storage.result_model import Number, ResultModel, Words
from gnomon.core.types import Preference
from gnomon.data.augmentation.contract import Augmentation, Augmented
from gnomon.data.augmentation.registry import build_augmentations
from gnomon.data.reading.counting import counted
from gnomon.data.record_rows import record_row
from gnomon.data.records import record_media
from gnomon.data.reported_rows import readable_records
from gnomon.data.splitting.by_prompt import split_by_prompt
from gnomon.models.settings import HeadSettings, Trainable
from gnomon.stages.contract import Result, Stage, StagePlan
from gnomon.stages.references import BASE, DataInput, Inputs, ModelInput
from gnomon.stages.train_settings import TrainSettings, completed_row
from gnomon.stages.workspace import StageRecipe, Workspace

WITHOUT = "without"  # the folder of the reward model that learns from the judged preferences alone
ALGORITHM = "reward_model"


class GainResult(ResultModel):
    """What one augmentation gained.

    Attributes:
        rows: preferences made of those to train on, or relabeled.
        left_out: reason → number of preferences of which none was made.
        accuracy: share of held-out pairs in people's order.
        gain: its difference to that without the augmentation, with a 95% interval over prompts.
        adopted: whether it is part of the stage's data.
        written: its preferences among the stage's data.
    """

    rows: Number = None
    left_out: dict[str, int] = Field(default_factory=dict)
    accuracy: Number = None
    gain: Number = None
    low: Number = None
    high: Number = None
    adopted: bool = False
    written: Number = None


class AugmentResult(Result):
    """The result of an augment stage."""

    view: ClassVar[str] = "augment"
    kind: Words = "augment"
    source: Words = ""
    judged: Number = None
    training: Number = None
    held_out: Number = None
    accuracy: Number = None
    preferences: Number = None
    kinds: dict[str, GainResult] = Field(default_factory=dict)


class AugmentStage(Stage):
    """Make preferences of judged ones: `<stage>/preferences` holds both, of the kinds that are kept.

    A reward model is trained without any augmentation and with each alone, all from the same start, on the same
    prompts, and tested on the judged pairs of the other prompts.

    Attributes:
        augment: the judged preferences: `<stage>/<part>`, or a path.
        kinds: augmentation → a mapping of its settings; see docs/rewards.md.
        keep: `gain` keeps a kind if the 95% interval of its gain in accuracy is above `min_gain`; `likely` if the
            gain itself is; `all` keeps each.
        min_gain: in accuracy; a negative number lets a kind cost some accuracy.
        held_out: share of the prompts on which the gain is measured.
        keys: `HOST=VARIABLE`, the environment variables with the API keys of generators.
        model: the reward models start from it.
        num_layers: they keep only this many of its lower layers.
        head: their new heads.
        settings: of the algorithm `reward_model`.
        trainable: which weights are trained; the default is that of the recipe's `model`.
        training: the loop's settings.
    """

    key: ClassVar[str] = "augment"
    result_type: ClassVar[type[Result]] = AugmentResult
    data_keys: ClassVar[tuple[str, ...]] = ("augment",)
    model_keys: ClassVar[tuple[str, ...]] = ("model", "kinds.paraphrase.by", "kinds.back_translation.by")
    parallel: ClassVar[bool] = True
    augment: str
    kinds: dict[str, Any] = Field(min_length=1)
    keep: Literal["gain", "likely", "all"] = "gain"
    min_gain: Annotated[float, Range("it is a difference of accuracies", gt=-1, lt=1)] = 0.0
    held_out: Annotated[float, Range("it is a share of the prompts", gt=0, lt=1)] = 0.2
    keys: list[str] = Field(default_factory=list)
    model: str = BASE
    num_layers: Annotated[int, Range("a model keeps at least one layer", ge=1, le=10**4)] | None = None
    head: HeadSettings = HeadSettings()
    settings: dict[str, Any] = Field(default_factory=dict)
    trainable: Trainable | None = None
    training: dict[str, Any] = Field(default_factory=dict)

    @classmethod
    def from_row(cls, row: Mapping[str, Any], recipe: StageRecipe, where: str) -> Self:
        """Validate a recipe's row, completed with the recipe's loop settings.

        Args:
            row: of the recipe.
            recipe: with the defaults; its stages are not read yet.
            where: prefix of error messages.

        Raises:
            ConfigError: a setting is missing, unknown or out of range.
        """
        completed = completed_row({**row, "algorithm": ALGORITHM}, recipe.training, where)
        return validate(cls, {key: value for key, value in completed.items() if key != "algorithm"}, where)

    def check(self, recipe: StageRecipe, where: str) -> None:
        """Check the settings of the augmentations and of the trainings."""
        build_augmentations(self.kinds, f"{where}, kinds")
        self._training("rows.jsonl").check_training(self.trainable or recipe.model, where)

    def inputs(self) -> Inputs:
        """The model, local generators, and the judged preferences."""
        models = [ModelInput("model", self.model, ("policy", "reward"))]
        for kind in build_augmentations(self.kinds, f"stage '{self.name}', kinds"):
            local = [by for by in kind.generators() if "://" not in by]
            models += [ModelInput(f"kinds.{kind.name}.by", by) for by in local]
        return Inputs(tuple(models), (DataInput(self.augment, (Preference,)),))

    def parts(self) -> frozenset[str]:
        """The judged and the made preferences."""
        return frozenset({"preferences"})

    def describe(self) -> str:
        """The augmentations."""
        return f"augment: {', '.join(self.kinds)}"

    def semantic_settings(self) -> dict[str, Any]:
        """The settings with defaults, without those that change no result."""
        return super().semantic_settings() | {
            "training": self._training("rows.jsonl").semantic_settings()["training"]
        }

    def estimate(self, work: Workspace, baseline_bytes: float) -> list[StagePlan]:
        """Estimate the trainings, and write the judged preferences as the stage's data.

        Args:
            work: a temporary run folder.
            baseline_bytes: memory of the process before any model is loaded.
        """
        from gnomon.stages.common.load import load_trained
        from gnomon.stages.common.plan import plan_stored

        rows = work.records(Preference, self.augment)
        path = work.stage_folder(self.name) / "preferences.jsonl"
        write_jsonl(path, map(record_row, rows))
        training = self._training(str(path.absolute()))
        plan = plan_stored(training, work, load_trained(training, work), baseline_bytes)
        count = len(self.kinds) + 1
        return [replace(plan, name=self.name, does=f"{count} times {plan.does}", seconds=count * plan.seconds)]

    def run(self, work: Workspace) -> AugmentResult:
        """Train and test with each augmentation, write `preferences.jsonl`, and return the result."""
        from gnomon.stages.common.augmentation_gain import AugmentationGain

        started = time.monotonic()
        every = work.records(Preference, self.augment)
        records = readable_records({self.augment: every}, self.name)[0][self.augment]
        shares = {"training": 1 - self.held_out, "held_out": self.held_out}
        parts = split_by_prompt(records, shares, seed=work.recipe.seed).parts
        for name, part in parts.items():
            if not part:
                raise DataError(
                    f"stage '{self.name}': no preference of {self.augment} is left for {name.replace('_', '-')} "
                    "prompts; give more prompts, or another held_out."
                )
        gain = AugmentationGain(
            self.name, self._training, work, parts["training"], parts["held_out"], tuple(self.keys)
        )
        gain.learn(WITHOUT, parts["training"])
        results: dict[str, GainResult] = {}
        rows, added = list(records), list[Preference]()
        unread = [one for one in every if record_media(one)]
        for kind in build_augmentations(self.kinds, f"stage '{self.name}', kinds"):
            console.print(f"  {kind.name}", highlight=False)
            made = gain.augment(kind, parts["training"])
            result = self._measured(kind, made, gain, parts["training"])
            if result.adopted:
                whole = gain.augment(kind, rows if kind.replaces else records).preferences
                result = result.model_copy(update={"written": len(whole)})
                rows, added = (list(whole), added) if kind.replaces else (rows, [*added, *whole])
            results[kind.name] = result
            _show(kind.name, result)
        if work.processes.main:
            path = work.stage_folder(self.name) / "preferences.jsonl"
            write_jsonl(path, map(record_row, [*rows, *added, *unread]))
        work.processes.barrier()
        return AugmentResult(
            kind="augment",
            seconds=time.monotonic() - started,
            source=self.augment,
            judged=len(records),
            training=len(parts["training"]),
            held_out=len(parts["held_out"]),
            accuracy=gain.accuracy(WITHOUT),
            preferences=len(rows) + len(added) + len(unread),
            kinds=results,
        )

    def _measured(
        self, kind: Augmentation, made: Augmented, gain: Any, judged: Sequence[Preference]
    ) -> GainResult:
        """Train and test with what an augmentation made; without anything made there is nothing to keep."""
        count = len(made.preferences)
        if not count:
            return GainResult(rows=0, left_out=made.left_out)
        gain.learn(kind.name, made.preferences if kind.replaces else [*judged, *made.preferences])
        estimate = gain.gain(kind.name, WITHOUT)
        bound = estimate.low if self.keep == "gain" else estimate.value
        adopted = self.keep == "all" or (bound is not None and bound > self.min_gain)
        return GainResult(
            rows=count,
            left_out=made.left_out,
            accuracy=gain.accuracy(kind.name),
            gain=estimate.value,
            low=estimate.low,
            high=estimate.high,
            adopted=adopted,
        )

    def _training(self, data: str | Path) -> TrainSettings:
        """The training of a reward model on some preferences."""
        row = {
            "name": self.name,
            "algorithm": ALGORITHM,
            "model": self.model,
            "data": str(data),
            "num_layers": self.num_layers,
            "head": self.head,
            "settings": self.settings,
            "trainable": self.trainable,
            "training": self.training,
        }
        return validate(TrainSettings, row, f"stage '{self.name}'")


def _show(name: str, result: GainResult) -> None:
    """Print what an augmentation gained."""
    if not result.rows:
        reasons = ", ".join(f"{count} {reason}" for reason, count in result.left_out.items())
        console.print(f"  {name}: it made no preference{f' ({reasons})' if reasons else ''}", highlight=False)
        return
    fate = "kept" if result.adopted else "dropped"
    interval = "" if result.low is None else f" ({result.low:+.1%} to {result.high:+.1%})"
    made = counted(int(result.rows), "preferences")
    console.print(f"  {name}: {made}, accuracy {result.gain:+.1%}{interval}: {fate}", highlight=False)
