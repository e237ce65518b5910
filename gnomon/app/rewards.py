"""From what a recipe calls a reward to something that scores: the one place."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from gnomon.app.outside import open_reward_model
from gnomon.app.workspace import Workspace
from gnomon.models.policy import RewardModel
from gnomon.rewards.lexicon import Lexicon
from gnomon.rewards.reward import LearnedReward, Reward
from gnomon.rewards.shaping import RewardPart, RuleReward, ShapedReward
from gnomon.rewards.text_judge import TextReward
from gnomon.rewards.user_function import RewardFunction, is_function, load_function, make_function_reward


def make_stage_reward(reward: str | Sequence[RewardPart], work: Workspace) -> Reward:
    """What a stage's `reward` says: one thing, or a weighted sum of parts."""
    if isinstance(reward, str):
        return make_reward(reward, work)
    return ShapedReward([(p, RuleReward(p) if p.of is None else make_reward(p.of, work)) for p in reward])


def make_reward(spec: str, work: Workspace) -> Reward:
    """A reward of a recipe: a model by stage or path, `path/to/file.py:function`, or `vader`."""
    return named_reward(
        spec,
        work.functions,
        lambda: open_reward_model(
            work.model(spec), work.compute, seed=work.recipe.seed, chat_template=work.recipe.model.chat_template
        ),
    )


def named_reward(
    spec: str, functions: Mapping[str, RewardFunction], load_model: Callable[[], RewardModel]
) -> Reward:
    """The reward that `spec` names; a function in `functions` stands before a file of the same name."""
    if spec == "vader":
        return TextReward(Lexicon())
    if spec in functions or is_function(spec):
        function = functions[spec] if spec in functions else load_function(spec)
        return make_function_reward(function, spec.rpartition(":")[2])
    return LearnedReward(load_model(), spec)
