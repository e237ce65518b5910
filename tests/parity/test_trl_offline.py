"""Losses on stored data beside TRL's: equal where the formula is one, the difference named where it is not."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import trl_peer as peer
from tiny import naive_logprobs, tiny_network, tiny_reward_model, tiny_scorer

from gnomon.algorithms.bco import BCO
from gnomon.algorithms.cpo import CPO
from gnomon.algorithms.dpo import DPO
from gnomon.algorithms.hinge import Hinge
from gnomon.algorithms.ipo import IPO
from gnomon.algorithms.kto import KTO
from gnomon.algorithms.orpo import ORPO
from gnomon.algorithms.reward_model import RewardModeling
from gnomon.algorithms.sft import SFT
from gnomon.algorithms.simpo import SimPO
from gnomon.core.batches import Demonstrations, Labels, StepTotals, TokenGroups
from gnomon.losses.preference import log_odds
from gnomon.training.runtime.model_bundle import TrainedModels

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    trl = pytest.importorskip("trl", reason="TRL is not installed: pip install 'gnomon-rlhf[parity]'")
    from trl.experimental.cpo import CPOConfig, CPOTrainer
    from trl.experimental.orpo import ORPOConfig, ORPOTrainer
    from trl.trainer.dpo_trainer import DataCollatorForPreference
    from trl.trainer.kto_trainer import DataCollatorForUnpairedPreference
    from trl.trainer.reward_trainer import DataCollatorForPreference as RewardCollator
    from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]
TEXT_PAIRS = [{"prompt": "a", "chosen": " b", "rejected": " c"}] * 4


def ours(algorithm: Any, batch: Any) -> tuple[Any, torch.Tensor]:
    """Gnomon's policy and loss."""
    policy = peer.policy()
    return policy.network, algorithm.loss(peer.models(policy), batch)[0]


def dpo(folder: Path, **settings: Any) -> tuple[Any, torch.Tensor]:
    """TRL's policy and DPO loss on the pairs."""
    network = tiny_network(seed=0)
    found = peer.with_reference(
        peer.trainer(
            trl.DPOTrainer,
            trl.DPOConfig,
            folder,
            network,
            TEXT_PAIRS,
            {"ref_model": tiny_network(seed=1)},
            **settings,
        )
    )
    return network, found.compute_loss(network, DataCollatorForPreference(peer.END)(peer.pair_rows()))


def older(kind: Any, config: Any, folder: Path, **settings: Any) -> tuple[Any, torch.Tensor]:
    """TRL's policy and loss of a trainer without a reference."""
    network = tiny_network(seed=0)
    found = peer.trainer(kind, config, folder, network, TEXT_PAIRS, **settings)
    return network, found.get_batch_loss_metrics(network, peer.padded_pairs())[0]


def test_sft(tmp_path: Path) -> None:
    groups, network = peer.tokens(), tiny_network(seed=0)
    found = peer.trainer(
        trl.SFTTrainer, trl.SFTConfig, tmp_path, network, [{"prompt": "a", "completion": " b"}] * 6
    )
    rows = [
        {
            "input_ids": peer.PROMPTS[g] + completion,
            "labels": [-100] * len(peer.PROMPTS[g]) + completion,
        }
        for g, completion in zip(peer.GROUP, peer.COMPLETIONS, strict=True)
    ]
    loss = found.compute_loss(network, DataCollatorForLanguageModeling(peer.END)(rows))
    batch = Demonstrations(groups, torch.ones(6), StepTotals(6, float(groups.mask.sum())))
    peer.assert_alike(ours(SFT(), batch), (network, loss))


@pytest.mark.parametrize("margin", [False, True])
def test_reward_model(tmp_path: Path, margin: bool) -> None:
    """The padding is a token of its own here; see the next test for where it is not."""
    network = tiny_scorer(seed=0)
    network.config.pad_token_id = 60
    found = peer.trainer(
        trl.RewardTrainer, trl.RewardConfig, tmp_path, network, TEXT_PAIRS, center_rewards_coefficient=0.01
    )
    batch = peer.preferences()
    network.config.pad_token_id = 60  # the trainer has put its tokenizer's
    rows = [
        row | ({"margin": float(m)} if margin else {})
        for row, m in zip(peer.pair_rows(joined=True), batch.margin, strict=True)
    ]
    loss = found.compute_loss(network, RewardCollator(60)(rows))
    model = tiny_reward_model(trainable=peer.EVERYTHING, seed=0)
    mine = RewardModeling(use_margin=margin).loss(TrainedModels(model), batch)[0]
    peer.assert_alike((model.network, mine), (network, loss))


def test_a_reward_model_that_pads_with_its_end_is_scored_before_the_end(tmp_path: Path) -> None:
    """Plain transformers, and so TRL, takes the last token that is not the padding: not the end of the text."""
    network = tiny_scorer(seed=0)
    network.config.pad_token_id = peer.END
    rows = RewardCollator(peer.END)(peer.pair_rows(joined=True))
    theirs = network(**rows).logits.squeeze(-1)[:4]
    batch = peer.preferences()
    model = tiny_reward_model(trainable=peer.EVERYTHING, seed=0)
    assert (model.scores(batch.tokens)[batch.chosen] - theirs).abs().min() > 1e-3
    short = TokenGroups.build(
        [p.tolist() for p in batch.tokens.prompts],
        [c.tolist()[:-1] for c in batch.tokens.completions],
        batch.tokens.group.tolist(),
    )
    torch.testing.assert_close(model.scores(short)[batch.chosen], theirs, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("algorithm", "settings"),
    [
        (DPO(beta=0.3), {"loss_type": "sigmoid", "beta": 0.3}),
        (
            DPO(beta=0.3, robust=True, label_smoothing=0.2),
            {"loss_type": "robust", "label_smoothing": 0.2, "beta": 0.3},
        ),
        (DPO(beta=0.3, ld_alpha=0.4), {"loss_type": "sigmoid", "ld_alpha": 0.4, "beta": 0.3}),
        (IPO(tau=0.3), {"loss_type": "ipo", "beta": 0.3}),
        (Hinge(beta=0.3), {"loss_type": "hinge", "beta": 0.3}),
    ],
    ids=["dpo", "robust", "ld", "ipo", "hinge"],
)
def test_pairs_with_a_reference(tmp_path: Path, algorithm: Any, settings: dict[str, Any]) -> None:
    peer.assert_alike(ours(algorithm, peer.preferences()), dpo(tmp_path, **settings))


def test_label_smoothing_of_plain_dpo_is_left_out_by_trl(tmp_path: Path) -> None:
    """TRL's `sigmoid` does not read `label_smoothing`; its CPO still does, and agrees (below)."""
    network, plain = dpo(tmp_path / "a", loss_type="sigmoid", beta=0.3)
    _, smoothed = dpo(tmp_path / "b", loss_type="sigmoid", beta=0.3, label_smoothing=0.2)
    assert float(plain) == float(smoothed)
    mine, found = ours(DPO(beta=0.3, label_smoothing=0.2), peer.preferences())
    assert peer.gap(peer.gradient(mine, found), peer.gradient(network, plain)) > 0.1


def test_the_imitation_beside_dpo_weighs_pairs_alike_here_and_tokens_alike_in_trl(tmp_path: Path) -> None:
    theirs = dpo(tmp_path, loss_type=["sigmoid", "sft"], loss_weights=[1.0, 0.5], beta=0.3)
    batch = peer.preferences()
    network, mine = ours(DPO(beta=0.3, sft_coef=0.5), batch)
    assert abs(float(mine) - float(theirs[1])) > 1e-2
    said = naive_logprobs(network, batch.tokens)
    by_pair = torch.stack([-said[c].mean() for c in batch.chosen.tolist()]).mean()
    by_token = -torch.cat([said[c] for c in batch.chosen.tolist()]).mean()
    peer.assert_alike((network, mine + 0.5 * (by_token - by_pair)), theirs)


@pytest.mark.parametrize(
    ("algorithm", "settings"),
    [
        (CPO(beta=0.3, sft_coef=0.0), {"loss_type": "sigmoid"}),
        (CPO(beta=0.3, sft_coef=0.0, label_smoothing=0.2), {"loss_type": "sigmoid", "label_smoothing": 0.2}),
        (Hinge(beta=0.3, reference=False), {"loss_type": "hinge"}),
        (SimPO(beta=0.3, gamma=0.7), {"loss_type": "simpo", "simpo_gamma": 0.7}),
    ],
    ids=["cpo", "smoothed", "hinge", "simpo"],
)
def test_pairs_without_a_reference(tmp_path: Path, algorithm: Any, settings: dict[str, Any]) -> None:
    theirs = older(CPOTrainer, CPOConfig, tmp_path, cpo_alpha=0.0, beta=0.3, **settings)
    peer.assert_alike(ours(algorithm, peer.preferences()), theirs)


def test_the_imitation_of_cpo_weighs_pairs_alike_here_and_tokens_alike_in_trl(tmp_path: Path) -> None:
    theirs = older(CPOTrainer, CPOConfig, tmp_path, cpo_alpha=0.5, beta=0.3, loss_type="sigmoid")
    batch = peer.preferences()
    network, mine = ours(CPO(beta=0.3, sft_coef=0.5), batch)
    assert abs(float(mine) - float(theirs[1])) > 1e-2
    said = naive_logprobs(network, batch.tokens)
    by_pair = torch.stack([-said[c].mean() for c in batch.chosen.tolist()]).mean()
    by_token = -torch.cat([said[c] for c in batch.chosen.tolist()]).mean()
    peer.assert_alike((network, mine + 0.5 * (by_token - by_pair)), theirs)


def test_orpo_agrees_but_for_the_prompt_that_trl_imitates_too(tmp_path: Path) -> None:
    theirs = older(ORPOTrainer, ORPOConfig, tmp_path, beta=0.3)
    batch = peer.preferences()
    network, mine = ours(ORPO(odds_weight=0.3), batch)
    assert abs(float(mine) - float(theirs[1])) > 1e-2
    said = naive_logprobs(network, batch.tokens)
    by_pair = torch.stack([-said[c].mean() for c in batch.chosen.tolist()]).mean()
    whole = [torch.tensor(row["chosen_ids"]) for row in peer.pair_rows(joined=True)]
    every = torch.cat(
        [network(ids[None]).logits[0, :-1].log_softmax(-1).gather(1, ids[1:, None]).squeeze(1) for ids in whole]
    )
    peer.assert_alike((network, mine - by_pair - every.mean()), theirs)


def test_orpos_odds_of_a_certain_answer_stay_finite(tmp_path: Path) -> None:
    """Where a model is sure of every token, the odds have no end; here they are held at P = 1 − 1e-6."""
    found = peer.trainer(ORPOTrainer, ORPOConfig, tmp_path, tiny_network(seed=0), TEXT_PAIRS, beta=0.3)
    sure = torch.zeros(1, requires_grad=True)
    theirs = found.odds_ratio_loss(sure, torch.tensor([-1.0]))[0]
    slope = torch.autograd.grad(theirs.sum(), sure)[0]
    assert not (torch.isfinite(theirs).all() and torch.isfinite(slope).all())
    mine = log_odds(sure)
    assert torch.isfinite(mine).all()
    assert torch.isfinite(torch.autograd.grad(mine.sum(), sure)[0]).all()


def strangers(batch: Labels) -> Labels:
    """Each prompt with the completion of the row before it, as TRL's data preparation has it."""
    n = len(batch.tokens)
    before = [(i - 1) % n for i in range(n)]
    groups = TokenGroups.build(
        [peer.PROMPTS[g] for g in peer.GROUP], [peer.COMPLETIONS[i] for i in before], list(range(n))
    )
    return replace(batch, tokens=groups, reference_logprobs=peer.reference_logprobs(groups))


def kto(folder: Path, network: Any = None, **settings: Any) -> Any:
    rows = [
        {"prompt": p, "completion": c, "label": label}
        for p, c, label in (("a", " b", True), ("a", " c", False), ("b", " a", True), ("c", " b", False))
    ]
    network = tiny_network(seed=0) if network is None else network
    return peer.trainer(
        trl.KTOTrainer, trl.KTOConfig, folder, network, rows, {"ref_model": tiny_network(seed=1)}, **settings
    )


@pytest.mark.parametrize("rate", [0.1, -0.02])
def test_kto(tmp_path: Path, rate: float) -> None:
    """A policy that likes the completions more than the reference does, and one that likes them less."""
    batch, network, policy = peer.labels(), tiny_network(seed=0), peer.policy()
    found = kto(tmp_path, network, beta=0.3, desirable_weight=1.5, undesirable_weight=0.7)
    peer.with_reference(found)
    imitate(network, batch.tokens, rate)
    policy.network.load_state_dict(network.state_dict())
    rows = [
        {"prompt_ids": peer.PROMPTS[g], "completion_ids": c, "KL_completion_ids": k, "label": bool(good)}
        for g, c, k, good in zip(
            peer.GROUP, peer.COMPLETIONS, [peer.COMPLETIONS[-1], *peer.COMPLETIONS[:-1]], batch.good, strict=True
        )
    ]
    theirs = found.compute_loss(network, DataCollatorForUnpairedPreference(peer.END)(rows))
    algorithm = KTO(beta=0.3, good_weight=1.5, bad_weight=0.7)
    survey = algorithm.step_statistics(peer.models(policy), batch, strangers(batch))
    sums = {name: float(value) for name, value in survey.items()}
    assert algorithm.baseline(sums) > 0.5 if rate > 0 else algorithm.baseline(sums) == 0
    mine = algorithm.loss(peer.models(policy), replace(batch, totals=replace(batch.totals, sums=sums)))[0]
    peer.assert_alike((policy.network, mine), (network, theirs))


def imitate(network: Any, groups: TokenGroups, rate: float) -> None:
    """A few steps towards the completions, or away from them."""
    for _ in range(5):
        loss = -torch.cat(naive_logprobs(network, groups)).mean()
        slopes = peer.gradient(network, loss)
        with torch.no_grad():
            for name, weight in network.named_parameters():
                weight -= rate * slopes[name]


def test_trls_mismatched_pairs_may_match(tmp_path: Path) -> None:
    """It takes the row before, whatever its prompt: here that is another answer to the same prompt."""
    found = kto(tmp_path).train_dataset
    rows = [found[i] for i in range(4)]
    assert rows[1]["prompt_ids"] == rows[0]["prompt_ids"]
    assert rows[1]["KL_completion_ids"] == rows[0]["completion_ids"]


def test_bco_agrees_with_trls_pairwise_form_where_the_shift_is_zero(tmp_path: Path) -> None:
    """TRL has no shift; both sides of a pair are rows here, so the mean is over twice as many."""
    theirs = dpo(tmp_path, loss_type="bco_pair", beta=0.3)
    pairs = peer.preferences()
    order = [*pairs.chosen.tolist(), *pairs.rejected.tolist()]
    zero = {"good": 4.0, "bad": 4.0, "good_rewards": 0.0, "bad_rewards": 0.0}
    assert pairs.reference_logprobs is not None
    batch = Labels(
        tokens=pairs.tokens.select(order),
        good=torch.tensor([True] * 4 + [False] * 4),
        weight=torch.ones(8),
        totals=StepTotals(4, 1.0, sums=zero),
        reference_logprobs=pairs.reference_logprobs[order],
    )
    peer.assert_alike(ours(BCO(beta=0.3), batch), theirs)
