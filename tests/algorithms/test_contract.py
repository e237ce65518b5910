"""What every algorithm must keep to, found by listing the folder as the loops do."""

from __future__ import annotations

import sys
from dataclasses import FrozenInstanceError, fields, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from cases import batch_for, models_for, rows_in, select
from loops import LORA, Killed, examples_for, offline, online, recorded, weights_of
from tiny import tiny_policy, tiny_reward_model
from torch import Tensor

from gnomon.algorithms.contract import algorithms, is_online, needs_step_statistics
from gnomon.algorithms.dpo import DPO
from gnomon.algorithms.kto import KTO
from gnomon.algorithms.plackett_luce import PlackettLuce
from gnomon.algorithms.registry import consumed_kinds
from gnomon.algorithms.sft import SFT
from gnomon.core.batches import TokenGroups, merge_metrics
from gnomon.core.errors import ConfigError
from gnomon.core.experience import Experience
from gnomon.core.progress import StopSignal
from gnomon.training.offline.loop import OfflineLoop
from gnomon.training.runtime.model_bundle import TrainedModels
from gnomon.training.settings import OfflineSettings

EVERY = algorithms()
ONLINE = [name for name, kind in EVERY.items() if kind.consumes is Experience]  # type: ignore[attr-defined]
OF_POLICY = [name for name, kind in EVERY.items() if kind.trains == "policy"]  # type: ignore[attr-defined]


def trained(models: TrainedModels) -> list[Any]:
    return [models.trained] + ([models.critic_model] if models.critic_model else [])


def all_gradients(models: TrainedModels, loss: Tensor) -> list[Tensor]:
    weights = [p for model in trained(models) for p in model.trainable().values()]
    gradients = torch.autograd.grad(loss, weights, allow_unused=True)
    return [torch.zeros_like(p) if g is None else g for p, g in zip(weights, gradients, strict=True)]


def same(gradients: list[Tensor], expected: list[Tensor]) -> None:
    assert max(g.abs().max() for g in expected) > 1e-3
    for a, b in zip(gradients, expected, strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-4)


def test_the_folder_is_the_list() -> None:
    assert {"sft", "reward_model", "ppo"} <= set(EVERY)


@pytest.mark.parametrize("name", EVERY)
def test_it_is_a_frozen_documented_dataclass_with_defaults(name: str) -> None:
    algorithm = EVERY[name]()
    for setting in fields(algorithm):
        with pytest.raises(FrozenInstanceError):
            setattr(algorithm, setting.name, None)
    text = sys.modules[type(algorithm).__module__].__doc__ or ""
    assert "Wrong when" in text
    docstrings = "".join(kind.__doc__ or "" for kind in type(algorithm).__mro__)
    assert all(f"{setting.name}: " in docstrings for setting in fields(algorithm))
    assert algorithm.trains in ("policy", "reward")
    assert algorithm.needs <= {"reference", "critic", "token_reward", "mismatched"}
    assert is_online(algorithm) == (name in ONLINE)


@pytest.mark.parametrize("name", EVERY)
def test_a_wrapper_that_forwards_attributes_keeps_the_contract(name: str) -> None:
    class Forwarding:
        def __init__(self, inner: Any):
            self.inner = inner

        def __getattr__(self, attribute: str) -> Any:
            return getattr(self.inner, attribute)

    algorithm = EVERY[name]()
    wrapped = Forwarding(algorithm)
    assert is_online(wrapped) == is_online(algorithm)
    assert needs_step_statistics(wrapped) == needs_step_statistics(algorithm) == (name in ("kto", "bco"))


@pytest.mark.parametrize("name", EVERY)
def test_micro_batches_add_up(name: str) -> None:
    """Loss, gradient and every metric of the parts are those of the whole, however it is cut."""
    algorithm = EVERY[name]()
    models = models_for(algorithm)
    batch = batch_for(algorithm, models)
    whole, metrics = algorithm.loss(models, batch)
    rows = list(range(rows_in(batch)))
    cuts = [[rows[:1], rows[1:]], [[r] for r in rows], [rows[1::2], rows[::2]]]
    if algorithm.min_group_size > 1:  # the loops keep completions of one prompt together
        groups = batch.tokens.group.tolist()
        cuts = [
            [[r for r in rows if groups[r] in part] for part in cut] for cut in ([[0], [1, 2]], [[2, 0], [1]])
        ]
    for cut in cuts:
        parts = [algorithm.loss(models, select(batch, part)) for part in cut]
        same(
            [sum(g, torch.zeros(())) for g in zip(*(all_gradients(models, p[0]) for p in parts), strict=True)],
            all_gradients(models, algorithm.loss(models, batch)[0]),
        )
        assert sum(float(loss.detach()) for loss, _ in parts) == pytest.approx(
            float(whole.detach()), rel=1e-4, abs=1e-5
        )
        merged = merge_metrics([m for _, m in parts])
        assert merged == pytest.approx({k: float(v) for k, v in metrics.items()}, rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("name", EVERY)
def test_the_order_of_rows_means_nothing(name: str) -> None:
    algorithm = EVERY[name]()
    models = models_for(algorithm)
    batch = batch_for(algorithm, models)
    shuffled = select(batch, list(reversed(range(rows_in(batch)))))
    one, other = (algorithm.loss(models, b)[0] for b in (batch, shuffled))
    assert float(one.detach()) == pytest.approx(float(other.detach()), rel=1e-5, abs=1e-6)
    same(all_gradients(models, one), all_gradients(models, other))


class LeafPolicy:
    """Log-probabilities that are themselves the weights, so that their gradient can be read."""

    def __init__(self, logprobs: Tensor):
        self.values = logprobs.clone().requires_grad_()

    def logprobs(self, tokens: TokenGroups, *, temperature: float = 1.0) -> Tensor:
        return self.values

    def logprobs_and_entropy(
        self, tokens: TokenGroups, *, temperature: float = 1.0, entropy: bool = True
    ) -> tuple[Tensor, Tensor]:
        return self.values, torch.zeros_like(self.values)


def leaf_gradient(algorithm: Any, models: TrainedModels, batch: Any) -> tuple[float, Tensor]:
    with torch.no_grad():
        leaf = LeafPolicy(models.policy.logprobs(batch.tokens))
    stand_in = SimpleNamespace(policy=leaf, critic=models.critic_model, temperature=1.0)
    loss, _ = algorithm.loss(stand_in, batch)
    (gradients,) = torch.autograd.grad(loss, leaf.values)
    return float(loss.detach()), gradients


@pytest.mark.parametrize("name", OF_POLICY)
def test_tokens_outside_the_mask_get_no_gradient(name: str) -> None:
    """Prompts have no entry at all; padding and tokens that the policy did not choose get exactly 0."""
    algorithm = EVERY[name]()
    models = models_for(algorithm)
    batch = batch_for(algorithm, models)
    _, gradients = leaf_gradient(algorithm, models, batch)
    assert not batch.tokens.mask.all()
    assert (gradients[~batch.tokens.mask] == 0).all()
    touched = (gradients[batch.tokens.mask] != 0).float().mean()
    assert touched > 0.25  # a clip may stop some


@pytest.mark.parametrize("name", OF_POLICY)
def test_what_stands_in_the_padding_does_not_matter(name: str) -> None:
    algorithm = EVERY[name]()
    models = models_for(algorithm)
    batch = batch_for(algorithm, models)
    per_token = (
        "old_logprobs", "sampler_logprobs", "reference_logprobs", "values", "rewards", "advantages", "returns",
    )  # fmt: skip
    soiled = {
        key: value.masked_fill(~batch.tokens.mask, float("nan"))
        for key in per_token
        if (value := getattr(batch, key, None)) is not None
    }
    loss, gradient = leaf_gradient(algorithm, models, batch)
    again, same_gradient = leaf_gradient(algorithm, models, replace(batch, **soiled))
    assert again == pytest.approx(loss, rel=1e-6)
    assert torch.equal(gradient, same_gradient)


@torch.no_grad()
def weighted_likelihood(models: TrainedModels, batch: Experience) -> float:
    """Σ A·log π: what every policy gradient raises at first."""
    assert batch.advantages is not None
    logprobs = models.policy.logprobs(batch.tokens, temperature=models.temperature)
    return float((logprobs * batch.advantages).masked_fill(~batch.tokens.mask, 0.0).sum())


@pytest.mark.parametrize("name", EVERY)
def test_learning_lowers_the_loss_and_leaves_the_reference(name: str) -> None:
    algorithm = EVERY[name]()
    models = models_for(algorithm)
    batch = batch_for(algorithm, models)
    frozen = {n: p.clone() for n, p in models.trained.network.named_parameters() if not p.requires_grad}
    reference = models.policy.reference_logprobs(batch.tokens) if name in OF_POLICY else None
    adam = torch.optim.Adam([p for m in trained(models) for p in m.trainable().values()], lr=3e-3)
    losses, likelihoods = [], []
    for _ in range(20):
        loss, _ = algorithm.loss(models, batch)
        adam.zero_grad()
        loss.backward()
        adam.step()
        losses.append(float(loss.detach()))
        if name in ONLINE:
            likelihoods.append(weighted_likelihood(models, batch))
    if name in ONLINE:  # a weight inside the loss may grow with the ratio; what was good must get likelier
        assert likelihoods[-1] > likelihoods[0] + 0.01
    else:
        assert losses[-1] < losses[0] - 0.01
    now = dict(models.trained.network.named_parameters())
    assert all(torch.equal(now[n], value) for n, value in frozen.items())
    if reference is not None:
        assert torch.equal(models.policy.reference_logprobs(batch.tokens), reference)


def start(folder: Path, words: Any, algorithm: Any, loop: Any, before: Any = lambda call: None) -> list[Tensor]:
    """Two small steps of a loop on fresh models, a checkpoint after each; the weights that come out."""
    small: dict[str, Any] = {"before": before, "algorithm": algorithm, "checkpoint_seconds": 0.0}
    if loop is offline:
        make = {"policy": tiny_policy, "reward": tiny_reward_model}[algorithm.trains]
        models = TrainedModels(make(trainable=LORA))
        return weights_of(offline(folder, models=models, epochs=1.0, batch_size=5, **small))
    small |= {"steps": 2, "prompts_per_step": 2, "epochs": 1, "minibatches": 1, "sampling": {"completions": 4}}
    started = online(folder, words, **small)
    started.run()
    return weights_of(started.models)


@pytest.mark.parametrize("name", EVERY)
def test_killed_in_the_middle_it_goes_on_to_the_same_bits(name: str, tmp_path: Path, words: Any) -> None:
    algorithm, loop = EVERY[name](), online if name in ONLINE else offline

    def kill(call: int) -> None:
        if call == 2:
            raise Killed

    expected = start(tmp_path / "whole", words, algorithm, loop)
    with pytest.raises(Killed):
        start(tmp_path / "cut", words, algorithm, loop, kill)
    assert len(recorded(tmp_path / "cut")) == 1
    weights = start(tmp_path / "cut", words, algorithm, loop)
    assert recorded(tmp_path / "cut") == recorded(tmp_path / "whole")
    assert all(torch.equal(a, b) for a, b in zip(weights, expected, strict=True))


@pytest.mark.parametrize("name", EVERY)
def test_what_it_cannot_learn_from_is_refused_at_the_loops_door(name: str, tmp_path: Path, words: Any) -> None:
    """Stored records of every other kind, and the loop that is not its own; the sentence names what it wants."""
    algorithm = EVERY[name]()
    others: list[Any] = [SFT(), DPO(), KTO(), PlackettLuce()]
    data_name = "its own samples" if name in ONLINE else algorithm.consumes.__name__
    models = TrainedModels(tiny_policy(trainable=LORA))
    for other in others:
        if other.consumes in consumed_kinds(algorithm):
            continue
        with pytest.raises(ConfigError, match=f"^{type(algorithm).__name__} learns from {data_name}"):
            OfflineLoop(
                algorithm=algorithm, models=models, examples=examples_for(other), settings=OfflineSettings(),
                folder=tmp_path, seed=0, stop=StopSignal(), label="x",
            )  # fmt: skip
    if name not in ONLINE:
        with pytest.raises(ConfigError, match=f"learns from {data_name}s; train it in the offline loop"):
            online(tmp_path, words, algorithm=algorithm)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ONLINE)
def test_the_first_pass_is_on_policy(name: str) -> None:
    algorithm = EVERY[name]()
    models = models_for(algorithm)
    _, metrics = algorithm.loss(models, batch_for(algorithm, models, on_policy=True))
    assert float(metrics["approx_kl"]) == pytest.approx(0.0, abs=1e-6)
    assert float(metrics["prob_abs_diff"]) == pytest.approx(0.0, abs=1e-6)
    assert float(metrics.get("clip_fraction", 0.0)) == 0.0
    _, off = algorithm.loss(models, batch_for(algorithm, models))
    assert float(off["approx_kl"]) > 1e-3
    assert float(off["prob_abs_diff"]) > 1e-3
    if getattr(algorithm, "clip_low", 1.0) < 1:
        assert float(off["clip_fraction"]) > 0.0
