"""Result of a collection: why it ended, what remains, and what to do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from gnomon.data.reading.counting import counted

Outcome = Literal[
    "reached",
    "stopped",
    "max_judgements",
    "max_hours",
    "no_prompts",
    "no_model",
    "no_items",
    "no_yield",
    "no_generators",
    "too_few_annotators",
    "low_agreement",
]
ENDINGS: dict[Outcome, str] = {
    "reached": "the target is reached",
    "stopped": "stopped by the user",
    "max_judgements": "the budget of judgements is spent",
    "max_hours": "the time is spent",
    "no_prompts": "no prompt is left",
    "no_model": "no model is given for the {unused}",
    "no_items": "the completions of the last prompts made no item",
    "no_yield": "the last judged items gave no valid preference",
    "no_generators": "no generator works",
    "too_few_annotators": "an item needs more judgements than there are active programs",
    "low_agreement": "annotators agree too little for an export",
}
ADVICE: dict[Outcome, str] = {
    "max_judgements": "raise --max-judgements",
    "max_hours": "raise --max-hours",
    "no_prompts": "add prompts with --prompts FILE, or models with --from and other completions with --seed",
    "no_model": "add a model with --from",
    "no_items": "completions of a prompt are too alike: add a model with --from, or raise --temperature",
    "no_generators": "correct the sources of --from that failed",
    "too_few_annotators": "add programs with --annotator or --replicas, activate paused ones with set-annotator, "
    "or let people judge too with --serve",
}
YIELD_ADVICE = {  # by what the last items were left out for, as in a manifest
    "tied_items": "annotators see no difference; compare other models with --from, or raise --temperature",
    "even_preferences": "votes are split evenly; ask for more votes per item, or compare other models",
    "both_bad_items": "annotators find both completions bad; generate with a better model",
    "unresolved_items": "annotators disagree; make the guidelines clearer, raise max_votes on /admin/setup, or "
    "decide disputed items on /review",
    "paused_judgements": "annotators are paused; see gnomon feedback agreement, and activate them or add others",
    "judgements_below_confidence": "annotators are less sure than --min-confidence; lower it",
}


@dataclass(frozen=True)
class CollectSummary:
    """Result of a collection.

    Attributes:
        outcome: why it ended.
        until: valid preferences that it aimed at.
        valid: valid preferences in the store.
        added: those that this collection added.
        rounds: rounds of prompts.
        prompts: prompts that got items.
        completions: completions that were generated.
        items: items that were added.
        judgements: judgements that were added, by anybody.
        hours: time that it took.
        open_items: items that need judgements.
        disputed_items: items that wait for a reviewer.
        unused_prompts: prompts without items.
        left_out: what gave no valid preference, by the reasons of an export's manifest.
        skipped: items that programs skipped, by program and reason.
        failures: the last failure of each generator that failed.
        advice: what to do; empty if the target is reached.
    """

    outcome: Outcome
    until: int
    valid: int
    added: int
    rounds: int
    prompts: int
    completions: int
    items: int
    judgements: int
    hours: float
    open_items: int
    disputed_items: int
    unused_prompts: int
    left_out: Mapping[str, int]
    skipped: Mapping[str, int] = field(default_factory=dict)
    failures: Mapping[str, str] = field(default_factory=dict)
    advice: str = ""

    @property
    def missing(self) -> int:
        """Preferences that are missing."""
        return max(0, self.until - self.valid)

    def to_json(self) -> dict[str, Any]:
        """Return the summary as dictionaries and lists."""
        return {**asdict(self), "missing": self.missing}

    def sentence(self) -> str:
        """Return in one sentence why the collection ended, and what remains."""
        ending = ENDINGS[self.outcome].format(unused=counted(self.unused_prompts, "unused prompts"))
        parts = [f"{self.valid} of {self.until} valid preferences; {ending}"]
        if self.missing:
            parts.append(
                f"missing: {self.missing}; open items: {self.open_items}; items for a reviewer: "
                f"{self.disputed_items}; unused prompts: {self.unused_prompts}"
            )
        return "; ".join(parts) + "."


def yield_advice(before: Mapping[str, int], after: Mapping[str, int]) -> str:
    """Return what to do if items give no valid preference.

    Args:
        before: numbers of things left out, by reason, when the number of valid preferences last changed.
        after: the same when the collection ended.
    """
    grown = {reason: count - before.get(reason, 0) for reason, count in after.items()}
    known = {
        reason: count
        for reason, count in grown.items()
        if count > 0 and (reason in YIELD_ADVICE or reason.startswith("rows_dropped_by_"))
    }
    if not known:
        return "look at the last items on /admin, or with gnomon feedback status"
    reason = max(known, key=lambda name: known[name])
    if reason in YIELD_ADVICE:
        return YIELD_ADVICE[reason]
    name = reason.removeprefix("rows_dropped_by_")
    return f"the filter {name} drops the preferences; lower its bound, or leave it out"
