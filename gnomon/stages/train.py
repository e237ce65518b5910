"""A training stage: load the models that the algorithm needs, train, save the model."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

from gnomon.core.config import validate
from gnomon.evaluation.results import RewardModelEvaluation
from gnomon.stages.common.results import TrainResult
from gnomon.stages.contract import Result, Stage, StagePlan
from gnomon.stages.train_settings import TrainSettings, completed_row
from gnomon.stages.workspace import StageRecipe, Workspace

if TYPE_CHECKING:
    from gnomon.models.reward_ensemble import RewardPanel
    from gnomon.models.roles import Model

REQUIRED_PARTS = {"training", "held_out", "prompts"}  # needed to evaluate a reward model on held-out texts


class TrainStage(TrainSettings, Stage):
    """Train one model with one algorithm."""

    key: ClassVar[str] = "algorithm"
    result_type: ClassVar[type[Result]] = TrainResult
    data_keys: ClassVar[tuple[str, ...]] = ("data", "prompts", "sft_mix.data", "stored.data")
    model_keys: ClassVar[tuple[str, ...]] = ("model", "critic", "token_reward", "reward")
    parallel: ClassVar[bool] = True

    @classmethod
    def from_row(cls, row: Mapping[str, Any], recipe: StageRecipe, where: str) -> Self:
        """Validate a recipe's row, completed with the defaults of the recipe and the algorithm.

        Args:
            row: the stage's row in the recipe.
            recipe: the recipe with its default settings; its `stages` are not validated yet.
            where: prefix of error messages.

        Raises:
            ConfigError: a setting is missing, unknown or out of range.
        """
        return validate(cls, completed_row(row, recipe.training, where), where)

    def check(self, recipe: StageRecipe, where: str) -> None:
        """Check the settings of the loop and the algorithm, and that all keys the algorithm needs are given."""
        self.check_training(self.trainable or recipe.model, where)

    def trainings(self) -> Sequence[TrainSettings]:
        """Return the stage itself, its only training."""
        return (self,)

    def as_training(self) -> TrainSettings:
        """Return the stage itself."""
        return self

    def describe(self) -> str:
        """Return the name of the algorithm."""
        return self.algorithm

    def estimate(self, work: Workspace, baseline_bytes: float) -> list[StagePlan]:
        """Estimate memory and time from one trial micro-batch and, for an online algorithm, a few sampled tokens.

        Args:
            work: a temporary run folder.
            baseline_bytes: memory of the process before any model is loaded.
        """
        import torch

        from gnomon.stages.common.load import load_trained
        from gnomon.stages.common.plan import plan_trainings

        torch.manual_seed(work.recipe.seed)
        plans = plan_trainings(self, load_trained(self, work), work, baseline_bytes)
        in_turn = self.ensemble.members if self.ensemble and self.ensemble.kind != "heads" else 1
        return [replace(plan, seconds=in_turn * plan.seconds) for plan in plans]

    def run(self, work: Workspace) -> TrainResult:
        """Train, save `model/`, and return the result."""
        import torch

        from gnomon.stages.common.load import load_trained
        from gnomon.stages.common.model_cards import make_card
        from gnomon.stages.common.reward_models.training import train_reward_model
        from gnomon.stages.common.train_loops import train_offline, train_online
        from gnomon.stages.common.trained import finish, peak_device_memory, peak_memory_gb

        started = time.monotonic()
        torch.manual_seed(work.recipe.seed)
        model = load_trained(self, work)
        model.card = make_card(self, work)
        folder, fits = work.stage_folder(self.name), dict[str, Any]()
        trained: Model | RewardPanel = model
        if self.model_kind() == "reward":
            reward = train_reward_model(self, work, model, folder)
            trained, result = reward.model, reward.result
            fits = {"members": self.ensemble.members} if self.ensemble else {}
            fits |= {"calibration": reward.calibration} if reward.calibration else {}
        else:
            result = (train_online if self.online else train_offline)(self, work, model, folder)
        return TrainResult(
            **finish(self.name, trained, work, started, int(result.steps or 0)),
            algorithm=work.recipe.as_written(self.algorithm),
            model=self.model,
            **result.given(),
            **fits,
            **self._evaluation(trained, work),
            peak_memory_gb=peak_memory_gb(),
            **peak_device_memory(),
        )

    def _evaluation(self, model: Model | RewardPanel, work: Workspace) -> dict[str, RewardModelEvaluation]:
        """Evaluate a reward model on the held-out texts of the stage that made its training data.

        Returns:
            The result's field `evaluation`; empty for a policy, without such texts, and in other processes.
        """
        from gnomon.models.reward_ensemble import RewardPanel
        from gnomon.models.roles import RewardModel
        from gnomon.stages.common.evaluate_reward_model import evaluate_reward_model

        source = next(iter(self.data_sources), "").partition("/")[0]
        source_stage = next((stage for stage in work.recipe.stages if stage.name == source), None)
        has_held_out_data = source_stage is not None and source_stage.parts() >= REQUIRED_PARTS
        if not isinstance(model, RewardModel | RewardPanel) or not has_held_out_data or not work.processes.main:
            return {}
        if isinstance(model, RewardModel) and not model.has_score:
            return {}
        return {"evaluation": evaluate_reward_model(model, self.name, source, work)}
