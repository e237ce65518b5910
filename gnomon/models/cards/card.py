"""The model card of a saved model: what it is, what it learned from, and what it is not for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from huggingface_hub import ModelCardData

from gnomon.core.version import VERSION
from gnomon.models.cards.base import UNKNOWN, BaseInfo
from gnomon.models.cards.facts import Kind, ModelCard
from gnomon.models.cards.figures import NO_FIGURES, SECTION_END, SECTION_START
from gnomon.models.cards.markdown import code, fence, table

PIPELINE_TAGS: dict[Kind, str | None] = {
    "policy": "text-generation",
    "reward": "text-classification",
    "critic": None,
}
SUMMARIES: dict[Kind, str] = {
    "policy": "A language model",
    "reward": "A reward model, which scores completions of a prompt by how people would judge them",
    "critic": "A critic, which predicts at each token the reward that the rest of a completion will bring",
}
LIMITS: dict[Kind, tuple[str, ...]] = {
    "policy": (
        "It was trained towards the judgements listed above, those of a few people about a few prompts. They are "
        "not the preferences of everybody, and other languages, tasks and groups of people were not tested.",
        "A higher score or win rate means that these judges prefer its texts, not that the texts are true, safe "
        "or free of bias.",
        "It is not meant for decisions about people, nor for advice on health, law or money, and not for use "
        "without a person who checks what it writes.",
    ),
    "reward": (
        "Its scores compare completions of the same prompt. They are no probabilities, and have no meaning on "
        "their own or between models.",
        "It learned the judgements listed above. It does not measure truth or safety, and is no filter for "
        "harmful texts and no judge of people.",
        "A policy that is trained against it long enough finds texts that it scores too high; evaluate such a "
        "policy with a judge that took no part in its training.",
    ),
    "critic": (
        "It is a part of one training: it predicts the rewards of that policy under that reward, and is useful "
        "to continue that training.",
        "It is no judge of texts, and no filter.",
    ),
}


def render_card(card: ModelCard, kind: Kind, base: BaseInfo, steps: int | None = None) -> str:
    """Render a card without figures. The same facts give the same text.

    Args:
        card: the facts of the training.
        kind: of model.
        base: the facts of the base model.
        steps: of the optimizer, or rounds, that the model was trained for.
    """
    parts = [
        f"---\n{_metadata(card, kind, base).to_yaml()}\n---",
        f"# {code(card.name)}",
        f"{SUMMARIES[kind]}, saved by Gnomon {VERSION}.",
        table(("", ""), _facts(card, base, steps)),
        f"## Figures\n\n{SECTION_START}\n{NO_FIGURES}\n{SECTION_END}",
        f"## Judgements\n\n{_judgements(card)}",
        f"## Data\n\n{_data(card)}",
        "## What it is not for\n\n" + "\n".join(f"- {sentence}" for sentence in LIMITS[kind]),
    ]
    if card.description:
        parts.append(f"## Algorithm\n\n{fence(card.description, 'text')}")
    if card.recipe:
        parts.append(
            "## Recipe\n\nThe stages that lead to this model, with all settings that change its weights. Give it "
            f"a `run` folder, and `gnomon run` repeats the training.\n\n{fence(card.recipe, 'yaml')}"
        )
    return "\n\n".join(parts) + "\n"


def _metadata(card: ModelCard, kind: Kind, base: BaseInfo) -> ModelCardData:
    own = {"policy": card.algorithms, "reward": ("reward-model",), "critic": ("critic",)}[kind]
    tags = dict.fromkeys(["gnomon", "rlhf", *own])
    relation: dict[str, Any] = {"base_model_relation": "finetune"} if base.hub_id else {}
    languages: Any = list(base.languages) if len(base.languages) > 1 else next(iter(base.languages), None)
    return ModelCardData(
        base_model=base.hub_id,
        **relation,
        language=languages,
        library_name="transformers",
        license=base.license,
        license_name=base.license_name,
        license_link=base.license_link,
        pipeline_tag=PIPELINE_TAGS[kind],
        tags=[tag.replace("_", "-") for tag in tags],
    )


def _facts(card: ModelCard, base: BaseInfo, steps: int | None) -> Iterator[tuple[str, str]]:
    names = dict.fromkeys(name for name in (card.base_name, base.hub_id) if name)
    yield "base model", ", ".join(map(code, names)) or UNKNOWN
    stated = f", from its {code(base.license_from)}" if base.license_from else ""
    name = f" ({code(base.license_name)})" if base.license_name else ""
    yield "license of the base model", f"{code(base.license)}{name}{stated}"
    yield "languages of the base model", ", ".join(map(code, base.languages)) or UNKNOWN
    if card.start:
        yield "trained from", f"{code(card.start)}, an earlier stage"
    if card.algorithms:
        yield "algorithm", ", then ".join(map(code, card.algorithms))
    if steps is not None:
        yield "training steps", f"{steps:,}"
    if card.seed is not None:
        yield "seed", str(card.seed)
    if card.versions:
        yield "versions", ", ".join(f"{name} {code(version)}" for name, version in card.versions.items())


def _judgements(card: ModelCard) -> str:
    if not card.judgements:
        return "No judgements are known behind this model: no export of a feedback store, and no ratings."
    head = ("data", "store or ratings", "judgements", "annotators", "aggregation", "export (SHA-256)")
    rows = [
        (
            code(one.source),
            code(one.store),
            UNKNOWN if one.judgements is None else f"{one.judgements:,}",
            code(one.annotators),
            code(one.aggregation),
            (code(one.digest) or "none") + ("" if one.unchanged else ", **changed after the export**"),
        )
        for one in card.judgements
    ]
    return table(head, rows)


def _data(card: ModelCard) -> str:
    if not card.data:
        return "The data that it was trained on is not recorded."
    return table(("data", "SHA-256"), [(code(one.name), code(one.sha256)) for one in card.data])
