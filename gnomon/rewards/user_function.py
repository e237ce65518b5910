"""A user's own Python function as a reward: `path/to/file.py:function` in a recipe, or the function itself.

The function takes a prompt (the text of the last user message) and a completion, both texts, and gives a number;
higher is better. One whose two parameters are called `prompts` and `completions` takes lists of texts and gives
as many numbers: for rewards that are cheaper in batches.
"""

from __future__ import annotations

import hashlib
import importlib.util
import inspect
import math
import re
import sys
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from gnomon.core.config import nearest
from gnomon.core.errors import ConfigError
from gnomon.core.run_folder import digest_file
from gnomon.core.types import Completion, Prompt
from gnomon.rewards.reward import FunctionReward, Numbers, PlainReward, Reward, said

RewardFunction = Callable[..., Any]  # (str, str) -> float, or (list[str], list[str]) -> a sequence of floats
_SPEC = re.compile(r"(?P<file>.+\.py):(?P<function>[^:/\\]+)")


def is_function(spec: str) -> bool:
    """Whether a recipe's `reward` names a function in a file."""
    return _SPEC.fullmatch(spec) is not None


def function_file(spec: str) -> Path:
    """The file of `file.py:function`."""
    found = _SPEC.fullmatch(spec)
    assert found is not None
    path = Path(found["file"]).expanduser()
    if not path.is_file():
        raise ConfigError(f"reward '{spec}': there is no file {path}; give path/to/file.py:function.")
    return path


def load_function(spec: str) -> RewardFunction:
    """Run the file of `file.py:function` and take the function from it.

    Its folder stands first among the places of imports meanwhile, as it does for `python file.py`.
    """
    path, name = function_file(spec), spec.rpartition(":")[2]
    module_name = f"gnomon_reward_{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:12]}"
    found = importlib.util.spec_from_file_location(module_name, path)
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    sys.modules[module_name] = module  # dataclasses and type hints of the file look it up there
    sys.path.insert(0, str(path.resolve().parent))
    try:
        contained(found.loader.exec_module)(module)
    except Exception as error:  # a user's file may raise anything
        raise ConfigError(f"reward '{spec}': {path} cannot be run ({said(error)}); mend the file.") from error
    finally:
        sys.path.remove(str(path.resolve().parent))
    function = getattr(module, name, None)
    if not callable(function):
        known = [n for n, v in vars(module).items() if inspect.isfunction(v) and v.__module__ == module_name]
        raise ConfigError(f"reward '{spec}': {path} has no function '{name}'; {nearest(name, known)}")
    return function  # type: ignore[no-any-return]


def spec_of(function: RewardFunction) -> str:
    """What a recipe calls a function: `file.py:name` if it stands at the top of a file, else `python:name`."""
    if (path := _source(function)) is not None:
        return f"{path}:{function.__name__}"
    return f"python:{getattr(function, '__name__', type(function).__name__)}"


def function_digest(spec: str) -> str:
    """A digest of the function's whole file; of a function without one, a value that never comes again.

    What a closure or an object holds cannot be seen from outside, so a result made with it is not used twice.
    """
    return digest_file(function_file(spec)) if is_function(spec) else uuid.uuid4().hex


def make_function_reward(function: RewardFunction, name: str) -> Reward:
    """The function as a reward; a row on which it raises, or gives no number, becomes a failure."""
    try:
        parameters = list(inspect.signature(function).parameters)
    except (TypeError, ValueError):  # some built-in callables have no signature
        parameters = []
    function = contained(function)
    if parameters[:2] == ["prompts", "completions"]:
        return BatchFunctionReward(function, name)
    return FunctionReward(lambda prompt, text: function(last_request(prompt), text), name)


def contained(function: RewardFunction) -> RewardFunction:
    """The function, whose `sys.exit` and other exceptions that are no `Exception` do not end this program."""

    def call(*arguments: Any) -> Any:
        try:
            return function(*arguments)
        except (Exception, KeyboardInterrupt):
            raise
        except BaseException as error:
            raise RuntimeError(said(error)) from error

    return call


def last_request(prompt: Prompt) -> str:
    """The text of the last user message; of the last message where no user speaks."""
    said = [m.content for m in prompt.messages if m.role == "user"]
    return said[-1] if said else prompt.messages[-1].content


class BatchFunctionReward(PlainReward):
    """A function of all prompts and completions at once."""

    def __init__(self, function: RewardFunction, name: str):
        self.function = function
        self.name = name

    def numbers(self, prompts: Sequence[Prompt], completions: Sequence[Completion]) -> Numbers:
        """The function's values; if it raises, or gives another number of them, every row failed."""
        count = len(completions)
        try:
            found = self.function([last_request(p) for p in prompts], [c.text for c in completions])
            values = [float(value) for value in found]
            if len(values) != count:
                raise ValueError(f"{len(values)} values for {count} completions")
        except Exception as error:  # noqa: BLE001 - a user's function may raise anything; the rows are reported
            return [math.nan] * count, [(row, said(error)) for row in range(count)]
        return values, []


def _source(function: RewardFunction) -> Path | None:
    """The file of a plain function that can be found again by its name."""
    if not inspect.isfunction(function) or not function.__qualname__.isidentifier():
        return None
    path = Path(function.__code__.co_filename)
    return path.resolve() if path.suffix == ".py" and path.is_file() else None
