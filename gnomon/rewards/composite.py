"""A reward of weighted parts, each optionally whitened and clipped, with a budget of failures."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import field_validator, model_validator

from gnomon.core.config import Settings
from gnomon.core.errors import ConfigError, RunError
from gnomon.core.lazy import torch
from gnomon.core.ranges import Finite, Range
from gnomon.core.types import Completion, Prompt
from gnomon.models.settings import Combine, DropoutPasses
from gnomon.rewards import rules
from gnomon.rewards.arguments import names_special_token, raw_text
from gnomon.rewards.python_reward import is_function
from gnomon.rewards.registry import REWARDS
from gnomon.rewards.remote_reward import is_remote
from gnomon.rewards.reward import Numbers, PlainReward, Reward, Scores

if TYPE_CHECKING:
    from torch import Tensor

Rule = Literal["length", "repetition", "diversity", "format", "exact"]


class RewardPart(Settings):
    """One part of a reward.

    Attributes:
        of: a reward model, `path/to/file.py:function`, `vader` or the address of a reward server.
        ensemble: or several reward models, whose scores become one by `combine`.
        rule: or a rule: `length` (less for more than `limit` characters), `repetition` (less for repeated
            `n`-grams), `diversity` (more for `n`-grams that other completions of the prompt lack), `format` (1
            if `pattern` matches the whole text), `exact` (1 if the text, or the part that `pattern`
            matches, is the prompt's `answer`).
        name: name in metrics; by default `of`, or the rule.
        weight: weight in the sum.
        whiten: subtract the running mean and divide by the running deviation of this part's scores.
        clip: then limit it to ±clip.
        failures: rows of the whole run on which this part may fail; more stop the run. `None`: no limit.
        limit: characters, for `length`.
        n: characters of an n-gram, for `repetition` and `diversity`.
        pattern: a regular expression. If it names a special token of the policy's tokenizer, it is matched
            against the completion with its special tokens.
        timeout: seconds that a call of a function, or a request to a server, may take; by default 60 for a
            function of one completion, 600 for a function of a batch, 180 for a server.
        dropout: score with a single reward model many times, with parts of its states dropped, as an ensemble.
        combine: how an ensemble's members are combined, such as `mean - 1.0 * std`; by default as it was saved.
    """

    of: str | None = None
    ensemble: list[str] | None = None
    rule: Rule | None = None
    name: str = ""
    weight: Finite = 1.0
    whiten: bool = False
    clip: Annotated[float, Range("a part that is clipped at 0 has no effect", gt=0, le=1e30)] | None = None
    failures: Annotated[int, Range("it counts rows; null means no limit", ge=0, le=10**18)] | None = None
    limit: Annotated[int, Range("it counts characters", ge=1, le=10**9)] = 400
    n: Annotated[int, Range("it counts characters of an n-gram", ge=1, le=10**6)] = 4
    pattern: str | None = None
    timeout: Annotated[float, Range("a call takes some time", gt=0, le=1e7)] | None = None
    combine: Combine | None = None
    dropout: DropoutPasses | None = None

    @field_validator("pattern")
    @classmethod
    def _is_a_pattern(cls, value: str | None) -> str | None:
        try:
            re.compile(value or "")
        except re.error as error:
            raise ValueError(f"'{value}' is no regular expression ({error})") from None
        return value

    @model_validator(mode="after")
    def _is_one_thing(self) -> RewardPart:
        if [self.of, self.ensemble, self.rule].count(None) != 2:
            raise ValueError("a part of a reward has exactly one of the keys of, ensemble and rule")
        if self.ensemble is not None and len(set(self.ensemble)) < max(2, len(self.ensemble)):
            raise ValueError("ensemble names two or more different reward models; for one, write of")
        if self.ensemble is not None and self.dropout is not None:
            raise ValueError("dropout is for a single reward model; remove it")
        if self.rule == "format" and self.pattern is None:
            raise ValueError("the rule format needs a pattern")
        of = self.of or ""
        called = of.startswith("python:") or is_remote(of) or REWARDS.is_outside(of)
        if self.timeout is not None and not called:
            raise ValueError("timeout is for functions (path/to/file.py:function) and servers; remove it")
        models = of if self.ensemble is None else self.ensemble[0]
        if not models or models in REWARDS.names() or is_function(models) or is_remote(models):
            for key in ("combine", "dropout"):
                if getattr(self, key) is not None:
                    raise ValueError(f"{key} is for reward models; remove it")
        return self

    @property
    def title(self) -> str:
        """Its name in metrics."""
        return self.name or self.rule or self.of or " & ".join(self.ensemble or [])


def check_titles(parts: Sequence[RewardPart]) -> None:
    """Check that titles are unique: metrics, running moments and failure counts are stored by title.

    Raises:
        ConfigError: two parts have one title.
    """
    titles = [part.title for part in parts]
    for title in titles:
        if titles.count(title) > 1:
            raise ConfigError(f"two parts of the reward are called '{title}'; give one of them a name.")


class RuleReward(PlainReward):
    """A rule as a reward."""

    def __init__(self, part: RewardPart, tokenizer: Any = None):
        self.part = part
        self.name = part.title
        self.tokenizer = tokenizer
        self.reads_raw = tokenizer is not None and names_special_token(part.pattern or "", tokenizer)

    def numbers(self, prompts: Sequence[Prompt], completions: Sequence[Completion]) -> Numbers:
        """The rule's score of each row."""
        part = self.part
        if self.reads_raw:
            completions = [
                replace(c, text=raw_text(c, self.tokenizer, prompt.chat_template_kwargs))
                for prompt, c in zip(prompts, completions, strict=True)
            ]
        if part.rule == "length":
            values = rules.length(completions, part.limit)
        elif part.rule == "repetition":
            values = rules.repetition(completions, part.n)
        elif part.rule == "diversity":
            values = rules.diversity(prompts, completions, part.n)
        elif part.rule == "format":
            values = rules.matches(completions, str(part.pattern))
        else:
            values = rules.exact(prompts, completions, part.pattern)
        return values, [(row, "the prompt has no answer") for row, v in enumerate(values) if not math.isfinite(v)]


class ShapedReward:
    """A weighted sum of parts.

    `score` returns the parts' own scores; `combine` shapes and adds them, and updates the running moments, once
    per round over all rows of all processes. Titles are unique (`check_titles`).
    """

    def __init__(self, parts: Sequence[tuple[RewardPart, Reward]]):
        check_titles([part for part, _ in parts])
        self.parts = list(parts)
        self.name = " + ".join(part.title for part, _ in parts)
        self.moments = {part.title: [0.0, 0.0, 0.0] for part, _ in parts}  # count, mean, sum of squares
        self.failure_counts = {part.title: 0 for part, _ in parts}

    def score(self, prompts: Sequence[Prompt], completions: Sequence[Completion]) -> Scores:
        """Each part's own scores, and their sum shaped with the current moments."""
        values: dict[str, Tensor] = {}
        failures: list[tuple[int, str]] = []
        abstentions: dict[str, Tensor] = {}
        uncertainties: dict[str, Tensor] = {}
        for part, reward in self.parts:
            scores = reward.score(prompts, completions)
            values[part.title] = scores.values.float()
            abstentions[part.title] = scores.abstained
            failures += [(row, f"{part.title}: {reason}") for row, reason in scores.failures]
            uncertainties.update((part.title, one) for one in scores.uncertainties.values())
        return Scores(self.shaped(values, abstentions), values, failures, abstentions, uncertainties)

    def combine(self, parts: Mapping[str, Tensor], abstentions: Mapping[str, Tensor] | None = None) -> Tensor:
        """The sum of shaped parts, `[N]`. Counts failures and updates the moments.

        A part that abstained adds nothing to a row's sum; the sum is NaN if a part failed or all abstained.
        """
        abstained = abstentions or {}
        for part, _ in self.parts:
            values = parts[part.title]
            finite = values[values.isfinite()]
            abstention_count = int(abstained[part.title].sum()) if part.title in abstained else 0
            self.failure_counts[part.title] += len(values) - len(finite) - abstention_count
            if part.failures is not None and self.failure_counts[part.title] > part.failures:
                raise RunError(
                    f"the reward '{part.title}' failed on {self.failure_counts[part.title]} completions, more "
                    f"than its budget of {part.failures}; fix it, or raise failures."
                )
            self._update_moments(part.title, finite)
        return self.shaped(parts, abstained)

    def shaped(self, parts: Mapping[str, Tensor], abstentions: Mapping[str, Tensor]) -> Tensor:
        """The sum that `combine` returns, with the current moments, `[N]`; without counting or updating."""
        shaped = torch.stack([part.weight * self._shape(part, parts[part.title]) for part, _ in self.parts])
        none = torch.zeros(shaped.shape[1], dtype=torch.bool)
        abstained = torch.stack([abstentions.get(part.title, none) for part, _ in self.parts])  # [parts, N]
        return shaped.masked_fill(abstained, 0.0).sum(0).masked_fill(abstained.all(0), torch.nan)

    def _shape(self, part: RewardPart, values: Tensor) -> Tensor:
        count, mean, squares = self.moments[part.title]
        if part.whiten and count > 1:
            values = (values - mean) / max((squares / count) ** 0.5, 1e-6)
        return values if part.clip is None else values.clamp(-part.clip, part.clip)

    def _update_moments(self, name: str, values: Tensor) -> None:
        """Welford's update of count, mean and sum of squared deviations (for batches: Chan et al. 1979)."""
        if not len(values):
            return
        count, mean, squares = self.moments[name]
        n, batch_mean = float(len(values)), float(values.double().mean())
        total = count + n
        spread = float((values.double() - batch_mean).square().sum())
        moved = batch_mean - mean
        self.moments[name] = [total, mean + moved * n / total, squares + spread + moved**2 * count * n / total]

    def state(self) -> dict[str, Any]:
        """State for a checkpoint."""
        return {"moments": self.moments, "failed": self.failure_counts}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Restore the state of a checkpoint."""
        self.moments = {name: list(values) for name, values in state["moments"].items()}
        self.failure_counts = dict(state["failed"])
