"""Parts of a reward model beside its head: learned with it, saved with it, and out of the way of transformers."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import CPU, tiny_reward_model
from transformers import AutoModelForSequenceClassification

from gnomon.core.errors import ModelError
from gnomon.models.loading import load_reward_model, save_model
from gnomon.models.roles import RewardModel
from gnomon.models.score_parts.files import PARTS_FILE, add_parts
from gnomon.models.score_parts.heads import GAIN
from gnomon.models.score_parts.settings import PartSettings


def with_parts(settings: PartSettings, tokenizer: Any = None) -> RewardModel:
    model = tiny_reward_model(tokenizer)
    add_parts(model.network, settings, "tiny")
    return model


def test_a_tie_parameter_starts_where_its_model_says() -> None:
    davidson, rao_kupper = (with_parts(PartSettings(tie=name)).parts for name in ("davidson", "rao_kupper"))
    assert davidson is not None
    assert rao_kupper is not None
    assert (davidson.tie_parameter(), rao_kupper.tie_parameter()) == pytest.approx((1.0, 2.0))
    davidson.tie.data.fill_(0.5 / GAIN)  # type: ignore[union-attr]
    assert davidson.tie_parameter() == pytest.approx(math.exp(0.5))


def test_parts_are_saved_and_loaded_and_transformers_reads_the_folder_without_them(
    tmp_path: Path, chat_tokenizer: Any
) -> None:
    model = with_parts(PartSettings(tie="davidson"), chat_tokenizer)
    assert model.parts is not None
    model.parts.tie.data.fill_(0.3 / GAIN)  # type: ignore[union-attr]
    save_model(model, tmp_path / "judge")
    assert model.parts is not None  # the model is of use after it is saved
    again = load_reward_model(str(tmp_path / "judge"), CPU, seed=1)
    assert again.parts is not None
    assert again.parts.tie_parameter() == pytest.approx(math.exp(0.3))
    assert not any(p.requires_grad for p in again.parts.parameters())
    save_model(again, tmp_path / "twice")
    names = sorted(path.name for path in (tmp_path / "judge").iterdir())
    assert names == sorted(path.name for path in (tmp_path / "twice").iterdir())
    _, facts = AutoModelForSequenceClassification.from_pretrained(tmp_path / "judge", output_loading_info=True)
    assert not facts["missing_keys"]
    assert not facts["unexpected_keys"]


@pytest.mark.parametrize("damage", ["missing", "other"])
def test_parts_that_do_not_fit_are_refused(tmp_path: Path, chat_tokenizer: Any, damage: str) -> None:
    folder = tmp_path / "judge"
    save_model(with_parts(PartSettings(tie="davidson"), chat_tokenizer), folder)
    if damage == "missing":
        (folder / PARTS_FILE).unlink()
    else:
        config: dict[str, Any] = json.loads((folder / "config.json").read_text())
        config["score_parts"]["tie"] = None
        (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match=rf"{PARTS_FILE} is missing or does not fit the score_parts"):
        load_reward_model(str(folder), CPU, seed=1)


def test_a_learned_parameter_gets_a_gradient() -> None:
    model = with_parts(PartSettings(tie="rao_kupper"))
    assert model.parts is not None
    model.parts.requires_grad_(True)
    model.parts.tie_logit().backward()  # type: ignore[no-untyped-call]
    # η = softplus(x) with x = 100·tie: dη/dtie = 100·σ(0)
    assert torch.allclose(model.parts.tie.grad, torch.tensor(50.0))  # type: ignore[union-attr, arg-type]
