"""The feedback stage: people's ratings become judgements, preferences and demonstrations, with statistics."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from gnomon.core.errors import DataError
from gnomon.core.progress import console
from gnomon.core.storage.files import write_jsonl
from gnomon.core.types import Completion, Demonstration, Label, Message, Prompt, RatedText, Rejected
from gnomon.data.film_reviews import film_prompts, load_film_reviews
from gnomon.data.ratings import demonstration_sample, gather_ratings, split_ratings
from gnomon.feedback.export.preferences_from_ratings import (
    PreferenceSet,
    judgements_from_ratings,
    preferences_from_ratings,
    preferences_within_prompts,
    rated_texts_from_judgements,
)
from gnomon.stages.settings import FILM_REVIEWS, FeedbackStage
from gnomon.stages.workspace import Workspace
from gnomon.stats.agreement import krippendorff_alpha
from gnomon.stats.human_ceiling import human_ceiling

CEILING_PAIRS = 20_000
FILM_SIZES = {"judge_holdout": 0.5, "training": 1600, "demonstrations": 600, "held_out": 400}
OWN_SIZES = {"judge_holdout": 0.25, "training": 0.6, "demonstrations": 0.3, "held_out": 0.15}


def run_feedback(stage: FeedbackStage, work: Workspace) -> dict[str, Any]:
    """Write the stage's parts as JSON lines and return its result."""
    started = time.monotonic()
    seed, folder = work.recipe.seed, work.stage_folder(stage.name)
    items, rejected = rated_texts(stage, work)
    sizes = part_sizes(stage, len(items))
    wanted = {name: int(sizes[name]) for name in ("training", "held_out")}
    parts = split_ratings(items, wanted, sizes["judge_holdout"], seed)
    judgements = list(judgements_from_ratings(parts["training"]))
    known = {item.id: item for item in parts["training"]}
    collected = rated_texts_from_judgements(judgements, {name: item.text for name, item in known.items()})
    training = [replace(known[item.id], ratings=item.ratings) for item in collected]
    prompts, held_out_prompts = (prompts_for(stage, parts, part) for part in ("training", "held_out"))
    made = preferences(training, prompts, stage, seed)
    centre = 0.0 if stage.feedback == FILM_REVIEWS else _mean(training)
    shown = demonstration_sample(training, int(sizes["demonstrations"]), stage.demonstration_choice, centre, seed)
    demonstrations = [
        Demonstration(item.prompt or prompts[place % len(prompts)], Completion(item.id, item.text))
        for place, item in enumerate(shown)
    ]

    write_jsonl(folder / "judgements.jsonl", judgements)
    write_jsonl(folder / "preferences.jsonl", made.preferences)
    write_jsonl(folder / "rankings.jsonl", made.rankings)
    write_jsonl(folder / "labels.jsonl", labels_of(made, known, centre))
    write_jsonl(folder / "demonstrations.jsonl", demonstrations)
    write_jsonl(folder / "prompts.jsonl", prompts)
    write_jsonl(folder / "held_out_prompts.jsonl", held_out_prompts)
    write_jsonl(folder / "rejected.jsonl", rejected)
    for name, part in parts.items():
        write_jsonl(folder / f"{name}.jsonl", part)

    counts = [len(item.ratings) for item in items]
    result = {
        "kind": "feedback",
        "source": stage.feedback,
        "seconds": time.monotonic() - started,
        "items": len(items),
        "ratings": sum(counts),
        "raters_per_item": {"least": min(counts), "mean": sum(counts) / len(counts), "most": max(counts)},
        **statistics(items, seed),
        "split": {name: len(part) for name, part in parts.items()},
        "preferences": len(made.preferences),
        "ties": made.ties,
        "close_pairs": made.close,
        "demonstrations": len(demonstrations),
        "demonstrations_mean_rating": _mean(shown),
        "rejected": len(rejected) + made.equal_texts,
    }
    say(result)
    return result


def rated_texts(stage: FeedbackStage, work: Workspace) -> tuple[list[RatedText], list[Rejected]]:
    """The texts with everyone's ratings, and the rows that were refused."""
    if stage.feedback == FILM_REVIEWS:
        return load_film_reviews()
    try:
        items = gather_ratings(work.records(RatedText, stage.feedback))
    except DataError as error:
        raise DataError(f"stage '{stage.name}': {error}") from None
    has_prompts = items[0].prompt is not None
    if not has_prompts and not stage.prompt_templates:
        raise DataError(
            f"stage '{stage.name}': the texts of {stage.feedback} have no prompts; give each row one, or give "
            "the stage prompt_templates and held_out_prompt_templates, ways to ask for such a text."
        )
    if has_prompts and stage.prompt_templates:
        raise DataError(
            f"stage '{stage.name}': the texts of {stage.feedback} have prompts of their own; "
            "remove prompt_templates."
        )
    return items, []


def part_sizes(stage: FeedbackStage, count: int) -> dict[str, float]:
    """The share that is held out for judges, and how many of `count` texts go to each other purpose."""
    defaults = FILM_SIZES if stage.feedback == FILM_REVIEWS else OWN_SIZES
    sizes: dict[str, float] = {}
    for name, default in defaults.items():
        own = getattr(stage, name)
        size = default if own is None else own
        # The small addend: 0.29 · 100 is a little below 29 in binary.
        sizes[name] = int(size * count + 1e-9) if size < 1 and name != "judge_holdout" else size
        if name != "judge_holdout" and sizes[name] < 2:
            raise DataError(
                f"stage '{stage.name}': {count} texts leave {sizes[name]:g} for {name}, which needs 2; "
                f"bring more texts or raise {name}."
            )
    return sizes


def prompts_for(stage: FeedbackStage, parts: Mapping[str, Sequence[RatedText]], part: str) -> list[Prompt]:
    """What a policy is asked in training or evaluation: the prompts of the texts, or the prompt templates."""
    held_out = part == "held_out"
    own = list(dict.fromkeys(item.prompt for item in parts[part] if item.prompt))
    if own:
        return own
    if not stage.prompt_templates:
        return film_prompts(held_out)
    prompt_templates = stage.held_out_prompt_templates if held_out else stage.prompt_templates
    kind = "held-out" if held_out else "wording"
    return [
        Prompt(f"{kind}-{n:02d}", (Message("user", text),)) for n, text in enumerate(prompt_templates, start=1)
    ]


def preferences(
    training: Sequence[RatedText], prompts: Sequence[Prompt], stage: FeedbackStage, seed: int
) -> PreferenceSet:
    """Texts compared within their own prompts, or in random groups under the prompt templates."""
    size, margin = stage.group_size, stage.minimum_margin
    if training[0].prompt:
        made = preferences_within_prompts(training, group_size=size, seed=seed, minimum_margin=margin)
    else:
        made = preferences_from_ratings(training, prompts, group_size=size, seed=seed, minimum_margin=margin)
    if not made.preferences and made.close:
        raise DataError(
            f"stage '{stage.name}': the mean ratings of all {made.close} pairs are nearer than minimum_margin "
            f"({margin:g}); lower it."
        )
    if not made.preferences:
        raise DataError(
            f"stage '{stage.name}': no two different texts stand under one prompt, so nothing can be compared; "
            "bring several texts a prompt."
        )
    return made


def labels_of(made: PreferenceSet, rated: Mapping[str, RatedText], centre: float) -> list[Label]:
    """Each text of a group called good if its mean rating is above `centre`, bad below, left out when equal."""
    return [
        Label(ranking.prompt, completion, good=rated[completion.id].mean > centre)
        for ranking in made.rankings
        for completion in ranking.completions
        if rated[completion.id].mean != centre
    ]


def _mean(items: Sequence[RatedText]) -> float:
    return sum(item.mean for item in items) / len(items)


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
    """The statistics in three lines; what the ratings leave undefined is said to be so."""
    raters, alpha, ceiling = result["raters_per_item"], result["krippendorff_alpha"], result["human_ceiling"]
    console.print(
        f"  {result['items']:,} texts, {result['ratings']:,} ratings, "
        f"{raters['least']}-{raters['most']} raters a text (mean {raters['mean']:.1f})"
    )
    if None in (alpha["low"], ceiling["pair_agreement"]):
        console.print("  how far people agree is undefined: too few texts have two ratings, or all are equal")
    else:
        console.print(
            f"  Krippendorff's alpha {alpha['value']:.3f} ({alpha['low']:.3f}-{alpha['high']:.3f}); one person "
            f"agrees with the majority on {ceiling['pair_agreement']:.1%} of pairs: the human ceiling"
        )
    console.print(f"  {result['preferences']:,} preferences and {result['demonstrations']:,} demonstrations")
