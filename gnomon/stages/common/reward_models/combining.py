"""Members of an ensemble that exist already: average, bring to one scale, fit, save."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gnomon.core.errors import DataError, ModelError
from gnomon.core.progress import console
from gnomon.core.storage.digests import digest
from gnomon.core.types import Preference
from gnomon.data.templates.tokenizer_compat import same_vocabulary
from gnomon.evaluation.score_fits import CalibrationReport, MemberPairs, fit_on_pairs
from gnomon.models.loading import save_model, save_panel
from gnomon.models.reward_ensemble import RewardPanel
from gnomon.models.roles import RewardModel
from gnomon.models.settings import Combination
from gnomon.rewards.encoder_reward import reward_of_model
from gnomon.rewards.ensemble import EnsembleReward
from gnomon.rewards.reward import LearnedReward, watched_scores

SMALLEST_SCALE = 1e-6  # of scores, for a member that gives all completions nearly the same


def save_judge(judge: RewardModel | RewardPanel, folder: Path) -> None:
    """Write an ensemble or a single reward model into a stage's folder."""
    if isinstance(judge, RewardPanel):
        save_panel(judge, folder)
    else:
        save_model(judge, folder)


@torch.no_grad()
def average_members(panel: RewardPanel) -> RewardModel:
    """Average the weights of members of one shape (WARM, Ramé et al. 2024, eq. 2); returns the first with them.

    Raises:
        ModelError: a member is an encoder, or has another vocabulary or other shapes than the first.
    """
    first: RewardModel = panel.members[0]
    names = panel.record.names
    for name, member in zip(names, panel.members, strict=True):
        if not isinstance(member, RewardModel):
            raise ModelError(
                f"'{name}' is an encoder, whose weights are not averaged; leave average_weights out."
            )
        if not same_vocabulary(member.tokenizer, first.tokenizer):
            raise ModelError(
                f"'{name}' has another vocabulary than '{names[0]}', so their weights have no average; leave "
                "average_weights out."
            )
        _check_shapes(first, member, names[0], name)
    states = [member.network.state_dict() for member in panel.members]
    average = {key: average_of([state[key] for state in states]) for key in states[0]}
    first.network.load_state_dict(average)
    first.network.config.score_offset = sum(member.offset for member in panel.members) / len(panel.members)
    first.calibrate(None)
    return first


def average_of(tensors: Sequence[Tensor]) -> Tensor:
    """Mean of tensors of one shape `[…]`, computed in float64; counters are those of the first."""
    if not tensors[0].is_floating_point():
        return tensors[0]
    return torch.stack([tensor.double() for tensor in tensors]).mean(dim=0).to(tensors[0].dtype)


def _check_shapes(first: RewardModel, other: RewardModel, first_name: str, name: str) -> None:
    own, others = ({key: tuple(t.shape) for key, t in m.network.state_dict().items()} for m in (first, other))
    wrong = sorted(key for key in own.keys() | others.keys() if own.get(key) != others.get(key))
    scored = (first.whole_conversation, getattr(first.network.score, "settings", None))
    if wrong or scored != (other.whole_conversation, getattr(other.network.score, "settings", None)):
        at = f" of {wrong[0]}" if wrong else ", or of its head"
        raise ModelError(
            f"'{name}' has another shape{at} than '{first_name}', so their weights have no average; leave "
            "average_weights out."
        )


def fit_panel(
    judge: RewardModel | RewardPanel, records: Sequence[Preference], method: Any, seed: int
) -> CalibrationReport:
    """Bring members to one zero and scale on held-out preferences, and fit the rule and the calibration on them.

    Models trained elsewhere have scores of any size, and the deviation over members would be that of the largest.
    Their common scale is the mean of their own.

    Args:
        judge: an ensemble, or the average of one.
        records: preferences of prompts that no member was trained on.
        method: of the calibration.
        seed: of which completion of a pair is the first.

    Raises:
        DataError: there are too few pairs with scores, or all have the same outcome.
    """
    rows = range(len(records))
    prompts = [record.prompt for record in records]
    completions = [record.chosen for record in records] + [record.rejected for record in records]
    reward = reward_of_model(judge, "ensemble", None, Combination() if isinstance(judge, RewardPanel) else None)
    assert isinstance(reward, EnsembleReward | LearnedReward)
    with watched_scores(reward, "held-out pairs", len(completions)):
        members, failures = reward.member_scores([*prompts, *prompts], completions)
    complete = members.isfinite().all(dim=0)
    if not complete.any():
        reason = failures[0][1] if failures else "no score is a finite number"
        raise DataError(f"no held-out completion has a score of every member ({reason}); give other data.")
    if failures:
        console.print(f"  {len(failures)} held-out completions have no score, the first: {failures[0][1]}")
    means, deviations = members[:, complete].mean(dim=1), members[:, complete].std(dim=1, unbiased=False)
    if isinstance(judge, RewardPanel):
        scales = (deviations / deviations.mean().clamp(min=SMALLEST_SCALE)).clamp(min=SMALLEST_SCALE)
        judge.record = judge.record.model_copy(update={"offsets": means.tolist(), "scales": scales.tolist()})
        members = (members - means[:, None]) / scales[:, None]
    else:
        judge.center(means)
    count = len(records)
    swapped = torch.tensor([int(digest([seed, r.prompt.id, n])[:8], 16) % 2 for n, r in enumerate(records)]) == 1
    chosen, rejected = members[:, :count], members[:, count:]
    share = torch.tensor([record.probability for record in records])
    pairs = MemberPairs(
        torch.where(swapped, rejected, chosen),
        torch.where(swapped, chosen, rejected),
        torch.where(swapped, 1 - share, share),
        [records[row].prompt.id for row in rows],
    )
    return fit_on_pairs(judge, pairs, method)
