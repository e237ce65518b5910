"""Models of single steps load, the newest stay, and training comes to the same bits with them or without."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from loops import LORA, Killed, offline, online, recorded, weights_of
from safetensors.torch import load_file
from tiny import ragged_groups, tiny_policy, tiny_reward_model

from gnomon.models.engine.device import Compute
from gnomon.models.loading import load_policy, save_model
from gnomon.models.settings import Trainable
from gnomon.training.runtime.model_bundle import TrainedModels


def run(kind: str, folder: Path, words: Any, **settings: Any) -> TrainedModels:
    """Seven steps offline or four rounds online."""
    if kind == "offline":
        return offline(folder, models=TrainedModels(tiny_policy(words, LORA, vocab=64)), **settings)
    loop = online(folder, words, **settings)
    loop.run()
    return loop.models


def files(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.mark.long
@pytest.mark.parametrize("kind", ["offline", "online"])
def test_the_same_numbers_with_them_and_without_and_after_a_kill(kind: str, tmp_path: Path, words: Any) -> None:
    plain, with_snapshots, cut = (tmp_path / name for name in ("plain", "kept", "cut"))
    expected = run(kind, plain, words)
    models = run(kind, with_snapshots, words, models_every=2)
    assert recorded(with_snapshots) == recorded(plain)
    assert all(torch.equal(a, b) for a, b in zip(weights_of(models), weights_of(expected), strict=True))
    names = ["00000002", "00000004"] + (["00000006"] if kind == "offline" else [])
    assert sorted(p.name for p in (with_snapshots / "models").iterdir()) == [*names, "kept.json"]

    def kill(call: int) -> None:
        if call == (5 if kind == "offline" else 11):  # after the first or second folder, before the last
            raise Killed

    settings: dict[str, Any] = {
        "models_every": 2,
        "checkpoint_seconds": 10**6,
    }  # it begins again at the first step
    with pytest.raises(Killed):
        run(kind, cut, words, before=kill, **settings)
    assert (cut / "models" / names[0]).is_dir()
    run(kind, cut, words, **settings)
    assert files(cut / "models") == files(with_snapshots / "models")
    assert not (plain / "models").exists()


def test_a_folder_is_the_model_of_its_step(tmp_path: Path, words: Any) -> None:
    models = run("offline", tmp_path / "run", words, models_every=7)
    save_model(models.trained, tmp_path / "end", steps=7)
    step = files(tmp_path / "run" / "models" / "00000007")
    assert step == files(tmp_path / "end")
    load_policy(str(tmp_path / "run" / "models" / "00000007"), Compute(torch.device("cpu"), torch.float32))


def test_the_newest_stay_and_what_somebody_changed(tmp_path: Path, words: Any) -> None:
    run("offline", tmp_path, words, models_every=1, models_kept=2)
    assert sorted(p.name for p in (tmp_path / "models").iterdir()) == ["00000006", "00000007", "kept.json"]
    (tmp_path / "models" / "00000006" / "notes.txt").write_text("the best one")
    (tmp_path / "metrics.jsonl").unlink()
    run("offline", tmp_path, words, models_every=1, models_kept=1)
    left = sorted(p.name for p in (tmp_path / "models").iterdir())
    assert left == ["00000006.1", "00000007", "kept.json"]
    assert (tmp_path / "models" / "00000006.1" / "notes.txt").read_text() == "the best one"


@pytest.mark.parametrize("trainable", [LORA, Trainable(adapter="none", layers=None)], ids=["lora", "whole"])
def test_a_reward_model_is_kept_too(tmp_path: Path, words: Any, trainable: Trainable) -> None:
    model = tiny_reward_model(words, trainable, vocab=64)
    tokens = ragged_groups()
    before = model.scores(tokens)
    with model.to_save() as twin:
        save_model(twin, tmp_path / "step")
    assert torch.equal(model.scores(tokens), before)
    save_model(model, tmp_path / "end")
    assert files(tmp_path / "step") == files(tmp_path / "end")


def test_frozen_matrices_are_saved_as_they_were_read(tmp_path: Path, words: Any) -> None:
    """Though training holds them rounded; and nothing that saving changes in a configuration stays."""
    policy = tiny_policy(words, LORA)
    policy.compute = Compute(torch.device("cpu"), torch.bfloat16)
    whole = copy.deepcopy(policy.adapter).merge_and_unload().state_dict()  # type: ignore[union-attr]
    before = copy.deepcopy(policy.network.config.to_dict())
    with policy.rounded(), policy.to_save() as twin:
        save_model(twin, tmp_path / "model")
        twin.network.config.pad_token_id = 17
    saved = load_file(tmp_path / "model" / "model.safetensors")
    assert saved
    assert all(torch.equal(tensor, whole[name]) for name, tensor in saved.items())
    assert policy.adapter is not None
    assert policy.network.config.to_dict() == before
    plain = tiny_policy(words)
    with plain.to_save() as twin:
        twin.network.config.pad_token_id = 17
    assert plain.network.config.pad_token_id != 17
