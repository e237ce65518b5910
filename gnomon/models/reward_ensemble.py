"""Ensembles of reward models: heads or adapters on one trunk, or separate models; how they are saved and loaded.

The folder of an ensemble is that of a reward model whose config.json has the key `reward_ensemble`. Heads and
adapters lie in one file beside the trunk; separate models in `members/0`, `members/1`, … .
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from pydantic import Field
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers.utils import cached_file

from gnomon.core.batches import TokenGroups
from gnomon.core.config import Settings, validate
from gnomon.core.errors import ModelError
from gnomon.core.ranges import Finite
from gnomon.losses import ensembles
from gnomon.models.adapters import adapted_layers, replaced
from gnomon.models.cards.facts import ModelCard
from gnomon.models.library_patches import set_score_head, use_config
from gnomon.models.roles import RewardModel, RewardOutputs
from gnomon.models.scalar_head import ScalarHead, pooled_states, read_score
from gnomon.models.score_parts.files import drop_parts
from gnomon.models.score_parts.settings import Deviation
from gnomon.models.settings import Combination, DropoutPasses, EnsembleKind, HeadSettings, Trainable
from gnomon.stats.calibration import Calibration, calibration_of

ENSEMBLE_KEY = "reward_ensemble"  # of config.json
MEMBERS_FILE = "members.safetensors"
MEMBERS_FOLDER = "members"
RULES: Mapping[str, Callable[[Tensor], Tensor]] = {
    "mean": ensembles.mean_score,
    "median": ensembles.median_score,
    "minimum": ensembles.minimum_score,
}


class EnsembleRecord(Settings):
    """The key `reward_ensemble` of a saved ensemble's config.json.

    Attributes:
        kind: `heads`, `adapters` or `models`.
        names: of the members, in order.
        offsets: raw score of each member that counts as 0; empty where separate models keep their own.
        scales: divisor of each separate model's scores; empty where they keep their own.
        combine: rule by which the members' scores become one.
        head: shape of the heads.
        trainable: shape of the adapters.
        calibration: of separate models; members on one trunk have it in `score_calibration`.
    """

    kind: EnsembleKind
    names: list[str]
    offsets: list[Finite] = Field(default_factory=list)
    scales: list[Deviation] = Field(default_factory=list)
    combine: Combination = Combination()
    head: HeadSettings = HeadSettings()
    trainable: Trainable | None = None
    calibration: dict[str, Any] | None = None


def combine_scores(scores: Tensor, combination: Combination) -> Tensor:
    """Combine the members' scores by a rule, `[E, N] -> [N]`; NaN where a member has no score.

    Raises:
        ModelError: the rule does not fit the number of members, or is not fitted yet.
    """
    if problem := combination.misfit(len(scores)):
        raise ModelError(f"combine has {problem}.")
    rule = combination.rule
    if rule == "trimmed_mean":
        return ensembles.trimmed_mean_score(scores, combination.trim)
    if rule == "mean_minus_std":
        return ensembles.penalized_score(scores, combination.coef)
    if rule in ("weighted", "stacked"):
        return ensembles.weighted_score(scores, torch.tensor(combination.weights))
    if rule == "gated":
        gate = torch.tensor(combination.gate)
        return ensembles.gated_score(scores, gate[:, :-1], gate[:, -1])
    return RULES[rule](scores)


class HeadStack(nn.Module):
    """E heads of one shape on the states of one trunk."""

    def __init__(self, width: int, settings: HeadSettings, count: int):
        super().__init__()
        self.settings = settings
        self.heads: Any = nn.ModuleList(ScalarHead(width, settings) for _ in range(count))

    def start(self, seeds: Sequence[int]) -> None:
        """Initialize each head with a seed of its own."""
        for head, seed in zip(self.heads, seeds, strict=True):
            head.start(seed)

    def member_scores(self, states: Tensor, lengths: Tensor) -> Tensor:
        """Compute the raw scores of all heads from states `[M, d]` at completion tokens, `[E, N]`.

        Args:
            states: completion by completion, `[M, d]`.
            lengths: tokens of each completion, `[N]`.
        """
        if self.settings.pooling == "attention":  # each head pools with a query of its own
            return torch.stack([head.read(head.pool(states, lengths)) for head in self.heads])
        pooled = self.heads[0].pool(states, lengths)
        return torch.stack([head.read(pooled) for head in self.heads])


class RewardEnsemble(RewardModel):
    """Several reward models on one trunk: a `HeadStack`, or one set of adapter and head weights for each member.

    Attributes:
        record: kind, names and rule.
        offsets: raw score of each member that counts as 0, `[E]`.
        weights: of each member's adapter and head, by parameter; `None` for heads, which are in the network.
    """

    record: EnsembleRecord
    offsets: Tensor
    weights: list[dict[nn.Parameter, Tensor]] | None = None

    def __init__(self, model: RewardModel, record: EnsembleRecord):
        self.__dict__.update(model.__dict__)
        self.record = record
        self.offsets = torch.tensor(record.offsets or [0.0] * len(record.names))

    @property
    def member_count(self) -> int:
        """E, number of members."""
        return len(self.record.names)

    def member_scores(self, tokens: TokenGroups) -> Tensor:
        """Compute every member's score of each completion, `[E, N]`; heads share one pass of the trunk."""
        raw = self._raw_scores(tokens)
        return raw - self.offsets.to(raw)[:, None]

    def _raw_scores(self, tokens: TokenGroups) -> Tensor:
        if self.weights is None:
            return self.network.score.member_scores(self._states_read(tokens), tokens.lengths)  # type: ignore[no-any-return]
        rows = []
        for weights in self.weights:
            with replaced(weights), torch.no_grad():
                pooled = pooled_states(self.network.score, self._states_read(tokens), tokens.lengths)
                rows.append(read_score(self.network.score, pooled))
        return torch.stack(rows)

    def _states_read(self, tokens: TokenGroups) -> Tensor:
        """Compute the states at completion tokens, `[M, d]`."""
        states = self._states(tokens, "end").float()
        return self._masks.drop(states, self._masks.head, "head") if self._masks else states

    @property
    def reads_last_token(self) -> bool:
        """True if a score depends on the states of the last token alone, wherever the completion starts."""
        return bool(self.network.score.settings.pooling == "last")

    def outputs(self, tokens: TokenGroups) -> RewardOutputs:
        """Compute the combined score; an ensemble on one trunk has no named scores."""
        return RewardOutputs(self.scores(tokens), {})

    def scores(self, tokens: TokenGroups) -> Tensor:
        """Compute the combined score of each completion, `[N]`."""
        return self.combined(self.member_scores(tokens))

    def combined(self, members: Tensor) -> Tensor:
        """Combine the members' scores by the saved rule, `[E, N] -> [N]`."""
        return combine_scores(members, self.record.combine)

    def center(self, mean: float | Tensor) -> None:
        """Shift each member's zero by its average score of reference completions, `[E]`.

        The zero of a Bradley–Terry score is arbitrary: without this the deviation over members would measure it.
        """
        self.offsets = self.offsets + torch.as_tensor(mean).to(self.offsets)

    def plain_network(self) -> Any:
        """Return the network to save: heads with a merged adapter; several adapters are saved beside it."""
        return super().plain_network() if self.weights is None else self.network

    def save_network(self, folder: Path) -> None:
        """Write the trunk with `save_pretrained`, and the members' weights beside it."""
        network, config = self.network, copy.deepcopy(self.network.config)
        config.num_labels = 0
        config.score_offset = 0.0
        record = self.record.model_copy(update={"offsets": self.offsets.tolist()})
        config.reward_ensemble = record.model_dump(mode="json", exclude_none=True)
        trunk = network.base_model
        with use_config(trunk, config):
            trunk.save_pretrained(
                folder, state_dict=_without_adapters(trunk) if self.weights is not None else None
            )
        save_file(self._member_tensors(), folder / MEMBERS_FILE)

    def _member_tensors(self) -> dict[str, Tensor]:
        """The weights of all members by number and name."""
        if self.weights is None:
            members = [head.state_dict() for head in self.network.score.heads]
        else:
            names = {p: name for name, p in self.network.named_parameters()}
            members = [{names[p]: tensor for p, tensor in weights.items()} for weights in self.weights]
        return {
            f"{number}.{name}": tensor.detach().cpu().contiguous()
            for number, member in enumerate(members)
            for name, tensor in member.items()
        }


def _without_adapters(trunk: nn.Module) -> dict[str, Tensor]:
    """The weights of a trunk by their names without adapters; nothing is merged."""
    return {
        name.replace(".base_layer.", "."): tensor
        for name, tensor in trunk.state_dict().items()
        if ".lora_" not in name
    }


class DropoutEnsemble(RewardModel):
    """One reward model whose head reads its states through T fixed masks (Gal and Ghahramani 2016), as T members.

    A mask is the same for all completions, so that a pass is one thinned model and its scores compare. The trunk
    is read once: dropout of adapters, which saved models have merged, would need a pass for each.

    Attributes:
        record: names and rule.
        masks: `[T, d]`, 0 or 1/(1 − rate).
    """

    def __init__(self, model: RewardModel, passes: DropoutPasses, seed: int, combine: Combination):
        self.__dict__.update(model.__dict__)
        generator = torch.Generator().manual_seed(seed)
        width = self.network.config.get_text_config().hidden_size
        active = torch.rand(passes.passes, width, generator=generator) >= passes.rate
        self.masks = (active / (1 - passes.rate)).to(self.device)
        names = [f"pass {number}" for number in range(passes.passes)]
        self.record = EnsembleRecord(kind="heads", names=names, combine=combine)

    @property
    def member_count(self) -> int:
        """T, number of passes."""
        return len(self.masks)

    def member_scores(self, tokens: TokenGroups) -> Tensor:
        """Compute each pass's score of each completion, `[T, N]`, from one pass of the trunk."""
        states = self._states(tokens, "end").float()
        head = self.network.score
        rows = [read_score(head, pooled_states(head, states * mask, tokens.lengths)) for mask in self.masks]
        return torch.stack(rows) - self.offset

    def combined(self, members: Tensor) -> Tensor:
        """Combine the passes' scores by the rule, `[T, N] -> [N]`."""
        return combine_scores(members, self.record.combine)

    def scores(self, tokens: TokenGroups) -> Tensor:
        """Compute the combined score of each completion, `[N]`."""
        return self.combined(self.member_scores(tokens))


@dataclass
class RewardPanel:
    """Separate reward models, each with its own tokenizer, whose scores are combined.

    Attributes:
        members: in the order of the record's names; encoders may be among them.
        record: names and rule.
        card: what its card states when it is saved.
    """

    members: list[Any]
    record: EnsembleRecord = field(repr=False)
    card: ModelCard = field(default=ModelCard(), repr=False)

    @property
    def calibration(self) -> Calibration | None:
        """The map from differences of combined scores to probabilities."""
        return None if self.record.calibration is None else calibration_of(self.record.calibration)

    def calibrate(self, calibration: Calibration | None) -> None:
        """Set the calibration that is saved with the panel."""
        content = None if calibration is None else asdict(calibration)
        self.record = self.record.model_copy(update={"calibration": content})

    def parameter_counts(self) -> dict[str, int]:
        """Count the weights of all members, and those that learn."""
        counts = [RewardModel.parameter_counts(member) for member in self.members]  # an encoder has a network too
        return {key: sum(count[key] for count in counts) for key in ("total", "trainable")}


def head_ensemble(
    model: RewardModel, settings: HeadSettings, seeds: Sequence[int], combine: Combination
) -> RewardEnsemble:
    """Replace the head of a reward model by one for each seed; they learn if it did.

    Args:
        model: with the trunk.
        settings: shape of the heads.
        seeds: one for each member.
        combine: rule by which the members' scores become one.
    """
    network = model.network
    drop_parts(network)
    learns = any(p.requires_grad for p in network.score.parameters())
    stack = HeadStack(network.config.get_text_config().hidden_size, settings, len(seeds))
    stack.start(seeds)
    set_score_head(network, stack.to(model.device).requires_grad_(learns))
    names = [str(number) for number in range(len(seeds))]
    return RewardEnsemble(model, EnsembleRecord(kind="heads", names=names, combine=combine, head=settings))


def adapter_ensemble(
    model: RewardModel, members: Sequence[Mapping[str, Tensor]], record: EnsembleRecord
) -> RewardEnsemble:
    """Make an ensemble of sets of adapter and head weights on one trunk.

    Args:
        model: with the adapter into which they fit.
        members: weights `[…]` of each member, by parameter name.
        record: kind, names and rule.

    Raises:
        ModelError: a weight is missing or unknown.
    """
    known = dict(model.network.named_parameters())
    ensemble = RewardEnsemble(model, record)
    ensemble.weights = []
    for number, weights in enumerate(members):
        if set(weights) != set(members[0]) or not set(weights) <= set(known):
            raise ModelError(
                f"member {number} of the ensemble has other weights than its adapter; train it again."
            )
        ensemble.weights.append({known[name]: tensor.to(model.device) for name, tensor in weights.items()})
    return ensemble


def reset_member(model: RewardModel, seed: int) -> None:
    """Start an adapter and a head afresh, as another member of an ensemble on the same trunk.

    Args:
        model: with an adapter.
        seed: of the member.
    """
    torch.manual_seed(seed)
    assert model.adapter is not None
    for layer in adapted_layers(model.adapter):
        for name in layer.active_adapters:
            layer.reset_lora_parameters(name, init_lora_weights=True)
    head = model.network.score
    if isinstance(head, ScalarHead):
        head.start(seed)
    else:
        with torch.no_grad():
            fresh = ScalarHead(head.in_features, HeadSettings())
            fresh.start(seed)
            head.weight.copy_(fresh.out.weight)
    model.network.config.score_offset = 0.0


def read_record(content: Any, name: str) -> EnsembleRecord:
    """Validate the key `reward_ensemble` of a config.json.

    Args:
        content: of the key.
        name: of the model, for errors.
    """
    if not isinstance(content, dict):
        raise ModelError(f"{name}/config.json: {ENSEMBLE_KEY} is not a mapping; give a folder that Gnomon wrote.")
    return validate(EnsembleRecord, content, f"{name}/config.json, {ENSEMBLE_KEY}")


def panel_record(folder: Path) -> EnsembleRecord | None:
    """Read the record of an ensemble of separate models from its folder; `None` for any other folder or name."""
    try:
        content = json.loads((folder / "config.json").read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    content = content.get(ENSEMBLE_KEY) if isinstance(content, dict) else None
    own = isinstance(content, dict) and content.get("kind") == "models"
    return read_record(content, str(folder)) if own else None


def load_member_weights(name: str, record: EnsembleRecord) -> list[dict[str, Tensor]]:
    """Load the weights `[…]` of an ensemble's members by name, in order.

    Args:
        name: folder, or name on the hub.
        record: of the ensemble.

    Raises:
        ModelError: the file is missing or has other members than config.json.
    """
    file = cached_file(name, MEMBERS_FILE, _raise_exceptions_for_missing_entries=False)
    members: list[dict[str, Tensor]] = [{} for _ in record.names]
    numbers = {str(number): number for number in range(len(members))}
    for key, tensor in load_file(file).items() if file is not None else ():
        number, _, weight = key.partition(".")
        if number not in numbers:
            members = []
            break
        members[numbers[number]][weight] = tensor
    if not members or not all(members):
        raise ModelError(
            f"{name} does not hold the {len(record.names)} members that its config.json names in {MEMBERS_FILE}; "
            "give the folder whole, as Gnomon wrote it."
        )
    return members


def load_head_stack(network: Any, name: str, record: EnsembleRecord) -> None:
    """Give a network the heads of a saved ensemble.

    Args:
        network: with the trunk.
        name: folder, or name on the hub.
        record: of the ensemble.

    Raises:
        ModelError: the heads' weights are missing or do not fit config.json.
    """
    stack = HeadStack(network.config.get_text_config().hidden_size, record.head, len(record.names))
    try:
        for head, weights in zip(stack.heads, load_member_weights(name, record), strict=True):
            head.load_state_dict(weights)
    except RuntimeError:
        raise ModelError(
            f"{name}/{MEMBERS_FILE} does not fit the reward_ensemble of config.json; give the folder whole, as "
            "Gnomon wrote it."
        ) from None
    set_score_head(network, stack)
