"""Make a reward from its name or its parts in a recipe."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from gnomon.core.errors import ConfigError, ModelError
from gnomon.core.types import RatedText
from gnomon.models.settings import Combination, DropoutPasses
from gnomon.rewards.composite import RewardPart, RuleReward, ShapedReward
from gnomon.rewards.encoder_reward import model_reward
from gnomon.rewards.ensemble import models_of
from gnomon.rewards.python_reward import RewardFunction, is_function, load_function
from gnomon.rewards.registry import REWARDS, make_named_reward
from gnomon.rewards.remote_reward import RemoteReward, is_remote
from gnomon.rewards.reward import Reward
from gnomon.rewards.text_reward import TextReward
from gnomon.stages.workspace import Workspace

if TYPE_CHECKING:
    from gnomon.models.encoders.scorer import EncoderScorer
    from gnomon.models.reward_ensemble import RewardPanel
    from gnomon.models.roles import RewardModel


def make_stage_reward(reward: str | Sequence[RewardPart], work: Workspace, sampled_by: Any) -> Reward:
    """Make a stage's reward: a single one, or a weighted sum of parts.

    Args:
        reward: the stage's `reward`.
        work: the run.
        sampled_by: the tokenizer of completions' token ids.
    """
    if isinstance(reward, str):
        return make_reward(reward, work, sampled_by)
    return ShapedReward(
        [
            (
                p,
                _part_of(p, work, sampled_by)
                if p.of is None
                else make_reward(p.of, work, sampled_by, p.timeout, p.combine, p.dropout),
            )
            for p in reward
        ]
    )


def _part_of(part: RewardPart, work: Workspace, sampled_by: Any) -> Reward:
    """Make a part that is a rule, or several reward models."""
    if part.ensemble is None:
        return RuleReward(part, sampled_by)
    return model_reward(load_members(part.ensemble, part.combine or Combination(), work), part.title, sampled_by)


def load_members(names: Sequence[str], combine: Combination, work: Workspace) -> RewardPanel:
    """Load reward models by their names in a recipe, as an ensemble.

    Args:
        names: of stages, or of models of the user's own.
        combine: rule of the ensemble.
        work: the run.

    Raises:
        ModelError: a model cannot be loaded, or is an ensemble itself.
    """
    from gnomon.models.reward_ensemble import EnsembleRecord, RewardEnsemble, RewardPanel

    members = []
    for name in names:
        model = _open(work, name)
        if isinstance(model, RewardEnsemble | RewardPanel):
            raise ModelError(f"'{name}' is an ensemble itself; name its members, or train them in one stage.")
        members.append(model)
    shown = [str(work.recipe.as_written(name)) for name in names]
    return RewardPanel(members, EnsembleRecord(kind="models", names=shown, combine=combine))


def judge_in(reward: Reward, name: str) -> RewardModel | None:
    """The reward model called `name` in a stage's reward, or the trunk of an ensemble of heads; else `None`."""
    for part in parts_of(reward):
        models = models_of(part)
        if part.name == name and len(models) == 1 and models[0].adapter is None:
            return models[0]
    return None


def parts_of(reward: Reward) -> list[Reward]:
    """The rewards that a weighted sum adds up; of any other reward the reward itself."""
    return [one for _, one in reward.parts] if isinstance(reward, ShapedReward) else [reward]


def make_reward(
    spec: str,
    work: Workspace,
    sampled_by: Any,
    timeout: float | None = None,
    combine: Combination | None = None,
    dropout: DropoutPasses | None = None,
) -> Reward:
    """Make a reward of a recipe: a model by stage or path, `path/to/file.py:function`, or `vader`.

    Args:
        spec: its name in the recipe.
        work: the run.
        sampled_by: the tokenizer of completions' token ids.
        timeout: time limit of a function call in seconds; `None` for the default.
        combine: rule by which an ensemble's members are combined; `None` for its own.
        dropout: makes an ensemble of a single model.
    """
    if dropout is not None:
        return _with_dropout(spec, work, sampled_by, combine, dropout)
    return named_reward(
        spec,
        work.functions,
        lambda: _open(work, spec),
        sampled_by,
        timeout,
        combine,
    )


def _with_dropout(
    spec: str, work: Workspace, sampled_by: Any, combine: Combination | None, dropout: DropoutPasses
) -> Reward:
    """Make an ensemble of the passes of one reward model with dropout."""
    from gnomon.models.reward_ensemble import DropoutEnsemble, RewardEnsemble
    from gnomon.models.roles import RewardModel

    model = _open(work, spec)
    if not isinstance(model, RewardModel) or isinstance(model, RewardEnsemble) or model.parts is not None:
        raise ConfigError(f"reward '{spec}': dropout is for a single decoder with one head; remove it.")
    return model_reward(
        DropoutEnsemble(model, dropout, work.recipe.seed, combine or Combination()), spec, sampled_by
    )


def _open(work: Workspace, spec: str) -> RewardModel | EncoderScorer | RewardPanel:
    """Load the reward model that a recipe names."""
    from gnomon.models.encoders.scorer import open_scorer

    recipe = work.recipe
    return open_scorer(work.model(spec), work.compute, seed=recipe.seed, chat_template=recipe.model.chat_template)


def named_reward(
    spec: str,
    functions: Mapping[str, RewardFunction],
    load_model: Callable[[], RewardModel | EncoderScorer | RewardPanel],
    sampled_by: Any,
    timeout: float | None = None,
    combine: Combination | None = None,
) -> Reward:
    """Make the reward that `spec` names.

    Args:
        spec: a reward model, `path/to/file.py:Name` of a function or class, `vader`, a name that an installed
            package provides, or the address of a reward server.
        functions: of the calling program, by name; they take precedence over files.
        load_model: loads the reward model.
        sampled_by: the tokenizer of completions' token ids; `None` where they have only texts.
        timeout: time limit of a function call in seconds; `None` for the default.
        combine: rule by which an ensemble's members are combined; `None` for its own.
    """
    if spec in functions or is_function(spec):
        function = functions[spec] if spec in functions else load_function(spec)
        return make_named_reward(function, spec, tokenizer=sampled_by, timeout=timeout)
    if is_remote(spec):
        return RemoteReward(spec, sampled_by, timeout=timeout)
    if spec in REWARDS.names():
        return make_named_reward(REWARDS.find(spec), spec, tokenizer=sampled_by, timeout=timeout)
    return model_reward(load_model(), spec, sampled_by, combine)


def ridge_reward(rated: Sequence[RatedText]) -> Reward:
    """Fit the reward `ridge` on rated texts: TF-IDF features and a linear model of the mean rating.

    Raises:
        DataError: there are too few texts.
    """
    from gnomon.rewards.tfidf_ridge import TfidfRidge  # scikit-learn takes a second to import

    return TextReward(TfidfRidge.fit([item.text for item in rated], [item.mean for item in rated]))
