"""A hybrid stage: several algorithms in turn on one policy, each for its steps or up to a metric's bound."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Self

from pydantic import Field, model_validator

from gnomon.core.config import Settings, did_you_mean, validate
from gnomon.core.errors import ConfigError
from gnomon.core.progress import console
from gnomon.core.ranges import Finite
from gnomon.core.renamed import METRICS
from gnomon.core.storage.files import read_json, write_json
from gnomon.models.external import open_policy
from gnomon.models.settings import Trainable
from gnomon.stages.common.results import Failure, LoopResult, TrainResult
from gnomon.stages.contract import Result, Stage, StagePlan
from gnomon.stages.references import BASE, Inputs, ModelInput
from gnomon.stages.train_settings import TrainSettings, completed_row
from gnomon.stages.workspace import StageRecipe, Workspace
from gnomon.training.checks import needs_reference
from gnomon.training.online.reward_failures import counts_by_reason
from gnomon.training.outcome import Outcome
from gnomon.training.settings import OnlineSettings

if TYPE_CHECKING:
    from torch import Tensor

    from gnomon.models.roles import Policy


class Until(Settings):
    """A condition that ends a phase before its last step.

    Attributes:
        metric: a name from the training metrics.
        above: end when the metric exceeds this.
        below: end when the metric falls below this.
    """

    metric: str
    above: Finite | None = None
    below: Finite | None = None

    @model_validator(mode="after")
    def _has_a_bound(self) -> Until:
        if self.above is None and self.below is None:
            raise ValueError("until has a metric, and above or below")
        return self

    def reached(self, metrics: Mapping[str, float]) -> bool:
        """Whether the metric has passed its bound."""
        value = metrics.get(self.metric)
        if value is None:
            return False
        over = self.above is not None and value > self.above
        return over or (self.below is not None and value < self.below)


class Phase(TrainSettings):
    """A part of a hybrid stage: an algorithm on the stage's one policy.

    Attributes:
        until: ends the phase early when a metric passes a bound.
    """

    until: Until | None = None


class HybridStage(Stage):
    """Several algorithms in turn on one policy, for example DPO to warm up, PPO in the main part, IPO to settle.

    All phases share the policy and its reference, which is the model that the stage starts from. Each phase has
    its own optimizer, without the moments of the previous loss.

    Attributes:
        model: what the stage starts from.
        trainable: which weights are trained; the default is that of the recipe's `model`.
        phases: in order.
    """

    key: ClassVar[str] = "phases"
    result_type: ClassVar[type[Result]] = TrainResult
    model_keys: ClassVar[tuple[str, ...]] = ("model",)
    nested_keys: ClassVar[tuple[str, ...]] = ("phases",)
    parallel: ClassVar[bool] = True
    model: str = BASE
    trainable: Trainable | None = None
    phases: list[Any] = Field(min_length=1)

    @classmethod
    def from_row(cls, row: Mapping[str, Any], recipe: StageRecipe, where: str) -> Self:
        """Validate a recipe's row, and each phase as a training stage.

        Args:
            row: of the recipe.
            recipe: with the defaults; its stages are not read yet.
            where: prefix of error messages.

        Raises:
            ConfigError: a setting of the stage or of a phase is missing, unknown or out of range.
        """
        stage = validate(cls, row, where)
        phases = []
        for number, content in enumerate(stage.phases, start=1):
            phase_where = f"{where}, phase {number}"
            if not isinstance(content, dict):
                raise ConfigError(f"{phase_where}: a phase is a mapping with the key algorithm.")
            if "model" in content or "trainable" in content:
                raise ConfigError(
                    f"{phase_where}: model and trainable belong to the stage, not to a phase; move them."
                )
            named = {"name": f"phase-{number}", **content, "model": stage.model}
            phase = validate(Phase, completed_row(named, recipe.training, phase_where), phase_where)
            phase.check_training(stage.trainable or recipe.model, phase_where)
            if phase.model_kind() != "policy":
                raise ConfigError(
                    f"{phase_where}: {phase.algorithm} trains no policy; give it a stage of its own."
                )
            phases.append(phase)
        if len({phase.name for phase in phases}) < len(phases):
            raise ConfigError(f"{where}: two phases have one name; rename one of them.")
        return stage.model_copy(update={"phases": phases})

    def inputs(self) -> Inputs:
        """The model that the stage starts from, and the models and data of its phases."""
        inside = [phase.inputs() for phase in self.phases]
        models = [ModelInput("model", self.model), *(model for one in inside for model in one.models)]
        return Inputs(
            tuple(dict.fromkeys(models)),
            tuple(data for one in inside for data in one.data),
            tuple(name for one in inside for name in one.scorers),
        )

    def model_kind(self) -> str:
        """A policy."""
        return "policy"

    def saved_critic(self) -> str | None:
        """The path in a run of the last phase's critic; `None` where no phase has one."""
        inside = [path for phase in self.phases if (path := phase.saved_critic())]
        return f"{self.name}/{inside[-1]}" if inside else None

    def trainings(self) -> Sequence[TrainSettings]:
        """The phases."""
        return tuple(self.phases)

    def describe(self) -> str:
        """The phases' algorithms."""
        return f"phases: {', '.join(phase.algorithm for phase in self.phases)}"

    def row(self) -> dict[str, Any]:
        """The stage as a row of a recipe, with every setting of the phases' loops."""
        phases = [{key: value for key, value in phase.row().items() if key != "model"} for phase in self.phases]
        return super().row() | {"phases": phases}

    def semantic_settings(self) -> dict[str, Any]:
        """The settings with defaults, without those that change no result."""
        return super().semantic_settings() | {"phases": [phase.semantic_settings() for phase in self.phases]}

    def estimate(self, work: Workspace, baseline_bytes: float) -> list[StagePlan]:
        """Try each phase as a training stage."""
        import torch

        from gnomon.stages.common.plan import plan_trainings

        torch.manual_seed(work.recipe.seed)
        return plan_trainings(self, self._load(work), work, baseline_bytes)

    def run(self, work: Workspace) -> TrainResult:
        """Run every unfinished phase, save `model/`, and return the result."""
        import torch

        from gnomon.stages.common.model_cards import make_card
        from gnomon.stages.common.trained import finish, peak_device_memory, peak_memory_gb

        started = time.monotonic()
        torch.manual_seed(work.recipe.seed)
        policy = self._load(work)
        policy.card = make_card(self, work)
        needs_one = any(_reads_reference(phase) for phase in self.phases)
        reference = policy.reference_weights() if needs_one and not policy.adapter else None
        phases = {phase.name: self._run_phase(phase, work, policy, reference) for phase in self.phases}
        failures = [row.content() for result in phases.values() for row in result.reward_failures]
        steps = sum(int(result.steps or 0) for result in phases.values())
        return TrainResult(
            **finish(self.name, policy, work, started, steps),
            algorithm=" → ".join(work.recipe.as_written(phase.algorithm) for phase in self.phases),
            model=self.model,
            phases=phases,
            final=phases[self.phases[-1].name].final,
            steps=steps,
            learning=_learning([result.learning for result in phases.values()]),
            reward_failures=[Failure(**row) for row in counts_by_reason(failures)],
            peak_memory_gb=peak_memory_gb(),
            **peak_device_memory(),
        )

    def _load(self, work: Workspace) -> Policy:
        """The policy that the phases train, with its trainable weights set."""
        return open_policy(
            work.model(self.model),
            work.compute,
            self.trainable or work.recipe.model,
            chat_template=work.recipe.model.chat_template,
        )

    def _run_phase(
        self, phase: Phase, work: Workspace, policy: Policy, reference: dict[str, Tensor] | None
    ) -> LoopResult:
        """Run one phase, or load the saved weights and result of a finished one."""
        import torch
        from safetensors.torch import load_file, save_file

        from gnomon.stages.common.train_loops import train_offline, train_online
        from gnomon.training.runtime.checkpoints import remove_checkpoints

        folder = work.stage_folder(self.name) / phase.name
        weights_path, result_path = folder / "weights.safetensors", folder / "result.json"
        if result_path.exists():
            with torch.no_grad():
                for name, weight in load_file(weights_path).items():
                    policy.trainable()[name].copy_(weight)
            return LoopResult.model_validate(read_json(result_path))
        console.print(f"  {phase.name}: {phase.algorithm}")

        def should_stop(_: int, metrics: Mapping[str, float]) -> bool:
            if phase.until is None:
                return False
            check_known(phase, phase.until.metric, metrics)
            return phase.until.reached(metrics)

        train = train_online if phase.online else train_offline
        result = train(phase, work, policy, folder, reference=reference, stop_condition=should_stop)
        if work.processes.main:
            weights = {name: p.detach().cpu().contiguous() for name, p in policy.trainable().items()}
            save_file(weights, weights_path)
            write_json(result_path, result.content())
            remove_checkpoints(folder / "checkpoints")
        work.processes.barrier()
        return result


def _reads_reference(phase: Phase) -> bool:
    """Whether the phase needs the stage's starting model as its reference."""
    algorithm, settings = phase.built_algorithm, phase.loop
    if isinstance(settings, OnlineSettings):
        return needs_reference(algorithm, settings)
    return "reference" in algorithm.needs


def _learning(phases: Sequence[Outcome]) -> Outcome:
    """The learning summary of the first phase that learned nothing, else an empty one."""
    return next((summary for summary in phases if summary.nothing), Outcome(nothing=""))


def check_known(phase: Phase, name: str, metrics: Mapping[str, float]) -> None:
    """Refuse a phase whose `until` names a metric that is not recorded.

    Validation metrics, and those of an update after a round without signal, may come later than the first step.

    Args:
        phase: with its `until` and its loop settings.
        name: of the metric.
        metrics: of a step.
    """
    may_come_later = name.startswith("validation_") and getattr(phase.loop, "validation", None) is not None
    validated = any(key.startswith("validation_") for key in metrics)
    if name not in metrics and not metrics.get("skipped_updates") and (validated or not may_come_later):
        hint = did_you_mean(name, metrics, METRICS)
        raise ConfigError(f"phase '{phase.name}': until.metric is '{name}', unknown here; {hint}")
