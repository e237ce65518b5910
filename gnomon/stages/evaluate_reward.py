"""The stage that examines rewards on held-out judgements, as `gnomon evaluate reward` does."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, ClassVar

from pydantic import Field, model_validator

from gnomon.core.errors import ConfigError
from gnomon.core.progress import console
from gnomon.core.storage.result_model import Words
from gnomon.core.types import Preference, Ranking, RatedText
from gnomon.evaluation.examination.conditions import met_conditions, parse_condition, parse_conditions
from gnomon.evaluation.examination.examine import examine
from gnomon.evaluation.examination.figures import figure_names, figures_of
from gnomon.evaluation.examination.read_cases import SourceFile, read_cases
from gnomon.evaluation.examination.results import RewardExamination
from gnomon.evaluation.examination.settings import ExaminationSettings
from gnomon.models.cards.facts import Figure
from gnomon.rewards.reward import Reward
from gnomon.stages.common.results import figure
from gnomon.stages.common.reward_factory import make_reward, ridge_reward
from gnomon.stages.contract import Result, Stage
from gnomon.stages.references import RIDGE, DataInput, Inputs, ModelInput, is_not_a_model
from gnomon.stages.workspace import StageRecipe, Workspace


class RewardExaminationResult(Result):
    """The result of an examination in a run."""

    view: ClassVar[str] = "evaluate_reward"
    kind: Words = "evaluate_reward"
    examination: RewardExamination = RewardExamination()

    def figures_of(self, model: str, stage: str) -> list[Figure]:
        """A reward model's accuracy on held-out pairs.

        Args:
            model: name of the stage that made the model.
            stage: name of this stage.
        """
        rows = [row for row in self.examination.accuracy if row.kind == "model" and row.name == model]
        about = (("on", ", ".join(self.examination.files)),)
        return [
            one
            for row in rows
            for one in figure("pair accuracy", row.overall.estimate("value", "low", "high"), stage, about=about)
        ]


class EvaluateRewardStage(Stage):
    """Examine rewards on held-out pairs, rankings or ratings.

    Attributes:
        evaluate_reward: reward models (stages or your own), functions, `vader`, and `ridge`, fitted on
            `judge_holdout`.
        data: one or several sources of preferences, rankings, rated texts or rows of a benchmark.
        judge_holdout: rated texts for `ridge`, other ones than `data`.
        examination: settings; without a seed, the recipe's.
        fail_if: conditions such as `accuracy<0.7`; those that are met are printed and in the report.
    """

    key: ClassVar[str] = "evaluate_reward"
    result_type: ClassVar[type[Result]] = RewardExaminationResult
    data_keys: ClassVar[tuple[str, ...]] = ("data", "judge_holdout")
    model_keys: ClassVar[tuple[str, ...]] = ("evaluate_reward",)
    evaluate_reward: list[str] = Field(min_length=1)
    data: list[str] = Field(min_length=1)
    judge_holdout: str | None = None
    examination: ExaminationSettings = ExaminationSettings()
    fail_if: list[str] = Field(default_factory=list)

    @model_validator(mode="before")
    @classmethod
    def _one_of_each(cls, content: Any) -> Any:
        """Make a list of a single reward, source or condition."""
        if not isinstance(content, dict):
            return content
        keys = [key for key in ("evaluate_reward", "data", "fail_if") if isinstance(content.get(key), str)]
        return {**content, **{key: [content[key]] for key in keys}}

    def check(self, recipe: StageRecipe, where: str) -> None:
        """Check that rewards are unique and conditions can be read."""
        for name in self.evaluate_reward:
            if self.evaluate_reward.count(name) > 1:
                raise ConfigError(f"{where}: evaluate_reward names '{name}' twice; remove one of them.")
        if RIDGE in self.evaluate_reward and self.judge_holdout is None:
            raise ConfigError(f"{where}: the reward ridge needs the key 'judge_holdout', texts to learn from.")
        for condition in self.fail_if:
            parse_condition(condition)

    def inputs(self) -> Inputs:
        """The rewards and the data."""
        names = [name for name in self.evaluate_reward if not is_not_a_model(name)]
        models = tuple(ModelInput("evaluate_reward", name, ("reward",)) for name in names)
        data = tuple(DataInput(source, (Preference, Ranking, RatedText)) for source in self.data)
        if self.judge_holdout is not None:
            data = (*data, DataInput(self.judge_holdout, (RatedText,)))
        return Inputs(models, data, tuple(self.evaluate_reward))

    def describe(self) -> str:
        """What the stage does, in a word."""
        return "evaluate reward"

    def run(self, work: Workspace) -> RewardExaminationResult:
        """Examine the rewards one after the other, and return the result."""
        started = time.monotonic()
        settings = self.examination
        if "seed" not in settings.model_fields_set:
            settings = settings.model_copy(update={"seed": work.recipe.seed})
        files = [SourceFile(work.data_path(one), one, work.recipe.layout_of(one)) for one in self.data]
        cases = read_cases(files, settings.category, settings.seed)
        conditions = parse_conditions(self.fail_if, figure_names(cases, settings.perturbed > 0))
        result = examine(cases, [(name, self._loader(name, work)) for name in self.evaluate_reward], settings)
        result = result.model_copy(update={"failed_conditions": met_conditions(conditions, figures_of(result))})
        for row in result.accuracy:
            value = "undefined" if row.overall.value is None else f"{row.overall.value:.3f}"
            console.print(f"  {row.name:24} pairs right {value}", markup=False, highlight=False, soft_wrap=True)
        for sentence in result.failed_conditions:
            console.print(f"  failed: {sentence}", markup=False, highlight=False, soft_wrap=True)
        return RewardExaminationResult(
            kind="evaluate_reward", seconds=time.monotonic() - started, examination=result
        )

    def _loader(self, name: str, work: Workspace) -> Callable[[], Reward]:
        if name == RIDGE and (texts := self.judge_holdout) is not None:
            return lambda: ridge_reward(work.records(RatedText, texts))
        return lambda: make_reward(name, work, None)
