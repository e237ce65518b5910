"""A card is what the hub reads: metadata that parses, and figures in both places."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import huggingface_hub
import pytest

from gnomon.core.storage.sealed_files import is_sealed, write_sealed
from gnomon.models.cards.base import BaseInfo
from gnomon.models.cards.card import render_card
from gnomon.models.cards.facts import DataFile, Figure, JudgementSource, Kind, ModelCard
from gnomon.models.cards.figures import NO_FIGURES, set_figures, with_figures

BASE = BaseInfo("ann/first", "apache-2.0", license_from="README.md", languages=("en", "zh"))
CARD = ModelCard(
    name="aligned",
    base="first",
    base_name="my-first",
    start="sft",
    algorithms=("dr_grpo",),
    description="Dr. GRPO: a formula.\n\nPaper: Liu et al. 2025.",
    recipe="seed: 3\n",
    seed=3,
    versions={"gnomon": "0.1.0", "torch": "2.13"},
    judgements=(JudgementSource("pairs.jsonl", "films", 1234, "7", "majority", "ab" * 32, unchanged=False),),
    data=(DataFile("pairs.jsonl", "cd" * 32),),
)
WIN = Figure("win rate", 0.61234, 0.55, 0.68, "report", (("against", "base"), ("by", "vader")), "alone")
PERSON = Figure("pair accuracy", 0.8, None, None, "judge", (("of", "one person"),), own=False)
HOSTILE = "x\n---\nlicense: mit\n---\n# <script> | `a` [b](c) {{ d }}\n<!-- end of figures -->\n<!-- figures -->"


def test_the_metadata_is_the_hubs() -> None:
    data: Any = huggingface_hub.ModelCard(render_card(CARD, "policy", BASE, 40)).data
    assert data.to_dict() == {
        "base_model": "ann/first",
        "base_model_relation": "finetune",
        "language": ["en", "zh"],
        "library_name": "transformers",
        "license": "apache-2.0",
        "pipeline_tag": "text-generation",
        "tags": ["gnomon", "rlhf", "dr-grpo"],
    }


@pytest.mark.parametrize(
    ("kind", "tag", "task"),
    [("reward", "reward-model", "text-classification"), ("critic", "critic", None)],
)
def test_reward_models_and_critics_have_tags_of_their_own(kind: Kind, tag: str, task: str | None) -> None:
    text = render_card(ModelCard(), kind, BaseInfo())
    data: Any = huggingface_hub.ModelCard(text).data
    assert data.tags == ["gnomon", "rlhf", tag]
    assert data.get("pipeline_tag") == task
    assert data.license == "unknown"
    assert data.get("base_model") is None
    assert "## What it is not for\n\n- " in text


def test_the_text_has_every_fact() -> None:
    text = render_card(CARD, "policy", BASE, 1040)
    for row in (
        "| base model | `my-first`, `ann/first` |",
        "| license of the base model | `apache-2.0`, from its `README.md` |",
        "| languages of the base model | `en`, `zh` |",
        "| trained from | `sft`, an earlier stage |",
        "| algorithm | `dr_grpo` |",
        "| training steps | 1,040 |",
        "| seed | 3 |",
        "| versions | gnomon `0.1.0`, torch `2.13` |",
        f"| `pairs.jsonl` | `films` | 1,234 | `7` | `majority` | `{'ab' * 32}`, **changed after the export** |",
        f"| `pairs.jsonl` | `{'cd' * 32}` |",
        "Paper: Liu et al. 2025.",
        "```yaml\nseed: 3\n```",
        NO_FIGURES,
    ):
        assert row in text
    assert render_card(CARD, "policy", BASE, 1040) == text


def test_figures_go_into_the_section_and_the_metadata() -> None:
    before = render_card(CARD, "policy", BASE)
    text = with_figures(before, "aligned", [WIN, PERSON], "text-generation")
    assert "| win rate against `base` by `vader` | 0.612 | 0.550 to 0.680 | `report` | alone |" in text
    assert "| pair accuracy of `one person` | 0.800 |  | `judge` |  |" in text
    assert NO_FIGURES not in text
    data: Any = huggingface_hub.ModelCard(text).data
    (result,) = data.eval_results  # one person's is not the model's
    assert (result.metric_type, result.metric_value, result.dataset_type) == ("win_rate", 0.6123, "report")
    assert result.metric_name == "win rate against base by vader (95% interval 0.550 to 0.680)"
    assert with_figures(text, "aligned", [WIN, PERSON], "text-generation") == text
    assert with_figures(text, "aligned", [], "text-generation") == before


def test_no_value_breaks_the_metadata_or_the_sections() -> None:
    sources = (JudgementSource(HOSTILE, HOSTILE, None, HOSTILE, HOSTILE, HOSTILE),)
    card = ModelCard(
        name=HOSTILE,
        base_name=HOSTILE,
        start=HOSTILE,
        algorithms=("dpo", "ppo"),
        description=HOSTILE,
        recipe=HOSTILE,
        versions={"a": HOSTILE},
        judgements=sources,
        data=(DataFile(HOSTILE, "x"),),
    )
    base = BaseInfo("ann/first", "other", HOSTILE, HOSTILE)
    before = render_card(card, "policy", base)
    text = with_figures(before, HOSTILE, [Figure("win rate", 0.5, 0.4, 0.6, HOSTILE)], "text-generation")
    metadata: Any = huggingface_hub.ModelCard(text).data
    assert (metadata.license, metadata.library_name) == ("other", "transformers")
    assert metadata.tags == ["gnomon", "rlhf", "dpo", "ppo"]
    assert metadata.eval_results[0].metric_value == 0.5
    sections = [line for line in text.split("```")[0].splitlines() if line.startswith("## ")]
    assert sections == ["## Figures", "## Judgements", "## Data", "## What it is not for", "## Algorithm"]
    assert with_figures(text, HOSTILE, [], "text-generation") == before


def test_a_password_is_in_no_part_of_a_card() -> None:
    store = JudgementSource("data", "postgresql://ann:hunter2@host/db", 1, "1", "majority")
    text = render_card(ModelCard(base_name="https://ann:hunter2@hub/model", judgements=(store,)), "policy", BASE)
    assert "hunter2" not in text
    assert "postgresql://ann:***@host/db" in text


def test_figures_are_put_into_a_card_of_gnomon_alone(tmp_path: Path) -> None:
    set_figures(tmp_path, "aligned", [WIN], "text-generation")
    assert list(tmp_path.iterdir()) == []
    path = tmp_path / "README.md"
    write_sealed(path, render_card(CARD, "policy", BASE))
    set_figures(tmp_path, "aligned", [WIN], "text-generation")
    assert is_sealed(path)
    assert "0.612" in path.read_text(encoding="utf-8")
    first = path.stat().st_mtime_ns
    set_figures(tmp_path, "aligned", [WIN], "text-generation")
    assert path.stat().st_mtime_ns == first
    edited = path.read_text(encoding="utf-8").replace("aligned", "mine")
    path.write_text(edited, encoding="utf-8")
    set_figures(tmp_path, "aligned", [], "text-generation")
    assert path.read_text(encoding="utf-8") == edited
