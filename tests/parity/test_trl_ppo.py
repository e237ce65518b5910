"""PPO beside TRL 1.12's, the last that has it: from scores through GAE to the gradients of policy and critic.

Alike to 1e-4 where no completion is padded. Two differences, both on purpose:

* TRL divides the variance that whitens advantages by n − 1, Gnomon by n, as the code of Ziegler et al. does.
* After a completion that ended early TRL has one more state, behind the end: the score stands there, and its
  value is in GAE and in the value loss. Nothing is chosen there; with λ = 1 the advantages are alike anyway.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import trl_peer as peer
from safetensors.torch import load_file
from tiny import tiny_critic, tiny_policy, tiny_reward_model
from torch import Tensor

from gnomon.algorithms.ppo import PPO
from gnomon.core.batches import StepTotals, TokenGroups
from gnomon.core.experience import Experience
from gnomon.data.reading.downloads import fetch_from_pypi
from gnomon.rollouts.experience import apply_kl_penalty
from gnomon.training.runtime.model_bundle import TrainedModels

pytestmark = [pytest.mark.long, pytest.mark.filterwarnings("ignore")]
HERE = Path(__file__).parent
WHEEL = "trl-1.12.0-py3-none-any.whl"
SHA256 = "9c8f117b21a941edbc85744f5a341c9453d38e81f24ae81d3c6e9b9ca3b96409"
TEMPERATURE, BETA, STEP = 0.8, 0.3, 0.3
FULL = [[11, 12, 13, 14, 0], [15, 16, 17, 18, 0], [19, 20, 21, 22, 23], [24, 25, 26, 27, 0], [28, 29, 30, 31, 32]]
RAGGED = [[11, 12, 0], [15, 0], [19, 20, 21, 22, 23], [24, 25, 26, 0], [28, 29, 30, 31, 0]]
GROUP = [0, 0, 1, 1, 2]


# What TRL is told, what Gnomon is told, and the completions.
CASES: dict[str, tuple[dict[str, float], PPO, list[list[int]]]] = {
    "defaults": ({}, PPO(), FULL),
    "discounted": ({"lam": 0.5, "gamma": 0.9}, PPO(gae_lambda=0.5, gamma=0.9), FULL),
    "clipped": (
        {"cliprange": 0.02, "cliprange_value": 0.01, "vf_coef": 0.7},
        PPO(clip_low=0.02, clip_high=0.02, value_clip=0.01, value_weight=0.7),
        FULL,
    ),
    "ragged": ({}, PPO(), RAGGED),
    "ragged, lambda one": ({"lam": 1.0, "vf_coef": 0.0}, PPO(gae_lambda=1.0, value_weight=0.0), RAGGED),
}


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Tensor]]:
    """Losses and gradients of two passes in TRL 1.12, whatever version is installed, for each case."""
    folder = tmp_path_factory.mktemp("trl")
    with zipfile.ZipFile(fetch_from_pypi("trl==1.12.0", WHEEL, SHA256, source=False)) as archive:
        archive.extractall(folder / "trl-1.12")
    shared = {"prompts": peer.PROMPTS, "group": GROUP, "temperature": TEMPERATURE, "step": STEP}
    cases = {
        name: {**shared, "completions": completions, "settings": {"kl_coef": BETA, **settings}}
        for name, (settings, _, completions) in CASES.items()
    }
    (folder / "cases.json").write_text(json.dumps(cases))
    paths = [str(folder / "trl-1.12"), str(HERE), str(HERE.parent), os.environ.get("PYTHONPATH", "")]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(HERE / "ppo_peer.py"), str(folder)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), "TRL_EXPERIMENTAL_SILENCE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return {name: load_file(folder / f"{name}.safetensors") for name in CASES}


def ours(case: str) -> dict[str, Tensor]:
    """The same of Gnomon."""
    _, algorithm, completions = CASES[case]
    policy = tiny_policy(trainable=peer.EVERYTHING, seed=0)
    critic = tiny_critic(trainable=peer.EVERYTHING, seed=4)
    groups = TokenGroups.build(peer.PROMPTS, completions, GROUP)
    batch = algorithm.compute_advantages(apply_kl_penalty(experience(policy, critic, groups), BETA))
    assert batch.advantages is not None
    n = float(groups.mask.sum())
    batch = replace(batch, advantages=batch.advantages * ((n - 1) / n) ** 0.5)
    named = {f"policy.{n}": p for n, p in policy.network.named_parameters()}
    named |= {f"critic.{n}": p for n, p in critic.network.named_parameters()}
    found: dict[str, Tensor] = {}
    for turn in range(2):
        loss = algorithm.loss(TrainedModels(policy, critic, TEMPERATURE), batch)[0]
        gradients = torch.autograd.grad(loss, list(named.values()), allow_unused=True)
        found[f"loss.{turn}"] = loss.detach()
        with torch.no_grad():
            for (name, weight), g in zip(named.items(), gradients, strict=True):
                found[f"{turn}.{name}"] = torch.zeros_like(weight) if g is None else g
                weight -= STEP * found[f"{turn}.{name}"]
    return found


@torch.no_grad()
def experience(policy: Any, critic: Any, groups: TokenGroups) -> Experience:
    return Experience(
        tokens=groups,
        old_logprobs=policy.logprobs(groups, temperature=TEMPERATURE),
        scores=tiny_reward_model(seed=2).scores(groups),
        finished=torch.ones(len(groups), dtype=torch.bool),
        totals=StepTotals(len(groups), float(groups.mask.sum())),
        reference_logprobs=peer.reference_logprobs(groups, TEMPERATURE),
        values=critic.predict(groups).values,
    )


def gaps(mine: dict[str, Tensor], found: dict[str, Tensor]) -> list[float]:
    """Difference of the gradients in lengths of TRL's, for each pass."""
    passes = [{n: g for n, g in both.items() if n.startswith(turn)} for turn in "01" for both in (mine, found)]
    assert all(peer.norm(p) > 1e-3 for p in passes)
    return [peer.gap(passes[0], passes[1]), peer.gap(passes[2], passes[3])]


@pytest.mark.parametrize("case", ["defaults", "discounted", "clipped"])
def test_losses_and_gradients_of_two_passes(theirs: dict[str, dict[str, Tensor]], case: str) -> None:
    found, mine = theirs[case], ours(case)
    assert max(gaps(mine, found)) < 1e-4
    for turn in ("loss.0", "loss.1"):
        assert float(mine[turn]) == pytest.approx(float(found[turn]), rel=1e-4, abs=1e-5)


def test_completions_of_any_length_with_lambda_one(theirs: dict[str, dict[str, Tensor]]) -> None:
    """The state behind the end then says nothing to the policy."""
    assert gaps(ours("ragged, lambda one"), theirs["ragged, lambda one"])[0] < 1e-4


def test_the_state_behind_the_end_is_what_differs(theirs: dict[str, dict[str, Tensor]]) -> None:
    assert 0.01 < gaps(ours("ragged"), theirs["ragged"])[0] < 1
