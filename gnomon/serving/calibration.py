"""The calibration that was fitted for a reward's scores."""

from __future__ import annotations

from dataclasses import asdict, is_dataclass
from typing import Any

from gnomon.rewards.reward import Reward


def calibration_of_reward(reward: Reward) -> Any:
    """Return the calibration that was fitted for a reward's scores; `None` if there is none."""
    own = getattr(reward, "calibration", None)
    return own if own is not None else getattr(getattr(reward, "model", None), "calibration", None)


def calibration_mapping(calibration: Any) -> dict[str, Any] | None:
    """Return a calibration as the mapping that config.json has; `None` if there is none."""
    return asdict(calibration) if is_dataclass(calibration) and not isinstance(calibration, type) else calibration
