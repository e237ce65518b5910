"""A user's own Python function as a reward: `path/to/file.py:function` in a recipe, or the function itself.

The function takes a prompt (the text of the last user message) and a completion, both texts, and returns a
number; higher is better, and `None` abstains. One whose first two parameters are called `prompts` and
`completions` takes lists of texts and returns as many numbers: for rewards that are cheaper in batches.
`gnomon.rewards.arguments` lists the other parameters that it may have.
"""

from __future__ import annotations

import inspect
import math
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gnomon.core.extensions import describe_error, file_of, is_file_spec, member_of, run_file
from gnomon.core.storage.digests import digest_file
from gnomon.core.types import Completion, Prompt
from gnomon.rewards.arguments import FunctionParameters, parameters_of
from gnomon.rewards.reward import Numbers, PlainReward, Report, Reward, no_report, score_rows
from gnomon.rewards.time_limit import call_within

RewardFunction = Callable[..., Any]  # (str, str) -> float, or (list[str], list[str]) -> a sequence of floats
TIMEOUT, BATCH_TIMEOUT = 60.0, 600.0  # seconds per call: for one completion, for a batch


def is_function(spec: str) -> bool:
    """Return whether a recipe's `reward` is a function or class in a file."""
    return is_file_spec(spec)


def load_function(spec: str) -> RewardFunction:
    """Run the file of `file.py:function` and take the function, or the class of a reward, from it.

    Its folder is first in `sys.path` meanwhile, as for `python file.py`.
    """
    path = file_of(spec, "reward", "function")
    return member_of(run_file(path, f"reward '{spec}'"), spec, "reward", "function")  # type: ignore[no-any-return]


def spec_of(function: RewardFunction) -> str:
    """A recipe's name of a function: `file.py:name` if it is defined at the top of a file, else `python:name`."""
    if (path := _source(function)) is not None:
        return f"{path}:{function.__name__}"
    return f"python:{getattr(function, '__name__', type(function).__name__)}"


def function_digest(spec: str) -> str:
    """A digest of the function's whole file; of a function without one, a value that is never repeated.

    The content of a closure or an object is not visible from outside, so its results are never reused.
    """
    return digest_file(file_of(spec, "reward", "function")) if is_function(spec) else uuid.uuid4().hex


def make_function_reward(
    function: RewardFunction, name: str, *, tokenizer: Any = None, timeout: float | None = None
) -> Reward:
    """Make a reward of a function; an exception, or a result that is no number, is a failure of the row.

    Args:
        function: function of prompt and completion, or of lists of them, and of its other parameters
            (`rewards.arguments`).
        name: name in metrics.
        tokenizer: tokenizer of the completions' ids, for functions that read special tokens.
        timeout: seconds that a call may take; by default `TIMEOUT`, or `BATCH_TIMEOUT` for lists.
    """
    parameters = parameters_of(function)
    kind = BatchFunctionReward if parameters.batched else RowFunctionReward
    default = BATCH_TIMEOUT if parameters.batched else TIMEOUT
    return kind(function, name, parameters, tokenizer, timeout or default)


def last_request(prompt: Prompt) -> str:
    """The text of the last user message; of the last message if there is none."""
    requests = [m.content for m in prompt.messages if m.role == "user"]
    return requests[-1] if requests else prompt.messages[-1].content


@dataclass
class RowFunctionReward(PlainReward):
    """A function of one prompt and one completion."""

    function: RewardFunction
    name: str
    parameters: FunctionParameters
    tokenizer: Any
    timeout: float
    report: Report = no_report

    def numbers(self, prompts: Sequence[Prompt], completions: Sequence[Completion]) -> Numbers:
        """The function's value for each row, each within the time limit."""

        def one(row: int) -> Any:
            prompt, completion = prompts[row], completions[row]
            more = self.parameters.row_arguments(prompt, completion, self.tokenizer)
            return call_within(self.timeout, lambda: self.function(last_request(prompt), completion.text, **more))

        return score_rows(self.name, len(completions), one, self.report)


@dataclass
class BatchFunctionReward(PlainReward):
    """A function of all prompts and completions at once."""

    function: RewardFunction
    name: str
    parameters: FunctionParameters
    tokenizer: Any
    timeout: float

    def numbers(self, prompts: Sequence[Prompt], completions: Sequence[Completion]) -> Numbers:
        """The function's values; if it raises, or returns another number of them, every row fails."""
        count = len(completions)
        try:
            more = self.parameters.batch_arguments(prompts, completions, self.tokenizer)
            texts = [last_request(p) for p in prompts], [c.text for c in completions]
            values = list(call_within(self.timeout, lambda: self.function(*texts, **more)))
            if len(values) != count:
                raise ValueError(f"{len(values)} values for {count} completions")
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 - a user's function may raise anything; rows are reported
            return [math.nan] * count, [(row, describe_error(error)) for row in range(count)]
        return score_rows(self.name, count, lambda row: values[row])


def _source(function: RewardFunction) -> Path | None:
    """The file of a plain function that can be found again by its name."""
    if not inspect.isfunction(function) or not function.__qualname__.isidentifier():
        return None
    path = Path(function.__code__.co_filename)
    return path.resolve() if path.suffix == ".py" and path.is_file() else None
