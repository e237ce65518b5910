"""A saved model brings its card, and what a user wrote in its place stays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
from tiny import CPU, shake

from gnomon.core.storage.ownership import digest_entry
from gnomon.core.storage.sealed_files import is_sealed
from gnomon.models.loading import load_critic, load_policy, load_reward_model, save_model
from gnomon.models.roles import Model
from gnomon.models.settings import FROZEN, Trainable
from gnomon.models.tiny_random import RandomModel

CARD = "README.md"
LORA = Trainable(layers=1, rank=2)


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A model as a user brings it, with a card and a license."""
    folder = tmp_path / "base"
    RandomModel().write(folder)
    text = "---\nlicense: other\nlicense_name: own-terms\nlanguage: zh\nbase_model: ann/first\n---\n"
    (folder / CARD).write_text(text, encoding="utf-8")
    (folder / "LICENSE").write_text("The terms of Ann.", encoding="utf-8")
    return folder


def models(base: str) -> list[Model]:
    return [
        load_policy(base, CPU, LORA),
        load_policy(base, CPU),
        load_reward_model(base, CPU, seed=0),
        load_critic(base, CPU, FROZEN, seed=0),
    ]


def test_every_kind_of_model_is_saved_with_a_card_and_the_license_of_its_base(base: Path, tmp_path: Path) -> None:
    for number, model in enumerate(models(str(base))):
        folder = tmp_path / f"model-{number}"
        save_model(model, folder, steps=7)
        card: Any = huggingface_hub.ModelCard.load(folder / CARD)
        assert is_sealed(folder / CARD)
        assert (card.data.license, card.data.license_name, card.data.license_link) == (
            "other",
            "own-terms",
            "LICENSE",
        )
        assert (card.data.language, card.data.base_model) == ("zh", "ann/first")
        assert "| training steps | 7 |" in card.text
        assert (folder / "LICENSE").read_text(encoding="utf-8") == "The terms of Ann."
        save_model(models(str(base))[number], tmp_path / "again" / str(number), steps=7)
        assert digest_entry(tmp_path / "again" / str(number)) == digest_entry(folder)


def test_a_model_trained_from_a_saved_one_inherits_the_facts_of_its_base(base: Path, tmp_path: Path) -> None:
    save_model(load_policy(str(base), CPU), tmp_path / "first")
    save_model(load_policy(str(tmp_path / "first"), CPU), tmp_path / "second")
    data: Any = huggingface_hub.ModelCard.load(tmp_path / "second" / CARD).data
    assert (data.license_name, data.language, data.base_model) == ("own-terms", "zh", "ann/first")


def test_a_model_whose_base_is_gone_has_a_card(base: Path, tmp_path: Path) -> None:
    policy = load_policy(str(base), CPU)
    base.rename(tmp_path / "moved")
    save_model(policy, tmp_path / "model")
    data: Any = huggingface_hub.ModelCard.load(tmp_path / "model" / CARD).data
    assert data.license == "unknown"


def test_the_same_model_gets_a_new_card_and_keeps_its_folder(base: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    save_model(load_policy(str(base), CPU), folder, steps=7)
    save_model(load_policy(str(base), CPU), folder, steps=8)
    assert "| training steps | 8 |" in (folder / CARD).read_text(encoding="utf-8")
    assert not (tmp_path / "model.1").exists()
    (folder / CARD).unlink()
    save_model(load_policy(str(base), CPU), folder, steps=8)
    assert is_sealed(folder / CARD)


@pytest.mark.parametrize("change", ["edited", "replaced", "linked"])
def test_a_card_that_a_user_wrote_or_changed_stays(base: Path, tmp_path: Path, change: str) -> None:
    folder = tmp_path / "model"
    save_model(load_policy(str(base), CPU), folder)
    card = folder / CARD
    if change == "edited":
        card.write_text(card.read_text(encoding="utf-8").replace("own-terms", "new-terms"), encoding="utf-8")
    elif change == "replaced":
        card.write_text("# Mine\n", encoding="utf-8")
    else:
        target = tmp_path / "elsewhere.md"
        card.rename(target)
        card.symlink_to(target)
    before = card.read_text(encoding="utf-8")
    save_model(load_policy(str(base), CPU), folder, steps=9)
    assert card.read_text(encoding="utf-8") == before
    assert card.is_symlink() == (change == "linked")
    assert not (tmp_path / "model.1").exists()


def test_another_model_is_set_aside_with_its_card(base: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    save_model(load_policy(str(base), CPU, LORA), folder)
    (folder / CARD).write_text("# Mine\n", encoding="utf-8")
    other = load_policy(str(base), CPU, LORA)
    shake(other, by=0.3)
    save_model(other, folder)
    assert (tmp_path / "model.1" / CARD).read_text(encoding="utf-8") == "# Mine\n"
    assert is_sealed(folder / CARD)
