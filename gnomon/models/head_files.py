"""Reward models whose head transformers does not know: a trunk, and the head beside it.

The folder holds the trunk as `AutoModel` loads it, with its tokenizer, and the head's weights in
`reward_head.safetensors`; config.json says its shape (`reward_head`) and its zero (`score_offset`). It declares
no labels, so that `AutoModelForSequenceClassification` gives logits `[N, 0]`, not the scores of a random head.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from transformers.utils import cached_file

from gnomon.core.config import validate
from gnomon.core.errors import ModelError
from gnomon.models.heads import ScalarHead
from gnomon.models.settings import HeadSettings

HEAD_FILE = "reward_head.safetensors"


def save_with_head(network: Any, folder: Path) -> None:
    """Write the trunk of `network` with `save_pretrained`, and its `ScalarHead` beside it."""
    head, trunk, config = network.score, network.base_model, network.base_model.config
    trunk.config = copy.deepcopy(network.config)
    trunk.config.num_labels = 0
    trunk.config.reward_head = head.settings.model_dump()
    try:
        trunk.save_pretrained(folder)
    finally:
        trunk.config = config
    save_file({n: t.detach().cpu().contiguous() for n, t in head.state_dict().items()}, folder / HEAD_FILE)


def load_head(network: Any, name: str) -> HeadSettings | None:
    """Give `network` the head saved beside its trunk in a folder or on the hub; `None` where there is none.

    Raises:
        ModelError: the head's weights are missing or do not fit config.json.
    """
    shape = network.config.__dict__.pop("reward_head", None)
    if shape is None:
        return None
    settings = validate(HeadSettings, shape, f"{name}/config.json, reward_head")
    head = ScalarHead(network.config.get_text_config().hidden_size, settings)
    file = cached_file(name, HEAD_FILE)
    try:
        head.load_state_dict(load_file(file))
    except RuntimeError:
        raise ModelError(
            f"{file} does not fit the reward_head of config.json; give a folder that save_model wrote whole."
        ) from None
    network.score = head
    return settings
