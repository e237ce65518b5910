"""From what a recipe calls a reward to something that scores: the one place."""

from __future__ import annotations

from gnomon.app.outside import open_reward_model
from gnomon.app.workspace import Workspace
from gnomon.rewards.lexicon import Lexicon
from gnomon.rewards.reward import LearnedReward, Reward
from gnomon.rewards.text_judge import TextReward
from gnomon.rewards.user_function import is_function, load_function, make_function_reward


def make_reward(spec: str, work: Workspace) -> Reward:
    """A reward model by stage or path, `path/to/file.py:function`, or `vader`.

    A function that the caller of `run_recipe` handed over stands before a file of the same name.
    """
    if spec == "vader":
        return TextReward(Lexicon())
    if spec in work.functions or is_function(spec):
        function = work.functions[spec] if spec in work.functions else load_function(spec)
        return make_function_reward(function, spec.rpartition(":")[2])
    return LearnedReward(open_reward_model(work.model(spec), work.compute, seed=work.recipe.seed), spec)
