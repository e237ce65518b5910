"""Mismatch between sampler and trainer log-probs on tokens that the policy has just sampled.

A gap within rounding is a metric. A larger one means that the policy would be trained on samples of another
distribution: if the first round shows one, the run stops before the first update.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from gnomon.core.errors import RunError
from gnomon.core.experience import Experience
from gnomon.core.progress import console
from gnomon.losses.kl import log_ratio

GAP_LIMIT, KL_LIMIT = 0.01, 1e-3  # mean |Δp|, and nats a token
# The same, beyond rounding. A log-probability that is off by δ nats costs δ²/2. Rounding moves it
# by 1e-6 in float32, and by 1e-3 where a recurrence is read step by step: KL 5e-7. A float32 of ten bits, as in
# convolutions on a GPU, moves it by 1e-2: 5e-5. bfloat16 has eight: by up to 0.1, which costs 5e-3.
APART = {torch.float32: (2e-3, 1e-4)}
APART_IN_LOWER = 0.05, 0.03


def compare_logprobs(drawn: Experience, recomputed: Experience, rows: Sequence[int]) -> dict[str, float]:
    """Compare sampler and trainer log-probs, as means over tokens.

    Args:
        drawn: completions with the sampler's log-probs.
        recomputed: the same completions with the trainer's log-probs.
        rows: completions that this policy sampled in this round, at the trainer's temperature.

    Returns:
        `approx_kl`, the k3 estimate of KL(sampler ‖ trainer) in nats, and `prob_abs_diff`, of |Δp|; nothing
        where no token is to be compared.
    """
    index = torch.tensor(list(rows), dtype=torch.long)
    mask = drawn.tokens.mask[index]
    if not mask.any():
        return {}
    sampler, trainer = (e.old_logprobs.detach().cpu()[index][mask] for e in (drawn, recomputed))
    moved = log_ratio(trainer, sampler)
    return {
        "approx_kl": float((torch.expm1(moved) - moved).mean()),
        "prob_abs_diff": float((trainer.exp() - sampler.exp()).abs().mean()),
    }


def warn(mismatch: Mapping[str, float], advice: str) -> None:
    """Print a warning if the mismatch exceeds rounding."""
    gap, kl = mismatch.get("prob_abs_diff", 0.0), mismatch["approx_kl"]
    if gap > GAP_LIMIT or kl > KL_LIMIT:
        console.print(
            f"  [yellow]sampler and trainer disagree[/yellow]: mean |Δp| {gap:.2g}, KL {kl:.2g} a token; {advice}"
        )


def check_mismatch(mismatch: Mapping[str, float], dtype: torch.dtype) -> None:
    """Refuse to train if sampler and trainer differ by more than the rounding of their precision.

    Args:
        mismatch: means over tokens, from `compare_logprobs`; may be empty.
        dtype: of matrix products.

    Raises:
        RunError: they do.
    """
    gap, kl = mismatch.get("prob_abs_diff", 0.0), mismatch.get("approx_kl", 0.0)
    gap_limit, kl_limit = APART.get(dtype, APART_IN_LOWER)
    if gap <= gap_limit and kl <= kl_limit:
        return
    precision = str(dtype).removeprefix("torch.")
    raise RunError(
        f"sampler and trainer disagree in the first round: mean |Δp| {gap:.2g}, KL {kl:.2g} a token, where "
        f"{precision} explains {gap_limit:g} and {kl_limit:g}, so nothing was learned from it; "
        + ("" if dtype == torch.float32 else "try model.precision: float32, and if it stays, ")
        + "use a model of another architecture, and report this one's model_type."
    )
