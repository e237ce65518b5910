"""The feedback stage: people's ratings become judgements, preferences and demonstrations, with statistics."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from gnomon.app.recipe import FeedbackStage
from gnomon.app.workspace import Workspace
from gnomon.core.progress import console
from gnomon.core.run_folder import write_jsonl
from gnomon.core.types import Completion, Demonstration, RatedText
from gnomon.data.film_prompts import film_prompts
from gnomon.data.film_reviews import load_film_reviews
from gnomon.data.splits import neutral_sample, split_items
from gnomon.feedback.aggregate import (
    judgements_from_ratings,
    preferences_from_ratings,
    rated_texts_from_judgements,
)
from gnomon.feedback.agreement import human_ceiling, krippendorff_alpha

CEILING_PAIRS = 20_000


def run_feedback(stage: FeedbackStage, work: Workspace) -> dict[str, Any]:
    """Write the stage's parts as JSON lines and return its result."""
    started = time.monotonic()
    seed, folder = work.recipe.seed, work.stage_folder(stage.name)
    items, rejected = load_film_reviews()
    sizes = {"training": stage.training, "held_out": stage.held_out}
    parts = split_items(items, sizes, stage.reserved, seed)
    judgements = list(judgements_from_ratings(parts["training"]))
    texts = {item.id: item.text for item in parts["training"]}
    training = rated_texts_from_judgements(judgements, texts)
    prompts = film_prompts()
    made = preferences_from_ratings(training, prompts, group_size=stage.group_size, seed=seed)
    neutral = neutral_sample(training, stage.demonstrations, seed)
    demonstrations = [
        Demonstration(prompts[place % len(prompts)], Completion(item.id, item.text))
        for place, item in enumerate(neutral)
    ]

    write_jsonl(folder / "judgements.jsonl", judgements)
    write_jsonl(folder / "preferences.jsonl", made.preferences)
    write_jsonl(folder / "demonstrations.jsonl", demonstrations)
    write_jsonl(folder / "prompts.jsonl", prompts)
    write_jsonl(folder / "held_out_prompts.jsonl", film_prompts(held_out=True))
    write_jsonl(folder / "rejected.jsonl", rejected)
    for name, part in parts.items():
        write_jsonl(folder / f"{name}.jsonl", part)

    counts = [len(item.ratings) for item in items]
    result = {
        "kind": "feedback",
        "seconds": time.monotonic() - started,
        "items": len(items),
        "ratings": sum(counts),
        "raters_per_item": {"least": min(counts), "mean": sum(counts) / len(counts), "most": max(counts)},
        **statistics(items, seed),
        "split": {name: len(part) for name, part in parts.items()},
        "preferences": len(made.preferences),
        "ties": made.ties,
        "demonstrations": len(demonstrations),
        "demonstrations_mean_rating": sum(item.mean for item in neutral) / len(neutral),
        "rejected": len(rejected) + made.equal_texts,
    }
    say(result)
    return result


def statistics(items: Sequence[RatedText], seed: int) -> dict[str, Any]:
    """How far people agree, and so how much can be asked of any judge."""
    alpha = krippendorff_alpha([item.ratings for item in items], "interval", seed)
    ceiling = human_ceiling(items, CEILING_PAIRS, seed)
    return {
        "krippendorff_alpha": {"level": "interval", "value": alpha.value, "low": alpha.low, "high": alpha.high},
        "human_ceiling": {
            "one_rater_against_rest_r": ceiling.correlation.value,
            "pair_agreement": ceiling.pair_agreement.value,
            "pair_low": ceiling.pair_agreement.low,
            "pair_high": ceiling.pair_agreement.high,
            "tie_share": ceiling.tie_share,
        },
    }


def say(result: dict[str, Any]) -> None:
    """The statistics in three lines."""
    raters, alpha, ceiling = result["raters_per_item"], result["krippendorff_alpha"], result["human_ceiling"]
    console.print(
        f"  {result['items']:,} texts, {result['ratings']:,} ratings, "
        f"{raters['least']}-{raters['most']} raters a text (mean {raters['mean']:.1f})"
    )
    console.print(
        f"  Krippendorff's alpha {alpha['value']:.3f} ({alpha['low']:.3f}-{alpha['high']:.3f}); one person "
        f"agrees with the majority on {ceiling['pair_agreement']:.1%} of pairs: the human ceiling"
    )
    console.print(f"  {result['preferences']:,} preferences and {result['demonstrations']:,} demonstrations")
