"""Settings of one algorithm with its models, data and loop: a training stage, or a phase of a hybrid stage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from gnomon.algorithms.registry import ALGORITHMS, consumed_kinds, find_algorithm
from gnomon.core.config import Settings, merge_deep, validate
from gnomon.core.errors import ConfigError
from gnomon.core.experience import Experience
from gnomon.core.ranges import Range
from gnomon.core.types import Demonstration, Prompt
from gnomon.models.settings import FITTED, Combination, Combine, EnsembleKind, HeadSettings, Trainable
from gnomon.rewards.composite import RewardPart, check_titles
from gnomon.rollouts.sampling_params import Sampling
from gnomon.stages.references import BASE, CRITIC, DataInput, Inputs, ModelInput, Name, is_not_a_model
from gnomon.training.checks import reuse_incompatibility, sampling_incompatibility
from gnomon.training.settings import NON_SEMANTIC_SETTINGS, OfflineSettings, OnlineSettings

Weight = Annotated[float, Range("what weighs nothing is better left out", gt=0, le=1e6)]
CRITIC_KEYS = {"critic", "critic_trainable_layers", "head"}  # keys that only a stage with a critic may have
LEARNING_KEYS = CRITIC_KEYS | {"data", "prompts", "reward", "token_reward", "sampling", "stored", "num_layers"}
LEARNING_KEYS |= {"ensemble", "calibration"}
GROUP = 4  # default completions per prompt for algorithms that compare them


class SFTMix(Settings):
    """An SFT term beside the loss.

    Attributes:
        data: demonstrations.
        weight: of the mean negative log-likelihood of a token.
        batch_size: demonstrations per optimizer step.
    """

    data: str
    weight: Weight = 0.1
    batch_size: Annotated[int, Range("a step sees demonstrations", ge=1, le=10**9)] = 8


class StoredSettings(Settings):
    """Stored completions, written by others, as members of a round's groups.

    Attributes:
        data: demonstrations; their prompts must be among the stage's prompts.
        share: share of each group's completions taken from the data.
    """

    data: str
    share: Annotated[float, Range("it is a share of a group, and the policy writes the rest", gt=0, lt=1)] = 0.25


class EnsembleSettings(Settings):
    """Train several reward models in place of one, so that their disagreement shows what they do not know.

    Attributes:
        members: number of models.
        kind: `heads`: on one trunk, which learns from all of them, in one pass for all; `adapters`: LoRA adapters
            with heads, one after the other on one frozen trunk; `models`: separate models, one after the other.
        bagging: each member has its own bootstrap of the prompts (Poisson weights), besides its own seed.
        combine: how the members' scores become one: a rule, `mean - 1.0 * std`, or a mapping.
    """

    members: Annotated[
        int, Range("one member has no other to disagree with; for one, leave ensemble out", ge=2, le=1000)
    ] = 5
    kind: EnsembleKind = "heads"
    bagging: bool = True
    combine: Combine = Combination()

    @model_validator(mode="after")
    def _combines_as_many(self) -> EnsembleSettings:
        if self.combine.weights is not None and len(self.combine.weights) != self.members:
            raise ValueError(f"combine has {self.combine.misfit(self.members)}")
        return self


class CalibrationSettings(Settings):
    """Fit probabilities of preference on pairs of prompts that are held out from training.

    Attributes:
        method: `temperature`: p = σ(Δ/T); `isotonic`: any map of Δ that does not decrease; `none`: only measure.
        share: share of the prompts that is held out; the map is fitted on half of them and measured on the rest.
    """

    method: Literal["temperature", "isotonic", "none"] = "temperature"
    share: Annotated[float, Range("some prompts are held out and some trained on", gt=0, lt=1)] = 0.2


class TrainSettings(Settings):
    """Train one model with one algorithm: a training stage, or a phase of a hybrid stage.

    Attributes:
        algorithm: a file of `gnomon/algorithms/`, `path/to/file.py:Class`, or a name that an installed package
            provides.
        model: an earlier stage, `base`, or a model of your own: a folder, GGUF file, catalog or hub name.
        data: for offline algorithms: `<stage>/<part>` of a feedback stage, or a JSON-lines file.
        prompts: for online algorithms, likewise.
        reward: for online algorithms: a reward model (an earlier stage, or one of your own),
            `path/to/file.py:Name` of a function or class, `vader`, a name that an installed package provides, or
            the address of a reward server.
        critic: the model that the critic starts from, or `<stage>/critic`, the trained critic of an earlier
            stage; the default is the reward model, or the policy where the reward is not a model.
        critic_trainable_layers: number of upper layers of the critic that are trained; 0 trains its head alone.
        num_layers: for reward models: keep only this many of the lower layers.
        head: the shape of a reward model's new head, or of an online algorithm's critic.
        ensemble: for reward models: train several, whose disagreement is their uncertainty.
        calibration: for reward models: fit probabilities on held-out prompts, which are not trained on.
        settings: the algorithm's own settings.
        trainable: which weights are trained; the default is that of the recipe's `model`.
        training: the loop's settings.
        stored: stored completions that join the policy's own in an online algorithm's groups.
        sampling: sampling settings of an online algorithm.
    """

    name: Name
    algorithm: str
    model: str = BASE
    data: str | dict[str, Weight] | None = None
    prompts: str | dict[str, Weight] | None = None
    reward: str | list[RewardPart] | None = None
    token_reward: str | None = None
    sft_mix: SFTMix | None = None
    stored: StoredSettings | None = None
    critic: str | None = None
    critic_trainable_layers: Annotated[
        int, Range("it counts layers; 0 trains the head alone", ge=0, le=10**4)
    ] = 0
    num_layers: Annotated[int, Range("a model keeps at least one layer", ge=1, le=10**4)] | None = None
    head: HeadSettings = HeadSettings()
    ensemble: EnsembleSettings | None = None
    calibration: CalibrationSettings | None = None
    settings: dict[str, Any] = Field(default_factory=dict)
    trainable: Trainable | None = None
    training: dict[str, Any] = Field(default_factory=dict)
    sampling: Sampling = Sampling()

    @field_validator("reward", mode="before")
    @classmethod
    def _parts(cls, value: Any) -> Any:
        """Validate each part by itself, for an error about it; a mapping is the only part."""
        parts = [value] if isinstance(value, dict) else value
        if not isinstance(parts, list):
            return value
        try:
            return [validate(RewardPart, part, "part") if isinstance(part, dict) else part for part in parts]
        except ConfigError as error:
            raise ValueError(str(error).removeprefix("part: ").removeprefix("value: ")) from None

    @cached_property
    def loop(self) -> OfflineSettings | OnlineSettings:
        """The validated settings of the algorithm's training loop."""
        own = merge_deep(find_algorithm(self.algorithm).loop_defaults, self.training)
        return validate(loop_of(self.algorithm), own, f"stage '{self.name}', training")

    @property
    def critic_model(self) -> str:
        """The model that the critic starts from."""
        learned = [spec for spec in self.rewards if not is_not_a_model(spec)]
        return self.critic or (learned[0] if learned else self.model)

    @property
    def rewards(self) -> list[str]:
        """The names of the rewards, without rules."""
        if isinstance(self.reward, str):
            return [self.reward]
        parts: list[Sequence[str | None]] = [part.ensemble or [part.of] for part in self.reward or []]
        return [name for names in parts for name in names if name is not None]

    @property
    def prompt_sources(self) -> dict[str, float]:
        """Each source of prompts → its weight."""
        return {self.prompts: 1.0} if isinstance(self.prompts, str) else dict(self.prompts or {})

    @property
    def data_sources(self) -> dict[str, float]:
        """Each source of data → its weight."""
        return {self.data: 1.0} if isinstance(self.data, str) else dict(self.data or {})

    @property
    def online(self) -> bool:
        """Whether the algorithm trains on its own samples."""
        return loop_of(self.algorithm) is OnlineSettings

    @cached_property
    def built_algorithm(self) -> Any:
        """The algorithm with its validated settings."""
        return validate(find_algorithm(self.algorithm), self.settings, f"stage '{self.name}', settings")

    def inputs(self) -> Inputs:
        """The models and data that the settings name."""
        start = ("policy", "reward") if self.model_kind() == "reward" else ("policy",)
        models = [ModelInput("model", self.model, start)]
        models += [ModelInput("reward", name, ("reward",)) for name in self.rewards if not is_not_a_model(name)]
        if self.critic is not None:
            models.append(ModelInput("critic", self.critic, ("policy", "reward", "critic")))
        if self.token_reward is not None:
            models.append(ModelInput("token_reward", self.token_reward, start))
        data = [DataInput(source, consumed_kinds(self.built_algorithm)) for source in self.data_sources]
        prompts = [DataInput(source, (Prompt,)) for source in self.prompt_sources]
        texts = [DataInput(part.data, (Demonstration,)) for part in (self.sft_mix, self.stored) if part]
        return Inputs(tuple(models), (*data, *prompts, *texts), tuple(self.rewards))

    def model_kind(self) -> str:
        """The kind of model that the algorithm trains: `policy` or `reward`."""
        return str(find_algorithm(self.algorithm).trains)

    def saved_critic(self) -> str | None:
        """The path of the trained critic, in the folder around the stage's or phase's; `None` without one."""
        return f"{self.name}/{CRITIC}" if "critic" in self.built_algorithm.needs else None

    def semantic_settings(self) -> dict[str, Any]:
        """The settings with defaults, without those that change no result."""
        return {**self.model_dump(), "training": self.loop.model_dump(exclude=set(NON_SEMANTIC_SETTINGS))}

    def row(self) -> dict[str, Any]:
        """The settings as a row of a recipe, with every setting of the loop."""
        return self.model_dump(mode="json", exclude_none=True) | {"training": self.loop.model_dump(mode="json")}

    def algorithm_from_outside(self) -> dict[str, dict[str, str]]:
        """The algorithm, if it is not one of Gnomon's own: what is recorded of it, by its name."""
        if not ALGORITHMS.is_outside(self.algorithm):
            return {}
        kind, digest = find_algorithm(self.algorithm), ALGORITHMS.digest(self.algorithm)
        return {self.algorithm: {"digest": digest, "consumes": kind.consumes.__name__, "trains": kind.trains}}

    def check_training(self, trainable: Trainable, where: str) -> None:
        """Check the settings of loop and algorithm, and that the keys are those that the algorithm needs.

        Args:
            trainable: which weights are trained.
            where: prefix of error messages.

        Raises:
            ConfigError: a key is missing or has no use, or settings contradict each other.
        """
        algorithm = self.built_algorithm
        required = {"prompts", "reward"} if self.online else {"data"}
        required |= {"token_reward"} & algorithm.needs
        for key in sorted(required):
            if getattr(self, key) is None:
                raise ConfigError(f"{where}: {self.algorithm} needs the key '{key}'.")
        for key in sorted(LEARNING_KEYS - required - self._optional_keys(algorithm)):
            if getattr(self, key) != TrainSettings.model_fields[key].get_default():
                raise ConfigError(f"{where}: {self.algorithm} has no use for the key '{key}'; remove it.")
        if self.sft_mix is not None and algorithm.trains != "policy":
            raise ConfigError(f"{where}: {self.algorithm} trains no policy; remove 'sft_mix'.")
        self._check_ensemble(trainable, where)
        self._check_online(algorithm, where)
        if trainable.layers == 0 and self.model_kind() == "policy":  # a reward model and a critic have heads
            raise ConfigError(
                f"{where}: layers is 0, so nothing of the policy would be trained; set it to 1 or more."
            )

    def _check_ensemble(self, trainable: Trainable, where: str) -> None:
        """Check that the ensemble's kind suits the trainable weights, and that its rule can be fitted."""
        if self.ensemble is None:
            return
        if self.ensemble.kind == "adapters" and (trainable.adapter == "none" or trainable.layers == 0):
            raise ConfigError(
                f"{where}: ensemble.kind is adapters, but no adapter is trained; set adapter: lora with layers "
                "of at least 1, or kind to heads."
            )
        parts = getattr(self.built_algorithm, "parts", None)
        if self.ensemble.kind != "models" and parts is not None and not parts().empty:
            raise ConfigError(
                f"{where}: {self.algorithm} learns more than one score here, which members on one trunk do not "
                "have; set ensemble.kind to models."
            )
        if self.ensemble.combine.rule in FITTED and self.calibration is None:
            raise ConfigError(
                f"{where}: ensemble.combine is {self.ensemble.combine.rule}, which is fitted on held-out pairs; "
                "add calibration: {share: 0.2}."
            )

    def _check_online(self, algorithm: Any, where: str) -> None:
        """Check the settings of sampling, rewards and the loop of an online algorithm."""
        loop = self.loop
        if self.online and (incompatibility := sampling_incompatibility(algorithm, self.sampling)):
            raise ConfigError(f"{where}: {self.algorithm}: {incompatibility}")
        if isinstance(loop, OnlineSettings) and (incompatibility := reuse_incompatibility(algorithm, loop)):
            raise ConfigError(f"{where}: {incompatibility}")
        if isinstance(loop, OnlineSettings) and self._own_completions(loop) < 1:
            raise ConfigError(
                f"{where}: of {self.sampling.completions} completions, stored ones and the reference's leave "
                "none to the policy; lower their shares or raise sampling.completions."
            )
        if isinstance(self.reward, list):
            try:
                check_titles(self.reward)
            except ConfigError as error:
                raise ConfigError(f"{where}: {error}") from None
        if isinstance(loop, OnlineSettings) and loop.kl.placement == "loss" and not algorithm.supports_kl_loss:
            raise ConfigError(
                f"{where}: training.kl.placement is loss, but the loss of {self.algorithm} has no KL term; "
                "set it to reward."
            )

    def _own_completions(self, loop: OnlineSettings) -> int:
        """Number of completions of a group that the policy samples itself."""
        shares = (loop.exploration.reference_share, self.stored.share if self.stored else 0.0)
        return self.sampling.completions - sum(round(share * self.sampling.completions) for share in shares)

    def _optional_keys(self, algorithm: Any) -> set[str]:
        """The optional keys of the algorithm."""
        if algorithm.trains == "reward":
            return {"num_layers", "head", "ensemble", "calibration"}
        if not self.online:
            return set()
        return {"sampling", "stored"} | (CRITIC_KEYS if "critic" in algorithm.needs else set())


def loop_of(algorithm: str) -> type[OfflineSettings] | type[OnlineSettings]:
    """The settings class of an algorithm's training loop."""
    return OnlineSettings if find_algorithm(algorithm).consumes is Experience else OfflineSettings


def loop_keys(row: Mapping[str, Any]) -> set[str]:
    """The keys that the `training` of a recipe's row may have; none without a known algorithm."""
    algorithm = row.get("algorithm")
    with suppress(ConfigError):  # one that cannot be loaded is refused where its stage is read
        return set(loop_of(algorithm).model_fields) if isinstance(algorithm, str) else set()
    return set()


def completed_row(row: Mapping[str, Any], training: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Complete a training stage's or phase's row with defaults of the recipe and the algorithm.

    Args:
        row: of the recipe.
        training: the recipe's loop settings of every training stage; those that the loop lacks are left out.
        where: prefix of error messages.

    Raises:
        ConfigError: the algorithm is unknown or cannot be loaded, or `training` is no mapping.
    """
    try:
        group: int = find_algorithm(str(row.get("algorithm"))).min_group_size
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from error
    own = row.get("training") or {}
    if not isinstance(own, dict):
        raise ConfigError(f"{where}: training is not a mapping; give keys below it, such as epochs: 1.")
    shared = {key: value for key, value in training.items() if key in loop_keys(row)}
    completed = {**row, "training": {**shared, **own}}
    sampling = row.get("sampling") or {}
    if group > 1 and isinstance(sampling, dict) and "completions" not in sampling:
        completed["sampling"] = {"completions": GROUP, **sampling}
    return completed
