"""Whether sampler and trainer speak of one distribution, on tokens that the policy has just drawn.

A gap that rounding explains is reported. A larger one means that the policy learns from a distribution that it
does not have: where the first round shows one, the run stops before anything is learned.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from gnomon.core.errors import RunError
from gnomon.core.experience import Experience
from gnomon.core.progress import console
from gnomon.losses.kl import log_ratio

GAP_LIMIT, KL_LIMIT = 0.01, 1e-3  # mean |Δp|, and nats a token
# The same, beyond what precision explains. A log-probability that is off by δ nats costs δ²/2. Rounding moves it
# by 1e-6 in float32, and by 1e-3 where a recurrence is read step by step: KL 5e-7. A float32 of ten bits, as in
# convolutions on a GPU, moves it by 1e-2: 5e-5. bfloat16 has eight: by up to 0.1, which costs 5e-3.
APART = {torch.float32: (2e-3, 1e-4)}
APART_IN_LOWER = 0.05, 0.03


def compare_logprobs(drawn: Experience, asked: Experience, rows: Sequence[int]) -> dict[str, float]:
    """What the sampler said of tokens beside what the trainer says of them, means over tokens.

    Args:
        drawn: with the sampler's log-probabilities.
        asked: the same completions with the trainer's.
        rows: those that this policy drew in this round, at the temperature at which the trainer was asked.

    Returns:
        `approx_kl`, the k3 estimate of KL(sampler ‖ trainer) in nats, and `prob_abs_diff`, of |Δp|; nothing
        where no token is to be compared.
    """
    index = torch.tensor(list(rows), dtype=torch.long)
    mask = drawn.tokens.mask[index]
    if not mask.any():
        return {}
    theirs, ours = (found.logprobs.detach().cpu()[index][mask] for found in (drawn, asked))
    moved = log_ratio(ours, theirs)
    return {
        "approx_kl": float((torch.expm1(moved) - moved).mean()),
        "prob_abs_diff": float((ours.exp() - theirs.exp()).abs().mean()),
    }


def warn(found: Mapping[str, float], advice: str) -> None:
    """Say so where the two are further apart than rounding brings them."""
    gap, kl = found.get("prob_abs_diff", 0.0), found["approx_kl"]
    if gap > GAP_LIMIT or kl > KL_LIMIT:
        console.print(
            f"  [yellow]sampler and trainer disagree[/yellow]: mean |Δp| {gap:.2g}, KL {kl:.2g} a token; {advice}"
        )


def stop_if_apart(found: Mapping[str, float], dtype: torch.dtype) -> None:
    """Refuse to learn where sampler and trainer are further apart than the precision of their products explains.

    Args:
        found: means over tokens, as of `compare_logprobs`; nothing is refused where there was nothing to compare.
        dtype: of matrix products.

    Raises:
        RunError: they are.
    """
    gap, kl = found.get("prob_abs_diff", 0.0), found.get("approx_kl", 0.0)
    gap_limit, kl_limit = APART.get(dtype, APART_IN_LOWER)
    if gap <= gap_limit and kl <= kl_limit:
        return
    precision = str(dtype).removeprefix("torch.")
    raise RunError(
        f"sampler and trainer disagree in the first round: mean |Δp| {gap:.2g}, KL {kl:.2g} a token, where "
        f"{precision} explains {gap_limit:g} and {kl_limit:g}, so nothing was learned from it; "
        + ("" if dtype == torch.float32 else "try model.precision: float32, and if it stays, ")
        + "take a model of another architecture, and report this one's model_type."
    )
