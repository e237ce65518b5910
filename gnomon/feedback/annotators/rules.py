"""Rules as annotators: length, contained text, format, exact match, repetition, diversity."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from gnomon.core.errors import ConfigError
from gnomon.core.types import Completion, Prompt
from gnomon.feedback.annotators.programmatic import ScoringAnnotator
from gnomon.rewards.composite import RewardPart, RuleReward
from gnomon.rewards.reward import Numbers, PlainReward

RULES = ("longer", "shorter", "contains", "format", "exact", "repetition", "diversity")


class _Measure(PlainReward):
    """The length of a text in characters, or whether it contains another."""

    def __init__(self, rule: str, value: str):
        self.rule, self.value = rule, value
        self.name = f"{rule}={value}" if value else rule

    def numbers(self, prompts: Sequence[Prompt], completions: Sequence[Completion]) -> Numbers:
        """In characters, or 1 and 0."""
        if self.rule == "contains":
            scores = [float(self.value.casefold() in one.text.casefold()) for one in completions]
        else:
            scores = [len(one.text) * (1.0 if self.rule == "longer" else -1.0) for one in completions]
        return scores, []


def rule_annotator(spec: str, *, tie: float = 0.0) -> ScoringAnnotator:
    """Create an annotator from a rule: `longer`, `shorter`, `contains=TEXT`, and the others of `RULES`.

    `format=REGEX` requires the whole text to match; `exact`, or `exact=REGEX`, compares the text, or the part
    that matches, with the prompt's `answer`; `repetition` and `diversity` are those of `gnomon.rewards` and take
    the n-gram length.

    Raises:
        ConfigError: there is no such rule, or its value is invalid.
    """
    rule, _, value = spec.partition("=")
    if rule not in RULES:
        raise ConfigError(f"there is no rule '{rule}'; give one of {', '.join(RULES)}.")
    if rule in ("contains", "format") and not value:
        raise ConfigError(f"the rule {rule} needs a value; give {rule}=TEXT.")
    if rule in ("longer", "shorter", "contains"):
        if value and rule != "contains":
            raise ConfigError(f"the rule {rule} takes no value; give {rule} alone.")
        return ScoringAnnotator(_Measure(rule, value), "rule", {"rule": spec}, tie=tie)
    settings: dict[str, Any] = {"rule": rule, "name": spec}
    if rule in ("repetition", "diversity"):
        if value and not (value.isdecimal() and int(value) > 0):
            raise ConfigError(f"the rule {rule} takes the n-gram length; give {rule}=4.")
        settings |= {"n": int(value)} if value else {}
    elif value:
        settings |= {"pattern": value}
        try:
            re.compile(value)
        except re.error as error:
            raise ConfigError(
                f"the rule {rule}: '{value}' is no regular expression ({error}); correct it."
            ) from None
    return ScoringAnnotator(RuleReward(RewardPart(**settings)), "rule", {"rule": spec}, tie=tie)
