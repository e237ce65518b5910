"""The feedback stage: turn people's ratings into judgements, preferences and demonstrations, with statistics."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import AfterValidator, Field, field_validator, model_validator

from gnomon.core.errors import DataError
from gnomon.core.progress import console
from gnomon.core.ranges import Range
from gnomon.core.storage.files import write_jsonl
from gnomon.core.storage.result_model import Interval, Number, ResultModel, Words
from gnomon.core.types import Completion, Demonstration, Label, Message, Prompt, RatedText, RejectedRow
from gnomon.data.film_reviews import film_prompts, load_film_reviews
from gnomon.data.ratings import DemonstrationChoice, demonstration_sample, gather_ratings, split_ratings
from gnomon.data.reported_rows import readable_records
from gnomon.feedback.export.preferences_from_ratings import (
    PreferenceSet,
    judgements_from_ratings,
    preferences_from_ratings,
    preferences_within_prompts,
    rated_texts_from_judgements,
)
from gnomon.models.cards.facts import JudgementSource
from gnomon.stages.contract import Result, Stage
from gnomon.stages.references import DataInput, Inputs
from gnomon.stages.workspace import Workspace
from gnomon.stats.agreement import krippendorff_alpha
from gnomon.stats.human_ceiling import human_ceiling

FILM_REVIEWS = "film-reviews"  # the ratings from a Python package; any other source is a path
CEILING_PAIRS = 20_000
FILM_SIZES = {"judge_holdout": 0.5, "training": 1600, "demonstrations": 600, "held_out": 400}
OWN_SIZES = {"judge_holdout": 0.25, "training": 0.6, "demonstrations": 0.3, "held_out": 0.15}


def _size(value: float) -> float:
    """Validate a size: a share below 1, or a whole number of texts."""
    if 0 < value < 1 or (value >= 2 and value == int(value)):
        return value if value < 1 else int(value)
    raise ValueError(f"{value:g} is neither a number of texts of at least 2 nor a share below 1")


Size = Annotated[
    float,
    Range("it is a share below 1, or a number of texts", gt=0, le=10**9),
    AfterValidator(_size),
]


class RaterCounts(ResultModel):
    """Raters per item."""

    least: Number = None
    mean: Number = None
    most: Number = None


class CeilingResult(ResultModel):
    """How well one person predicts the others: the best that a reward model can reach."""

    one_rater_against_rest_r: Number = None
    pair_agreement: Number = None
    pair_low: Number = None
    pair_high: Number = None
    tie_share: Number = None


class FeedbackResult(Result):
    """The result of a feedback stage."""

    view: ClassVar[str] = "feedback"
    kind: Words = "feedback"
    source: Words = ""
    items: Number = None
    ratings: Number = None
    raters_per_item: RaterCounts = RaterCounts()
    krippendorff_alpha: Interval = Interval()
    human_ceiling: CeilingResult = CeilingResult()
    split: dict[str, Number] = Field(default_factory=dict)
    preferences: Number = None
    ties: Number = None
    close_pairs: Number = None
    demonstrations: Number = None
    demonstrations_mean_rating: Number = None
    rejected: Number = None

    def judgement_source(self, stage: str) -> JudgementSource:
        """The ratings, and how many raters a text has.

        Args:
            stage: name of the stage.
        """
        least, most = self.raters_per_item.least, self.raters_per_item.most
        return JudgementSource(
            source=stage,
            store=self.source,
            judgements=None if self.ratings is None else int(self.ratings),
            annotators=f"{least} a text" if least == most else f"{least} to {most} a text",
            aggregation="share of raters who prefer a text, mean rating",
        )


class FeedbackStage(Stage):
    """Turn people's ratings into judgements, preferences and demonstrations.

    Sizes are numbers of texts, or shares of all texts if below 1. Their defaults are, for film-reviews and for a
    file of the user's own: `judge_holdout` 0.5 and 0.25, `training` 1600 and 0.6,
    `demonstrations` 600 and 0.3, `held_out` 400 and 0.15.

    Attributes:
        feedback: `film-reviews`, or a file of ratings: rows `{"id", "text", "ratings"}`, or one row a rating,
            `{"text", "rater", "rating"}`; either may have a `prompt`. Texts with prompts are compared within
            their prompt, and split by prompt; others are taken as completions of `prompt_templates`,
            and split by text.
        judge_holdout: share of the texts that only independent judges may learn from.
        training: texts for the reward model.
        demonstrations: texts for SFT, a part of those for the reward model.
        demonstration_choice: which texts: `neutral` as a whole in rating (around 0 for film-reviews, around the
            average text for a file), so that later gains come from alignment; or `best`, the highest rated, when
            a good start matters more than a clean comparison.
        held_out: texts for evaluation.
        group_size: largest number of texts compared with each other under one prompt.
        minimum_margin: pairs whose mean ratings differ by less, on the raters' scale, make no preference.
        prompt_templates: prompts for texts without prompts of their own.
        held_out_prompt_templates: other prompts, which only the evaluation uses.
    """

    key: ClassVar[str] = "feedback"
    result_type: ClassVar[type[Result]] = FeedbackResult
    data_keys: ClassVar[tuple[str, ...]] = ("feedback",)
    uses_model: ClassVar[bool] = False  # ratings do not depend on a model
    feedback: str
    judge_holdout: Annotated[float, Range("it is a share, and some are trained on", ge=0, lt=1)] | None = None
    training: Size | None = None
    demonstrations: Size | None = None
    demonstration_choice: DemonstrationChoice = "neutral"
    held_out: Size | None = None
    group_size: Annotated[int, Range("fewer than 2 texts cannot be compared", ge=2, le=10**4)] = 8
    minimum_margin: Annotated[float, Range("it is a distance of mean ratings", ge=0)] = 0.0
    prompt_templates: list[str] = Field(default_factory=list)
    held_out_prompt_templates: list[str] = Field(default_factory=list)

    @field_validator("feedback")
    @classmethod
    def _is_a_source(cls, value: str) -> str:
        if value != FILM_REVIEWS and Path(value).name == value and not Path(value).suffix:
            raise ValueError(f"'{value}' is neither {FILM_REVIEWS} nor a path; write ./{value} for a folder")
        return value

    @model_validator(mode="after")
    def _has_both_prompt_templates(self) -> FeedbackStage:
        if bool(self.prompt_templates) != bool(self.held_out_prompt_templates):
            raise ValueError("prompt_templates and held_out_prompt_templates are given together, or neither")
        return self

    def inputs(self) -> Inputs:
        """The user's own file of ratings, if it is one."""
        return (
            Inputs() if self.feedback == FILM_REVIEWS else Inputs(data=(DataInput(self.feedback, (RatedText,)),))
        )

    def parts(self) -> frozenset[str]:
        """Judgements and the records derived from them, prompts, and the rated texts of each part."""
        records = ("preferences", "rankings", "labels", "demonstrations", "prompts", "held_out_prompts")
        return frozenset({"judgements", *records, "judge_holdout", "training", "held_out"})

    def describe(self) -> str:
        """What the stage does, in a word."""
        return "feedback"

    def run(self, work: Workspace) -> FeedbackResult:
        """Write the stage's parts as JSON lines and return its result."""
        started = time.monotonic()
        seed, folder = work.recipe.seed, work.stage_folder(self.name)
        items, rejected = rated_texts(self, work)
        sizes = part_sizes(self, len(items))
        part_counts = {name: int(sizes[name]) for name in ("training", "held_out")}
        parts = split_ratings(items, part_counts, sizes["judge_holdout"], seed)
        judgements = list(judgements_from_ratings(parts["training"]))
        known = {item.id: item for item in parts["training"]}
        collected = rated_texts_from_judgements(judgements, {name: item.text for name, item in known.items()})
        training = [replace(known[item.id], ratings=item.ratings) for item in collected]
        prompts, held_out_prompts = (prompts_for(self, parts, part) for part in ("training", "held_out"))
        preference_set = preferences(training, prompts, self, seed)
        center = 0.0 if self.feedback == FILM_REVIEWS else _mean(training)
        demonstrated = demonstration_sample(
            training, int(sizes["demonstrations"]), self.demonstration_choice, center, seed
        )
        demonstrations = [
            Demonstration(item.prompt or prompts[index % len(prompts)], Completion(item.id, item.text))
            for index, item in enumerate(demonstrated)
        ]

        write_jsonl(folder / "judgements.jsonl", judgements)
        write_jsonl(folder / "preferences.jsonl", preference_set.preferences)
        write_jsonl(folder / "rankings.jsonl", preference_set.rankings)
        write_jsonl(folder / "labels.jsonl", labels_of(preference_set, known, center))
        write_jsonl(folder / "demonstrations.jsonl", demonstrations)
        write_jsonl(folder / "prompts.jsonl", prompts)
        write_jsonl(folder / "held_out_prompts.jsonl", held_out_prompts)
        write_jsonl(folder / "rejected.jsonl", rejected)
        for name, part in parts.items():
            write_jsonl(folder / f"{name}.jsonl", part)

        counts = [len(item.ratings) for item in items]
        alpha, ceiling = statistics(items, seed)
        result = FeedbackResult(
            kind="feedback",
            source=self.feedback,
            seconds=time.monotonic() - started,
            items=len(items),
            ratings=sum(counts),
            raters_per_item=RaterCounts(least=min(counts), mean=sum(counts) / len(counts), most=max(counts)),
            krippendorff_alpha=alpha,
            human_ceiling=ceiling,
            split={name: len(part) for name, part in parts.items()},
            preferences=len(preference_set.preferences),
            ties=preference_set.ties,
            close_pairs=preference_set.close,
            demonstrations=len(demonstrations),
            demonstrations_mean_rating=_mean(demonstrated),
            rejected=len(rejected) + preference_set.equal_texts,
        )
        print_statistics(result)
        return result


def rated_texts(stage: FeedbackStage, work: Workspace) -> tuple[list[RatedText], list[RejectedRow]]:
    """The texts with their ratings, and the rejected rows: those with a prompt that no model reads."""
    if stage.feedback == FILM_REVIEWS:
        return load_film_reviews()
    texts = {stage.feedback: work.records(RatedText, stage.feedback)}
    readable, rejected = readable_records(texts, stage.name)
    try:
        items = gather_ratings(readable[stage.feedback])
    except DataError as error:
        raise DataError(f"stage '{stage.name}': {error}") from None
    has_prompts = items[0].prompt is not None
    if not has_prompts and not stage.prompt_templates:
        raise DataError(
            f"stage '{stage.name}': the texts of {stage.feedback} have no prompts; give each row one, or give "
            "the stage prompt_templates and held_out_prompt_templates, lists of prompts for such a text."
        )
    if has_prompts and stage.prompt_templates:
        raise DataError(
            f"stage '{stage.name}': the texts of {stage.feedback} have prompts of their own; "
            "remove prompt_templates."
        )
    return items, rejected


def part_sizes(stage: FeedbackStage, count: int) -> dict[str, float]:
    """The share held out for judges, and the number of texts in each other part, of `count` texts."""
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
                f"add texts or raise {name}."
            )
    return sizes


def prompts_for(stage: FeedbackStage, parts: Mapping[str, Sequence[RatedText]], part: str) -> list[Prompt]:
    """The prompts of a policy in training or evaluation: those of the texts, else the stage's prompt templates.

    Args:
        stage: with the prompt templates.
        parts: the split texts by part.
        part: `training` or `held_out`.
    """
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
    """Compare texts within their own prompts, or in random groups under the prompt templates.

    Args:
        training: rated texts.
        prompts: for texts without prompts of their own.
        stage: with the group size and the minimum margin.
        seed: of the groups.
    """
    size, margin = stage.group_size, stage.minimum_margin
    if training[0].prompt:
        preference_set = preferences_within_prompts(training, group_size=size, seed=seed, minimum_margin=margin)
    else:
        preference_set = preferences_from_ratings(
            training, prompts, group_size=size, seed=seed, minimum_margin=margin
        )
    if not preference_set.preferences and preference_set.close:
        raise DataError(
            f"stage '{stage.name}': the mean ratings of all {preference_set.close} pairs are nearer "
            f"than minimum_margin ({margin:g}); lower it."
        )
    if not preference_set.preferences:
        raise DataError(
            f"stage '{stage.name}': no prompt has two different texts, so nothing can be compared; "
            "give several texts per prompt."
        )
    return preference_set


def labels_of(preference_set: PreferenceSet, rated: Mapping[str, RatedText], center: float) -> list[Label]:
    """Label each text good if its mean rating is above `center`, bad if below; leave it out if equal.

    Args:
        preference_set: rankings with the texts.
        rated: the texts with ratings, by id.
        center: on the raters' scale.
    """
    return [
        Label(ranking.prompt, completion, good=rated[completion.id].mean > center)
        for ranking in preference_set.rankings
        for completion in ranking.completions
        if rated[completion.id].mean != center
    ]


def _mean(items: Sequence[RatedText]) -> float:
    return sum(item.mean for item in items) / len(items)


def statistics(items: Sequence[RatedText], seed: int) -> tuple[Interval, CeilingResult]:
    """Agreement of the raters, and the human ceiling that it sets for any judge."""
    alpha = krippendorff_alpha([item.ratings for item in items], "interval", seed)
    ceiling = human_ceiling(items, CEILING_PAIRS, seed)
    return Interval(level="interval", value=alpha.value, low=alpha.low, high=alpha.high), CeilingResult(
        one_rater_against_rest_r=ceiling.correlation.value,
        pair_agreement=ceiling.pair_agreement.value,
        pair_low=ceiling.pair_agreement.low,
        pair_high=ceiling.pair_agreement.high,
        tie_share=ceiling.tie_share,
    )


def print_statistics(result: FeedbackResult) -> None:
    """Print the statistics in three lines, and name those that the ratings leave undefined."""
    raters, alpha, ceiling = result.raters_per_item, result.krippendorff_alpha, result.human_ceiling
    console.print(
        f"  {result.items:,} texts, {result.ratings:,} ratings, "
        f"{raters.least}-{raters.most} raters a text (mean {raters.mean:.1f})"
    )
    if alpha.low is None or ceiling.pair_agreement is None:
        console.print("  how far people agree is undefined: too few texts have two ratings, or all are equal")
    else:
        console.print(
            f"  Krippendorff's alpha {alpha.value:.3f} ({alpha.low:.3f}-{alpha.high:.3f}); one person "
            f"agrees with the majority on {ceiling.pair_agreement:.1%} of pairs: the human ceiling"
        )
    console.print(f"  {result.preferences:,} preferences and {result.demonstrations:,} demonstrations")
