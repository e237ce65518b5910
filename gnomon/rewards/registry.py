"""Rewards by name: those of the folder `named`, of installed packages, and of files that a recipe names.

A user's reward is a function of prompt and completion (`gnomon.rewards.python_reward`), or a class without
constructor arguments that has a `name` and one of two methods: `score`, as in `gnomon.rewards.reward.Reward`, or
`score_texts`, as in `gnomon.rewards.text_reward.TextJudge`.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from gnomon.core.errors import ConfigError, GnomonError, RunError
from gnomon.core.extensions import Registry, describe_error, exits_as_errors
from gnomon.core.types import Completion, Prompt
from gnomon.rewards.python_reward import make_function_reward
from gnomon.rewards.reward import Reward, Scores
from gnomon.rewards.text_reward import TextReward

METHODS = ("score", "score_texts")


@cache
def own_rewards() -> tuple[str, ...]:
    """The names of Gnomon's own rewards: the files of `gnomon/rewards/named/`."""
    package = importlib.import_module("gnomon.rewards.named")
    return tuple(info.name for info in pkgutil.iter_modules(package.__path__))


def _load_own(name: str) -> Any:
    module = importlib.import_module(f"gnomon.rewards.named.{name}")
    own = [v for v in vars(module).values() if inspect.isclass(v) and v.__module__ == module.__name__]
    assert len(own) == 1, f"{module.__name__} must hold one reward"
    return own[0]


def check_reward(candidate: Any, label: str) -> Any:
    """Return a function or class if it fulfills the contract of rewards.

    Raises:
        ConfigError: the first piece that is missing or wrong.
    """
    if not isinstance(candidate, type):
        if callable(candidate):
            return candidate
        raise ConfigError(f"{label} is neither a class nor a function; name one that scores completions.")
    prefix = f"{label}: the class {candidate.__name__}"
    if not isinstance(getattr(candidate, "name", None), str):
        raise ConfigError(f"{prefix} lacks 'name', a text for metrics and reports; add it.")
    if abstract := sorted(getattr(candidate, "__abstractmethods__", ())):
        raise ConfigError(f"{prefix} lacks the method '{abstract[0]}'; define it as in gnomon/rewards/reward.py.")
    if not any(callable(getattr(candidate, method, None)) for method in METHODS):
        raise ConfigError(f"{prefix} lacks the method 'score' or 'score_texts'; define one of them.")
    parameters = inspect.signature(candidate).parameters.values()
    needed = [
        p.name for p in parameters if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
    ]
    if needed:
        raise ConfigError(
            f"{prefix} is created without arguments, but '{needed[0]}' has no default; give it one."
        )
    return candidate


REWARDS: Registry[Any] = Registry(
    noun="reward",
    group="gnomon.rewards",
    own_names=own_rewards,
    load_own=_load_own,
    check=check_reward,
)


def make_named_reward(loaded: Any, name: str, *, tokenizer: Any = None, timeout: float | None = None) -> Reward:
    """Make a reward of a class or function.

    Args:
        loaded: class or function from `REWARDS`, from a file, or of the calling program.
        name: name in the recipe.
        tokenizer: tokenizer of the completions' ids, for functions that read special tokens.
        timeout: seconds that a call of a function may take; by default as in `make_function_reward`.

    Raises:
        ConfigError: the class cannot be instantiated.
    """
    if not isinstance(loaded, type):
        return make_function_reward(loaded, name.rpartition(":")[2], tokenizer=tokenizer, timeout=timeout)
    check_reward(loaded, f"reward '{name}'")
    try:
        instance = exits_as_errors(loaded)()
    except Exception as error:  # a user's class may raise anything
        problem = f"the class {loaded.__name__} cannot be instantiated ({describe_error(error)})"
        raise ConfigError(f"reward '{name}': {problem}; fix it.") from error
    method = "score" if hasattr(instance, "score") else "score_texts"
    reward = instance if method == "score" else TextReward(instance)
    return (
        reward if name in own_rewards() else CheckedReward(reward, instance.name, f"{loaded.__name__}.{method}")
    )


@dataclass
class CheckedReward:
    """A user's reward whose results are checked.

    Attributes:
        reward: the user's reward.
        name: name of the reward.
        method: name of the called method, for errors.
    """

    reward: Reward
    name: str
    method: str

    def score(self, prompts: Sequence[Prompt], completions: Sequence[Completion]) -> Scores:
        """The reward's scores.

        Raises:
            RunError: it raises an exception, or does not return one score per completion.
        """
        method, count = self.method, len(completions)
        try:
            scores = self.reward.score(prompts, completions)
        except GnomonError:
            raise
        except Exception as error:  # a user's class may raise anything
            raise RunError(f"reward '{self.name}': {method} raised {describe_error(error)}; fix it.") from error
        if not isinstance(scores, Scores):
            raise RunError(
                f"reward '{self.name}': {method} returned {type(scores).__name__}, not Scores; fix it."
            )
        if tuple(scores.values.shape) != (count,):
            shape = list(scores.values.shape)
            raise RunError(
                f"reward '{self.name}': {method} returned values of shape {shape} for {count} completions; "
                "return one for each."
            )
        return scores
