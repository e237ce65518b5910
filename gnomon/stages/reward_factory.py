"""From what a recipe calls a reward to something that scores: the one place."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from gnomon.models.external import open_reward_model
from gnomon.rewards.composite import RewardPart, RuleReward, ShapedReward
from gnomon.rewards.python_reward import RewardFunction, is_function, load_function, make_function_reward
from gnomon.rewards.reward import LearnedReward, Reward
from gnomon.rewards.text_reward import TextReward
from gnomon.rewards.vader import Lexicon
from gnomon.stages.workspace import Workspace

if TYPE_CHECKING:
    from gnomon.models.roles import RewardModel


def make_stage_reward(reward: str | Sequence[RewardPart], work: Workspace, sampled_by: Any) -> Reward:
    """What a stage's `reward` says: one thing, or a weighted sum of parts; `sampled_by` as in `make_reward`."""
    if isinstance(reward, str):
        return make_reward(reward, work, sampled_by)
    return ShapedReward(
        [
            (p, RuleReward(p, sampled_by) if p.of is None else make_reward(p.of, work, sampled_by, p.timeout))
            for p in reward
        ]
    )


def judge_in(reward: Reward, name: str) -> RewardModel | None:
    """The reward model of that name in a stage's reward, if it has one."""
    parts = [one for _, one in reward.parts] if isinstance(reward, ShapedReward) else [reward]
    return next((one.model for one in parts if isinstance(one, LearnedReward) and one.name == name), None)


def make_reward(spec: str, work: Workspace, sampled_by: Any, timeout: float | None = None) -> Reward:
    """A reward of a recipe: a model by stage or path, `path/to/file.py:function`, or `vader`.

    Args:
        spec: what the recipe calls it.
        work: the run.
        sampled_by: the tokenizer whose ids completions will bring.
        timeout: seconds that a call of a function may take; its default where nothing is said.
    """
    return named_reward(
        spec,
        work.functions,
        lambda: open_reward_model(
            work.model(spec), work.compute, seed=work.recipe.seed, chat_template=work.recipe.model.chat_template
        ),
        sampled_by,
        timeout,
    )


def named_reward(
    spec: str,
    functions: Mapping[str, RewardFunction],
    load_model: Callable[[], RewardModel],
    sampled_by: Any,
    timeout: float | None = None,
) -> Reward:
    """The reward that `spec` names.

    Args:
        spec: a reward model, `path/to/file.py:function`, or `vader`.
        functions: of the calling program; one of these stands before a file of the same name.
        load_model: loads the reward model.
        sampled_by: the tokenizer whose ids completions will bring; `None` where they are texts alone.
        timeout: seconds that a call of a function may take; its default where nothing is said.
    """
    if spec == "vader":
        return TextReward(Lexicon())
    if spec in functions or is_function(spec):
        function = functions[spec] if spec in functions else load_function(spec)
        return make_function_reward(function, spec.rpartition(":")[2], tokenizer=sampled_by, timeout=timeout)
    judge = load_model()
    judge.round_weights()
    return LearnedReward(judge, spec, sampled_by=sampled_by)
