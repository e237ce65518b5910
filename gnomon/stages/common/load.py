"""Load the models of a training stage: the trained one, and reward, critic and token reward."""

from __future__ import annotations

from dataclasses import dataclass

from gnomon.core.errors import ModelError
from gnomon.data.templates.tokenizer_compat import same_vocabulary
from gnomon.models.external import open_policy
from gnomon.models.loading import load_critic, load_reward_model
from gnomon.models.reward_ensemble import RewardEnsemble
from gnomon.models.roles import Critic, Model, Policy
from gnomon.models.settings import FROZEN
from gnomon.rewards.reward import Reward
from gnomon.stages.common.model_cards import critic_card
from gnomon.stages.common.reward_factory import judge_in, make_stage_reward
from gnomon.stages.train_settings import TrainSettings
from gnomon.stages.workspace import Workspace


def load_trained(stage: TrainSettings, work: Workspace, seed: int | None = None) -> Model:
    """Load the model that the stage trains, with its trainable weights set.

    Args:
        stage: the stage.
        work: the run.
        seed: of a reward model's new head; `None` for the recipe's.
    """
    source, template = work.model(stage.model), work.recipe.model.chat_template
    trainable = stage.trainable or work.recipe.model
    if stage.model_kind() != "reward":
        return open_policy(source, work.compute, trainable, chat_template=template)
    parts = getattr(stage.built_algorithm, "parts", None)  # an algorithm from outside need not have any
    if trainable == FROZEN:  # of a model that is only used, nothing learns; in a stage its head does
        trainable = trainable.model_copy(update={"adapter": "lora"})
    model = load_reward_model(
        source,
        work.compute,
        trainable,
        seed=work.recipe.seed if seed is None else seed,
        num_layers=stage.num_layers,
        chat_template=template,
        head=stage.head,
        parts=parts() if parts else None,
    )
    if isinstance(model, RewardEnsemble):
        raise ModelError(
            f"stage '{stage.name}': model '{stage.model}' is an ensemble, which is not trained further; start "
            "from a single reward model or a language model."
        )
    return model


@dataclass(frozen=True)
class AuxiliaryModels:
    """The models of an online stage besides its policy."""

    reward: Reward
    critic: Critic | None = None
    token_reward: Policy | None = None


def load_auxiliary_models(stage: TrainSettings, work: Workspace, policy: Model) -> AuxiliaryModels:
    """Load the reward, and the critic and token reward where the algorithm needs them.

    A critic with a frozen trunk shares it with the reward model that it starts from.

    Args:
        stage: an online training stage.
        work: the run.
        policy: the trained model, whose vocabulary the others must have.
    """
    assert stage.reward is not None
    seed, compute, template = work.recipe.seed, work.compute, work.recipe.model.chat_template
    reward = make_stage_reward(stage.reward, work, policy.tokenizer)
    critic = token_reward = None
    if "critic" in stage.built_algorithm.needs:
        trainable = stage.trainable or work.recipe.model
        learning = trainable.model_copy(update={"layers": stage.critic_trainable_layers})
        source = work.model(stage.critic_model)
        critic = load_critic(source, compute, learning, seed=seed, chat_template=template, head=stage.head)
        require_vocabulary(stage, "critic", stage.critic_model, critic, policy)
        critic.card = critic_card(policy.card, stage.critic_model, work)
        critic.checkpoint_gradients(stage.loop.gradient_checkpointing)
        if critic.frozen_trunk and (judge := judge_in(reward, stage.critic_model)):
            critic.share_trunk(judge)
    if stage.token_reward is not None:
        token_reward = open_policy(work.model(stage.token_reward), compute, chat_template=template)
        require_vocabulary(stage, "token_reward", stage.token_reward, token_reward, policy)
    return AuxiliaryModels(reward, critic, token_reward)


def require_vocabulary(stage: TrainSettings, key: str, name: str, model: Model, policy: Model) -> None:
    """Refuse a model with another vocabulary than the policy.

    Args:
        stage: for the error.
        key: of the stage, which names the model.
        name: of the model.
        model: loaded.
        policy: the trained model.

    Raises:
        ModelError: the vocabularies differ.
    """
    if not same_vocabulary(model.tokenizer, policy.tokenizer):
        raise ModelError(
            f"stage '{stage.name}': {key} '{name}' has another vocabulary than '{stage.model}', whose tokens it "
            f"reads; set {key} to a model of the same vocabulary."
        )
