"""Scalar heads: one score from the states of a completion, or one value from a state.

Pooling is over all of a completion's tokens, including those that a mask excludes from the loss: a mask marks the
tokens that the policy chose, while a score is of the whole completion. Prompts and padding are never pooled.
"""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import AutoConfig
from transformers.utils import cached_file

from gnomon.core.config import validate
from gnomon.core.errors import ModelError
from gnomon.models.config_limits import require_memory
from gnomon.models.library_patches import set_score_head, use_config
from gnomon.models.score_parts.files import score_names
from gnomon.models.settings import HeadSettings, split_head


class ScalarHead(nn.Module):
    """A head of any shape on states of width d; `read` maps a state to a number."""

    def __init__(self, width: int, settings: HeadSettings):
        super().__init__()
        self.settings = settings
        inner = (settings.hidden or width) if settings.head == "mlp" else width
        require_memory(4 * 4 * width * inner, f"a head with hidden: {inner}; lower hidden")
        self.query = nn.Linear(width, 1, bias=False) if settings.pooling == "attention" else None
        self.hidden = nn.Linear(width, inner) if settings.head == "mlp" else None
        self.out = nn.Linear(inner, 1, bias=False)

    def start(self, seed: int) -> None:
        """Initialize: weights N(0, 1/(d+1)) for d inputs (Ziegler et al. 2019), biases 0, uniform attention."""
        generator = torch.Generator().manual_seed(seed)
        for layer in (self.hidden, self.out):
            if layer is not None:
                nn.init.normal_(layer.weight, std=1 / math.sqrt(layer.in_features + 1), generator=generator)
        if self.hidden is not None:
            nn.init.zeros_(self.hidden.bias)
        if self.query is not None:
            nn.init.zeros_(self.query.weight)

    def read(self, states: Tensor) -> Tensor:
        """Map each state to a number, `[…, d] -> […]`."""
        if self.hidden is not None:
            states = torch.tanh(self.hidden(states))
        values: Tensor = self.out(states).squeeze(-1)
        return values

    def pool(self, states: Tensor, lengths: Tensor) -> Tensor:
        """Pool states `[M, d]`, completion by completion, with lengths `[N]` to one state each, `[N, d]`."""
        if self.settings.pooling == "last":
            return last_states(states, lengths)
        if self.settings.pooling == "first":
            return states[(lengths.cumsum(0) - lengths).to(states.device)]
        rows = list(torch.split(states, lengths.tolist()))
        padded = nn.utils.rnn.pad_sequence(rows, batch_first=True)  # [N, T, d]
        real = (torch.arange(padded.shape[1]) < lengths[:, None]).to(states.device)[..., None]  # [N, T, 1]
        if self.settings.pooling == "max":
            return padded.masked_fill(~real, -torch.inf).amax(dim=1)
        if self.query is None:
            return padded.sum(dim=1) / real.sum(dim=1)
        attention: Tensor = self.query(padded) / math.sqrt(padded.shape[-1])
        weights = attention.masked_fill(~real, -torch.inf).softmax(dim=1)
        return (weights * padded).sum(dim=1)

    def forward(self, states: Tensor) -> Tensor:
        """Apply `read` and keep the last axis as a linear layer does, `[…, d] -> […, 1]`."""
        return self.read(states)[..., None]


def new_head(width: int, settings: HeadSettings, seed: int) -> nn.Module:
    """Build and initialize a head; a plain linear layer if its shape is that.

    Args:
        width: d, of a state.
        settings: shape of the head.
        seed: of the weights.
    """
    head = ScalarHead(width, settings)
    head.start(seed)
    return head.out if settings.plain else head


def as_scalar_head(head: nn.Module) -> ScalarHead:
    """Return a head as a `ScalarHead`, which is saved beside its trunk; a linear layer reads the last token."""
    if isinstance(head, ScalarHead):
        return head
    wrapped = ScalarHead(head.in_features, HeadSettings())  # type: ignore[arg-type]  # a linear layer
    wrapped.out = head  # type: ignore[assignment]
    return wrapped


def start_at_zero(head: nn.Module) -> None:
    """Zero a head's last layer: its output is 0 for every state, and it learns from the first step on."""
    last: Any = head.out if isinstance(head, ScalarHead) else head
    nn.init.zeros_(last.weight)


def last_states(states: Tensor, lengths: Tensor) -> Tensor:
    """Select the state at the end of each completion, `[M, d] -> [N, d]`; `lengths`: `[N]`."""
    return states[(lengths.cumsum(0) - 1).to(states.device)]


def pooled_states(head: nn.Module, states: Tensor, lengths: Tensor) -> Tensor:
    """Compute the state of each completion that a head reads, `[N, d]`.

    Args:
        head: a `ScalarHead`, or a linear layer, which reads the last token.
        states: at completion tokens, completion by completion, `[M, d]`.
        lengths: tokens of each completion, `[N]`.
    """
    return head.pool(states, lengths) if isinstance(head, ScalarHead) else last_states(states, lengths)


def read_score(head: nn.Module, pooled: Tensor) -> Tensor:
    """Map the state of each completion to its score, `[N, d] -> [N]`."""
    values: Tensor = head.read(pooled) if isinstance(head, ScalarHead) else head(pooled).squeeze(-1)
    return values


def choose_head(name: str, source: str) -> tuple[int, list[str]]:
    """Return the index of the head that `model#head` names, and the names of all heads of a saved classifier.

    The names are those of `id2label`. A model that is no classifier, or that has one head, needs none.

    Args:
        name: of the model, as the user wrote it.
        source: its folder or hub name.

    Raises:
        ModelError: several heads and none named, or no head of that name; the error lists the heads.
    """
    path, chosen = split_head(name)
    config = None
    if not Path(source).is_dir() or (Path(source) / "config.json").is_file():  # an adapter alone has none
        config = AutoConfig.from_pretrained(source, trust_remote_code=False)
    first = str((getattr(config, "architectures", None) or [""])[0])
    labels = config.id2label if config is not None and first.endswith("ForSequenceClassification") else None
    heads = [str(label) for _, label in sorted((labels or {}).items())]
    if named := score_names(config):
        if chosen is None or chosen in named:
            return 0, heads[:1]
        heads = named
    if chosen is None and len(heads) < 2:
        return 0, heads
    if chosen in heads and heads.count(chosen) == 1:
        return heads.index(chosen), heads
    if not heads:
        raise ModelError(f"'{path}' has no named heads, so '#{chosen}' names none; leave it out.")
    problem = f"has {len(heads)} heads" if chosen is None else f"has no head '{chosen}'"
    raise ModelError(
        f"reward model '{path}' {problem}; give one as {path}#HEAD, of: {', '.join(map(repr, heads))}."
    )


def keep_head(network: Any, index: int, label: str) -> None:
    """Reduce a classifier's linear head to one of its outputs, which is then the score.

    Args:
        network: the classifier, whose `score` is a linear layer.
        index: of the output.
        label: the name of that output, kept in the configuration.
    """
    own = network.score
    single = nn.Linear(own.in_features, 1, bias=own.bias is not None, dtype=own.weight.dtype)
    with torch.no_grad():
        single.weight.copy_(own.weight[index : index + 1])
        if own.bias is not None:
            single.bias.copy_(own.bias[index : index + 1])
    set_score_head(network, single)
    network.num_labels = network.config.num_labels = 1
    network.config.id2label, network.config.label2id = {0: label}, {label: 0}


HEAD_FILE = "reward_head.safetensors"


def save_with_head(network: Any, folder: Path) -> None:
    """Write the trunk of `network` with `save_pretrained`, and its `ScalarHead` beside it."""
    head, trunk, config = network.score, network.base_model, copy.deepcopy(network.config)
    config.num_labels = 0
    config.reward_head = head.settings.model_dump()
    with use_config(trunk, config):
        trunk.save_pretrained(folder)
    save_file({n: t.detach().cpu().contiguous() for n, t in head.state_dict().items()}, folder / HEAD_FILE)


def load_head(network: Any, name: str) -> HeadSettings | None:
    """Load the head saved beside the trunk of `network` in a folder or on the hub; `None` if there is none.

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
    set_score_head(network, head)
    return settings
