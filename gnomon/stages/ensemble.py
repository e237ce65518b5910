"""An ensemble of reward models that exist: other stages', or the user's own, of any vocabulary; or their average.

The average is that of WARM (Ramé et al. 2024): members that were trained from one start and differ in their data
or seeds, averaged weight by weight, are one model of the same size.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from gnomon.core.errors import ConfigError, DataError
from gnomon.core.progress import console
from gnomon.core.storage.result_model import Number, Words
from gnomon.core.types import Preference
from gnomon.evaluation.score_fits import CalibrationReport
from gnomon.models.settings import FITTED, Combination, Combine
from gnomon.stages.contract import PARTS, Result, Section, Stage, StagePlan
from gnomon.stages.references import DataInput, Inputs, ModelInput, is_not_a_model
from gnomon.stages.workspace import StageRecipe, Workspace

if TYPE_CHECKING:
    from gnomon.models.reward_ensemble import RewardPanel
    from gnomon.models.roles import RewardModel


class EnsembleResult(Result):
    """The result of a stage that makes an ensemble of reward models.

    Attributes:
        members: their names.
        combine: rule by which their scores become one, or `average weights`.
        calibration: on half of the prompts of the stage's data.
    """

    kind: Words = "ensemble"
    members: list[Words] = Field(default_factory=list)
    combine: Words = ""
    weights: list[Number] = Field(default_factory=list)
    calibration: CalibrationReport | None = None

    def section(self) -> Section:
        """The members, the rule, and the calibration error before and after."""
        figures: dict[str, Any] = {"members": ", ".join(self.members), "combine": self.combine}
        figures |= {f"weight of {name}": w for name, w in zip(self.members, self.weights, strict=False)}
        report = self.calibration
        if report is not None:
            figures |= {"temperature": report.temperature, "unseen pairs": report.pairs}
            figures |= {"accuracy on unseen pairs": report.accuracy, "entropy of the preference": report.entropy}
            figures |= {
                "disagreement of the members": report.disagreement,
                "variance ratio": report.variance_ratio,
            }
            for label, errors in (("before", report.before), ("after", report.after)):
                figures |= {f"calibration error {label}": errors.ece} if errors else {}
        return Section(figures={name: value for name, value in figures.items() if value is not None})


class EnsembleStage(Stage):
    """Combine reward models.

    Attributes:
        reward_models: stages or models of your own, two or more.
        combine: how their scores become one: a rule, `mean - 1.0 * std`, or a mapping.
        average_weights: average the weights instead, to one model of the same size.
        data: preferences of prompts that no member was trained on. They bring the members' scores to one zero and
            scale; the rule and the calibration are fitted on half of their prompts and measured on the others.
        calibration: `temperature`: p = σ(Δ/T); `isotonic`: any map of Δ that does not decrease; `none`.
    """

    key: ClassVar[str] = "reward_models"
    result_type: ClassVar[type[Result]] = EnsembleResult
    data_keys: ClassVar[tuple[str, ...]] = ("data",)
    model_keys: ClassVar[tuple[str, ...]] = ("reward_models",)
    reward_models: list[str]
    combine: Combine = Combination()
    average_weights: bool = False
    data: str | None = None
    calibration: Literal["temperature", "isotonic", "none"] = "temperature"

    def check(self, recipe: StageRecipe, where: str) -> None:
        """Check that there are two different models or more, and data for what is fitted."""
        if len(self.reward_models) < 2:
            raise ConfigError(
                f"{where}: reward_models names {len(self.reward_models)} model, which has no other to disagree "
                "with; name two or more."
            )
        for name in self.reward_models:
            if self.reward_models.count(name) > 1:
                raise ConfigError(f"{where}: reward_models names '{name}' twice; remove one of them.")
            if is_not_a_model(name):
                raise ConfigError(f"{where}: reward_models names '{name}', which is no reward model; remove it.")
        if self.combine.rule in FITTED and self.data is None:
            raise ConfigError(
                f"{where}: combine is {self.combine.rule}, which is fitted on held-out pairs; give them as data."
            )
        if self.combine.weights is not None and (problem := self.combine.misfit(len(self.reward_models))):
            raise ConfigError(f"{where}: combine has {problem}.")
        if self.average_weights and self.combine != Combination():
            raise ConfigError(
                f"{where}: average_weights leaves one model, so there is nothing to combine; remove combine."
            )

    def inputs(self) -> Inputs:
        """The members and the data."""
        models = tuple(ModelInput("reward_models", name, ("reward",)) for name in self.reward_models)
        return Inputs(models, (DataInput(self.data, (Preference,)),) if self.data else ())

    def model_kind(self) -> str:
        """The kind of model in the stage's folder."""
        return "reward"

    def describe(self) -> str:
        """What the stage does, in a word."""
        return "ensemble"

    def estimate(self, work: Workspace, baseline_bytes: float) -> list[StagePlan]:
        """Save the members without a fit, for later stages, and count their weights."""
        from gnomon.stages.common.reward_factory import load_members
        from gnomon.stages.common.reward_models.combining import save_judge
        from gnomon.training.runtime.memory_profile import weight_bytes

        panel = load_members(self.reward_models, Combination(), work)
        save_judge(panel, work.stage_folder(self.name) / "model")
        size = float(weight_bytes([m for m in panel.members if hasattr(m, "trainable")]))
        counts = panel.parameter_counts()
        parts = dict.fromkeys(PARTS, 0.0) | {"process": baseline_bytes, "weights": size}
        about = f"ensemble of {len(panel.members)} reward models"
        return [StagePlan(self.name, about, (counts["total"], counts["trainable"]), parts, 0.0, 0.0)]

    def run(self, work: Workspace) -> EnsembleResult:
        """Load the members, fit what is fitted, and save them as one folder."""
        from gnomon.models.reward_ensemble import RewardPanel
        from gnomon.stages.common.model_cards import make_card
        from gnomon.stages.common.reward_factory import load_members
        from gnomon.stages.common.reward_models.combining import average_members, fit_panel, save_judge

        started = time.monotonic()
        judge: RewardModel | RewardPanel = load_members(self.reward_models, self.combine, work)
        assert isinstance(judge, RewardPanel)
        records = work.records(Preference, self.data) if self.data else []
        try:
            if self.average_weights:
                judge = average_members(judge)
            report = fit_panel(judge, records, self.calibration, work.recipe.seed) if records else None
        except (DataError, ConfigError) as error:
            raise type(error)(f"stage '{self.name}': {error}") from None
        judge.card = make_card(self, work)
        save_judge(judge, work.stage_folder(self.name) / "model")
        rule = judge.record.combine if isinstance(judge, RewardPanel) else None
        console.print(f"  {len(self.reward_models)} reward models: {rule or 'average weights'}")
        return EnsembleResult(
            seconds=time.monotonic() - started,
            members=[work.recipe.as_written(name) for name in self.reward_models],
            combine=str(rule) if rule else "average weights",
            weights=list((rule.weights if rule else None) or []),
            calibration=report,
        )
