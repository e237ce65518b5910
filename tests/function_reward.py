"""A reward by a function of the prompt and the completion's text, without limits of time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from gnomon.core.types import Completion, Prompt
from gnomon.rewards.reward import Numbers, PlainReward, Report, no_report, score_rows


class FunctionReward(PlainReward):
    """A reward by a Python function of prompt and completion text; one failing row does not fail the others."""

    def __init__(self, function: Callable[[Prompt, str], float | None], name: str):
        self.function = function
        self.name = name
        self.report: Report = no_report

    def numbers(self, prompts: Sequence[Prompt], completions: Sequence[Completion]) -> Numbers:
        """The function's value for each row; an exception is a failure, `None` an abstention."""
        pairs = list(zip(prompts, completions, strict=True))

        def one(row: int) -> Any:
            return self.function(pairs[row][0], pairs[row][1].text)

        return score_rows(self.name, len(pairs), one, self.report)
