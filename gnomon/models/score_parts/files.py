"""Add the parts of a reward model to its network, save them beside its weights, and load them again.

They are a module of the network, so that they are trained, checkpointed and moved with it. `save_pretrained`
writes the network without them: transformers alone reads the folder as before.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from transformers.utils import cached_file

from gnomon.core.config import validate
from gnomon.core.errors import ModelError
from gnomon.models.score_parts.heads import ScoreParts
from gnomon.models.score_parts.settings import RATING, NamedScore, PartSettings

PARTS_FILE = "score_parts.safetensors"
KEY = "score_parts"  # of config.json, and name of the module in the network


def parts_of(network: Any) -> ScoreParts | None:
    """Return the parts of a network; `None` if it has only its head."""
    parts = getattr(network, KEY, None)
    return parts if isinstance(parts, ScoreParts) else None


def add_parts(network: Any, wanted: PartSettings, name: str, *, empty: bool = False) -> None:
    """Add the parts that are wanted and that the network does not have yet.

    Args:
        network: with a head.
        wanted: the parts; named scores that the network has are kept beside them.
        name: of the model, for messages.
        empty: add a module that holds settings alone where nothing is wanted.

    Raises:
        ModelError: it has a named score of the same name with another loss or scale, or a gate would have none.
    """
    former = parts_of(network)
    before = former.settings if former else PartSettings()
    for score, shape in wanted.scores.items():
        own = before.scores.get(score)
        if own is not None and own.shape != shape.shape:
            raise ModelError(
                f"reward model '{name}' has a head for the score '{score}' with {_shown(own)}, not "
                f"{_shown(shape)}; give settings.scores the same loss and scale, or start from another model."
            )
    settings = PartSettings(
        scores={**before.scores, **wanted.scores},
        gate=before.gate or wanted.gate,
        tie=wanted.tie or before.tie,
        overall=before.overall,
        rating=before.rating,
    )
    if settings.gate and not settings.scores:
        raise ModelError(
            f"a gate weighs named scores, and model '{name}' has none; name them in settings.scores, or start "
            "from a reward model that has some."
        )
    if settings == before and not empty:
        return
    parts = ScoreParts(network.config.get_text_config().hidden_size, settings)
    parts.fresh = set(settings.scores) - set(before.scores)
    if former is not None:
        parts.fresh |= former.fresh
        for score in former.names:
            parts.head(score).load_state_dict(former.head(score).state_dict())
        if former.gate is not None and former.names == parts.names and parts.gate is not None:
            parts.gate.load_state_dict(former.gate.state_dict())
        if former.tie is not None and before.tie == settings.tie and parts.tie is not None:
            parts.tie.data.copy_(former.tie.data)
    network.add_module(KEY, parts.to(network.device))


def remember_parts(network: Any) -> None:
    """Write the settings of the parts into the network's configuration, which is saved with it."""
    parts = parts_of(network)
    if parts is not None:
        setattr(network.config, KEY, parts.settings.model_dump(mode="json"))


@contextlib.contextmanager
def without_parts(network: Any) -> Iterator[ScoreParts | None]:
    """Context manager: the network without its parts, which it yields."""
    parts = parts_of(network)
    if parts is not None:
        delattr(network, KEY)
    try:
        yield parts
    finally:
        if parts is not None:
            network.add_module(KEY, parts)


def save_parts(parts: ScoreParts, folder: Path) -> None:
    """Write the weights of the parts into a model's folder."""
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in parts.state_dict().items()}
    save_file(weights, folder / PARTS_FILE)


def load_parts(network: Any, name: str) -> None:
    """Load the parts saved beside a network in a folder or on the hub, if there are any.

    Raises:
        ModelError: their weights are missing or do not fit config.json.
    """
    content = network.config.__dict__.pop(KEY, None)
    if content is None:
        return
    settings = validate(PartSettings, content, f"{name}/config.json, {KEY}")
    parts = ScoreParts(network.config.get_text_config().hidden_size, settings)
    try:
        parts.load_state_dict(load_file(cached_file(name, PARTS_FILE)))
    except (RuntimeError, OSError):
        raise ModelError(
            f"{name}/{PARTS_FILE} is missing or does not fit the {KEY} of config.json; give a folder that "
            "save_model wrote whole."
        ) from None
    network.add_module(KEY, parts)


def score_names(config: Any) -> list[str]:
    """Return the names of the scores that a saved reward model has, from its configuration; empty without any."""
    content = getattr(config, KEY, None) or {}
    return [*([RATING] if content.get("rating") else []), *(content.get("scores") or {})]


def drop_parts(network: Any) -> None:
    """Remove the parts of a network, which a critic has no use for."""
    if parts_of(network) is not None:
        delattr(network, KEY)


def _shown(settings: NamedScore) -> str:
    scale = "" if settings.bounds is None else f" from {settings.bounds[0]:g} to {settings.bounds[1]:g}"
    return f"the {settings.loss} loss{scale}"
