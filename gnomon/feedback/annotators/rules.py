"""Rules as annotators: which answer is longer, says something, has a form, is right."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from gnomon.core.errors import ConfigError
from gnomon.core.types import Completion, Prompt
from gnomon.feedback.annotators.programmatic import ScoredRater
from gnomon.rewards.composite import RewardPart, RuleReward
from gnomon.rewards.reward import Numbers, PlainReward

RULES = ("longer", "shorter", "contains", "format", "exact", "repetition", "diversity")


class _Measure(PlainReward):
    """The length of a text in characters, or whether it holds another."""

    def __init__(self, rule: str, value: str):
        self.rule, self.value = rule, value
        self.name = f"{rule}={value}" if value else rule

    def numbers(self, prompts: Sequence[Prompt], completions: Sequence[Completion]) -> Numbers:
        """In characters, or 1 and 0."""
        if self.rule == "contains":
            found = [float(self.value.casefold() in one.text.casefold()) for one in completions]
        else:
            found = [len(one.text) * (1.0 if self.rule == "longer" else -1.0) for one in completions]
        return found, []


def rule_rater(said: str, *, tie: float = 0.0) -> ScoredRater:
    """A rule by its name: `longer`, `shorter`, `contains=TEXT`, and the others of `RULES`.

    `format=REGEX` wants the whole text to have a form; `exact`, or `exact=REGEX`, compares the text, or what
    the expression finds in it, with the prompt's `answer`; `repetition` and `diversity` are those of rewards,
    and take the length of a gram.

    Raises:
        ConfigError: there is no such rule, or it lacks what it needs.
    """
    rule, _, value = said.partition("=")
    if rule not in RULES:
        raise ConfigError(f"there is no rule '{rule}'; give one of {', '.join(RULES)}.")
    if rule in ("contains", "format") and not value:
        raise ConfigError(f"the rule {rule} needs something to look for; give {rule}=TEXT.")
    if rule in ("longer", "shorter", "contains"):
        if value and rule != "contains":
            raise ConfigError(f"the rule {rule} takes no value; give {rule} alone.")
        return ScoredRater(_Measure(rule, value), "rule", {"rule": said}, tie=tie)
    settings: dict[str, Any] = {"rule": rule, "name": said}
    if rule in ("repetition", "diversity"):
        if value and not (value.isdecimal() and int(value) > 0):
            raise ConfigError(f"the rule {rule} takes the length of a gram; give {rule}=4.")
        settings |= {"n": int(value)} if value else {}
    elif value:
        settings |= {"pattern": value}
        try:
            re.compile(value)
        except re.error as error:
            raise ConfigError(
                f"the rule {rule}: '{value}' is no regular expression ({error}); mend it."
            ) from None
    return ScoredRater(RuleReward(RewardPart(**settings)), "rule", {"rule": said}, tie=tie)
