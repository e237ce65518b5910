"""Losses over single labels: hand numbers, saturation, and the slopes of the two."""

from __future__ import annotations

import pytest
import torch

from gnomon.losses.unpaired import bco_loss, kto_loss

GOOD = torch.tensor([True, False])


def test_prospect_by_hand() -> None:
    """1 − σ(0.7 − 0.2) = 0.377541, twice 1 − σ(0.2 − 0.7) = 0.622459."""
    losses = kto_loss(torch.tensor([0.7, 0.7]), GOOD, 0.2, good_weight=1.0, bad_weight=2.0)
    assert losses.tolist() == pytest.approx([0.377541, 2 * 0.622459], abs=1e-6)


def test_classifier_by_hand() -> None:
    """log(1 + e^−0.5) = 0.474077 and log(1 + e^0.5) = 0.974077."""
    losses = bco_loss(torch.tensor([0.7, 0.7]), GOOD, 0.2)
    assert losses.tolist() == pytest.approx([0.474077, 0.974077], abs=1e-6)


def test_far_on_the_wrong_side_prospects_are_flat_and_classifiers_are_not() -> None:
    rewards = torch.tensor([-30.0, 30.0], requires_grad=True)
    (flat,) = torch.autograd.grad(kto_loss(rewards, GOOD, 0.0).sum(), rewards)
    (steep,) = torch.autograd.grad(bco_loss(rewards, GOOD, 0.0).sum(), rewards)
    assert flat.abs().max() < 1e-6
    assert steep.tolist() == pytest.approx([-1.0, 1.0])
