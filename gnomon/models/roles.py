"""The three models of alignment, computed on `TokenGroups`: policy, reward model, critic."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from gnomon.core.batches import TokenGroups
from gnomon.core.config import validate
from gnomon.core.errors import ModelError
from gnomon.models.adapters import adapted_layers, decoder_layers, merge_into_network, replaced
from gnomon.models.cards.facts import ModelCard
from gnomon.models.engine.activation_cache import FrozenLayerCache
from gnomon.models.engine.device import Compute
from gnomon.models.engine.dropout import DropoutMasks, masked_inputs
from gnomon.models.engine.forward import LayoutName, best_layout, completion_states, to_padded, token_logprobs
from gnomon.models.engine.fused_rmsnorm import fuse_rms_norms
from gnomon.models.engine.gradient_checkpointing import recomputed
from gnomon.models.engine.lm_head import ReferenceHead, full_kl
from gnomon.models.library_patches import restore_configs, set_trunk
from gnomon.models.scalar_head import ScalarHead, pooled_states, read_score
from gnomon.models.score_parts.files import parts_of
from gnomon.models.score_parts.heads import ScoreParts
from gnomon.models.score_parts.settings import RATING
from gnomon.models.settings import StepSettings
from gnomon.stats.calibration import Calibration, calibration_of

if TYPE_CHECKING:
    from peft import PeftModel


class Model:
    """A Hugging Face network, perhaps with an adapter inside it.

    Attributes:
        network: the Hugging Face model that `save_pretrained` would write.
        adapter: the PEFT wrapper around it, or `None`.
        card: what its card states when it is saved.
    """

    card = ModelCard()

    def __init__(self, network: Any, tokenizer: Any, compute: Compute, adapter: PeftModel | None = None):
        self.network = network.to(compute.device).eval()
        fuse_rms_norms(self.network)
        self.tokenizer = tokenizer
        self.compute = compute.for_model(network)
        self.adapter = adapter
        self.layout: LayoutName = "auto"
        self._recompute = False
        self._unrounded: dict[nn.Parameter, Tensor] = {}
        self._frozen: FrozenLayerCache | None = None
        self._masks: DropoutMasks | None = None

    @property
    def trunk(self) -> nn.Module:
        """The decoder without its head."""
        return self.network.base_model  # type: ignore[no-any-return]

    @property
    def device(self) -> torch.device:
        """Device of the weights."""
        return self.compute.device

    def trainable(self) -> dict[str, nn.Parameter]:
        """Return the weights that learn, by name."""
        return {name: p for name, p in self.network.named_parameters() if p.requires_grad}

    def parameter_counts(self) -> dict[str, int]:
        """Count all weights, and those that learn."""
        counts = [(p.numel(), p.requires_grad) for p in self.network.parameters()]
        return {"total": sum(n for n, _ in counts), "trainable": sum(n for n, learns in counts if learns)}

    def plain_network(self) -> Any:
        """Merge the adapter into the weights and return the network, for saving. Ends training of this model."""
        if self.adapter is not None:
            self.network = merge_into_network(self.adapter)
            self.adapter = None
        return self.network

    @property
    def layout_in_use(self) -> LayoutName:
        """Layout of its forward passes."""
        return best_layout(self.trunk.config, self.device) if self.layout == "auto" else self.layout

    def linear_layers(self) -> list[Any]:
        """Return the trunk's linear layers, whose products have the model's precision; all else is float32."""
        return [m for m in self.trunk.modules() if isinstance(m, nn.Linear | Conv1D)]

    @contextmanager
    def rounded(self) -> Iterator[None]:
        """Context manager: hold frozen matrices in the precision of products, instead of rounding in each pass.

        Afterwards they are the original tensors.
        """
        layers = self._frozen_layers()
        self._unrounded = {layer.weight: layer.weight.data for layer in layers}
        try:
            with replaced(self.rounded_weights(layers)):
                yield
        finally:
            self._unrounded = {}

    @contextmanager
    def to_save(self) -> Iterator[Model]:
        """Context manager: a model to save while this one goes on learning, unchanged to the last bit.

        An adapter is merged in a copy of the network, which takes the memory of another one; without an adapter
        there is no copy, and configurations are restored.
        """
        twin = copy.copy(self)
        twin.tokenizer = copy.deepcopy(self.tokenizer)
        ends = getattr(self.network, "generation_config", None)  # a network with a score has none
        configs = [self.network.config, self.network.config.get_text_config(), ends]
        with restore_configs(config for config in configs if config is not None), replaced(self._unrounded):
            if self.adapter is not None:
                twin.adapter = copy.deepcopy(self.adapter)
                twin.network = twin.adapter.get_base_model()
            yield twin

    def round_weights(self) -> None:
        """Round frozen matrices permanently, for half the memory: only for a model that is never saved."""
        for weight, rounded in self.rounded_weights(self._frozen_layers()).items():
            weight.data = rounded

    def rounded_weights(self, layers: Iterable[Any]) -> dict[nn.Parameter, Tensor]:
        """Return the weights `[out, in]` of these layers in the precision of products."""
        return {layer.weight: layer.weight.data.to(self.compute.dtype) for layer in layers}

    def _frozen_layers(self) -> list[Any]:
        return [layer for layer in self.linear_layers() if not layer.weight.requires_grad]

    def checkpoint_gradients(self, on: bool) -> None:
        """Switch gradient checkpointing: the backward pass recomputes each layer, to save memory."""
        self._recompute = on

    @property
    def recomputes(self) -> bool:
        """True if the backward pass recomputes each layer."""
        return self._recompute

    @contextmanager
    def activation_cache(self, gigabytes: float) -> Iterator[FrozenLayerCache | None]:
        """Context manager: cache the outputs of frozen lower layers, in `gigabytes` of the device's memory.

        `None`, without a cache, if `gigabytes` is 0, if no layer is frozen, or if an architecture's upper layers
        need more than the states.
        """
        cache = FrozenLayerCache(self.trunk, int(gigabytes * 2**30)) if gigabytes else None
        usable = cache is not None and cache.depth > 0 and cache.is_exact_for(self.compute.dtype)
        self._frozen = cache if usable else None
        try:
            yield self._frozen
        finally:
            self._frozen = None

    @contextmanager
    def dropout(self, *, adapter: float, head: float, key: str) -> Iterator[None]:
        """Context manager: apply dropout to adapters' inputs and to a head's states in passes with gradients.

        Args:
            adapter: dropout rate of an adapter's inputs.
            head: dropout rate of the states before a reward model's head.
            key: identifies the run's seed and the step, from which, with the tokens, masks are derived.
        """
        self._masks = masks = DropoutMasks(adapter, head, key)
        layers = adapted_layers(self.adapter) if adapter and self.adapter is not None else []
        try:
            with masked_inputs(layers, masks):
                yield
        finally:
            self._masks = None

    def _states(self, tokens: TokenGroups, at: Any) -> Tensor:
        above = self._frozen.above if self._frozen else None
        if self._masks:
            self._masks.begin(tokens)
        replay = self._masks.replay() if self._masks else None
        with recomputed(decoder_layers(self.trunk), replay) if self._recompute else nullcontext():
            return completion_states(
                self.trunk, tokens, at=at, dtype=self.compute.dtype, layout=self.layout, above=above
            )


def _rows(values: Tensor, tokens: TokenGroups) -> Tensor:
    """Flatten padded values `[N, T, …]` of completion tokens to `[M, …]`, completion by completion."""
    return torch.cat([row[:length] for row, length in zip(values, tokens.lengths.tolist(), strict=True)])


class Policy(Model):
    """A causal language model: the log-probability of each completion token.

    Attributes:
        decoder: key of its decoder in `gnomon.rollouts.choice.DECODERS`; `None` until one has been chosen.
    """

    decoder: Literal["slots", "padded", "unpadded", "alone", "recomputing"] | None = None
    _reference_head: ReferenceHead | None = None

    def logprobs(self, tokens: TokenGroups, *, temperature: float = 1.0) -> Tensor:
        """Compute log-probabilities in nats at `temperature`, `[N, T]`."""
        return self.logprobs_and_entropy(tokens, temperature=temperature, entropy=False)[0]

    def logprobs_and_entropy(
        self, tokens: TokenGroups, *, temperature: float = 1.0, entropy: bool = True
    ) -> tuple[Tensor, Tensor | None]:
        """Compute log-probabilities and, without gradient, the entropy of each next-token distribution, `[N, T]`.

        Args:
            tokens: completions, in one pass of the model.
            temperature: of the distribution.
            entropy: compute the entropy; otherwise it is `None`.
        """
        states = self._states(tokens, "state")
        head, config = self.network.get_output_embeddings(), self.network.config
        with torch.autocast(self.device.type, enabled=False) if self.device.type == "cuda" else nullcontext():
            return token_logprobs(head, config, states, tokens, temperature=temperature, entropy=entropy)

    def logprobs_entropy_and_kl(
        self, tokens: TokenGroups, reference: Tensor, *, temperature: float = 1.0
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Compute log-probabilities, entropy, and the KL to the reference over the vocabulary, `[N, T]` each.

        Args:
            tokens: completions, in one pass of the model.
            reference: the reference's states before each of their tokens, `[N, T, d]` (`token_states`).
            temperature: of both distributions.
        """
        states = self._states(tokens, "state")
        head, config = self.network.get_output_embeddings(), self.network.config
        with torch.autocast(self.device.type, enabled=False) if self.device.type == "cuda" else nullcontext():
            logprobs, spread = token_logprobs(head, config, states, tokens, temperature=temperature, entropy=True)
            assert spread is not None
            return logprobs, spread, self._full_kl(states, tokens, reference, temperature)

    @torch.no_grad()
    def full_kl(self, tokens: TokenGroups, own: Tensor, reference: Tensor, *, temperature: float = 1.0) -> Tensor:
        """Compute the KL to the reference over the whole vocabulary from states of both, `[N, T]`.

        Args:
            tokens: completions.
            own: the policy's states before each of their tokens, `[N, T, d]`.
            reference: the reference's, `[N, T, d]`.
            temperature: of both distributions.
        """
        with torch.autocast(self.device.type, enabled=False) if self.device.type == "cuda" else nullcontext():
            return self._full_kl(_rows(own, tokens), tokens, reference, temperature)

    def _full_kl(self, states: Tensor, tokens: TokenGroups, reference: Tensor, temperature: float) -> Tensor:
        assert self._reference_head is not None, "remember_reference_head was not called"
        head, config = self.network.get_output_embeddings(), self.network.config
        others = _rows(reference.to(states.device), tokens)
        kl = full_kl(head, config, states, self._reference_head, others, temperature=temperature)
        return to_padded(kl, tokens)

    def token_states(self, tokens: TokenGroups) -> Tensor:
        """Compute the hidden state that predicts each completion token, `[N, T, d]`."""
        return to_padded(self._states(tokens, "state").float(), tokens)

    def remember_reference_head(self) -> None:
        """Store the head's weights, inside `reference_mode`, for `logprobs_entropy_and_kl`, without a copy."""
        self._reference_head = ReferenceHead.of(self.network.get_output_embeddings())

    def reference_weights(self) -> dict[str, Tensor]:
        """Copy the weights that learn `[…]`, by name, as the reference for `reference_mode`.

        Matrices are copied in the precision of products, which gives the same outputs in half the memory.
        """
        rounded = {layer.weight for layer in self.linear_layers()}
        return {
            name: p.detach().to(self.compute.dtype if p in rounded else p.dtype, copy=True)
            for name, p in self.trainable().items()
        }

    @contextmanager
    def reference_mode(self, weights: Mapping[str, Tensor] | None = None) -> Iterator[None]:
        """Context manager: run the policy as its reference, with `weights` `[…]` or with its adapter disabled."""
        if weights is None:
            if self.adapter is None:
                raise ModelError("this policy has no adapter to disable; give the reference's weights.")
            with self.adapter.disable_adapter():
                yield
            return
        own = self.trainable()
        own_tensors = {name: p.data for name, p in own.items()}
        try:
            for name, p in own.items():
                p.data = weights[name]
            yield
        finally:
            for name, p in own.items():
                p.data = own_tensors[name]

    @torch.no_grad()
    def reference_logprobs(self, tokens: TokenGroups, *, temperature: float = 1.0) -> Tensor:
        """Compute log-probabilities with the adapter disabled, which are those before training, `[N, T]`."""
        with self.reference_mode():
            return self.logprobs(tokens, temperature=temperature)


@dataclass(frozen=True)
class RewardOutputs:
    """Outputs of a reward model for N completions.

    Attributes:
        score: `[N]`, in logits of being preferred.
        named: prediction of each named score, in standard deviations or logits, `[N]` each.
    """

    score: Tensor
    named: Mapping[str, Tensor]


class RewardModel(Model):
    """A decoder with a scalar head: a linear layer on the last token, or a `ScalarHead`.

    `network.config.score_offset` is subtracted, so that 0 is the average score of the completions of `center`.
    Beside the head it may have `parts`: heads of named scores, and a gate that combines them to the score.

    Attributes:
        whole_conversation: a completion is scored at the last token that the chat template writes, as
            transformers scores a rendered conversation; otherwise at the token that ends the completion, as
            Gnomon trains.
        untrained_head: its head is new, so that its score means nothing before it is trained.
        selected: name of the named score that `scores` gives; `None` for its own score.
    """

    whole_conversation = False
    untrained_head = False
    selected: str | None = None

    def select(self, name: str | None, model: str = "MODEL") -> None:
        """Let `scores` give a named score, on people's scale; `None`, or a name that it has not, its own score.

        `model` is its name, for messages.

        Raises:
            ModelError: it was trained on named scores alone, and none is named.
        """
        self.selected = name if name in self.score_names else None
        if self.selected is None:
            self._require_score(model)

    @property
    def score_names(self) -> list[str]:
        """Names of the scores that it has beside its own; `rating` where it was trained on ratings."""
        if self.parts is None:
            return []
        rated = self.parts.settings.rating is not None and self.has_score
        return [*([RATING] if rated else []), *self.parts.names]

    def scores(self, tokens: TokenGroups) -> Tensor:
        """Compute one score per completion, `[N]`, in logits of being preferred, or the selected named score.

        Raises:
            ModelError: it was trained on named scores alone, and none is selected.
        """
        if self.selected is not None:
            return self.scores_by_name(tokens)[self.selected]
        self._require_score()
        return self.outputs(tokens).score

    def _require_score(self, model: str = "MODEL") -> None:
        if not self.has_score:
            assert self.parts is not None
            raise ModelError(
                f"reward model '{model}' was trained on named scores alone and has no score of its own; give "
                f"one of {', '.join(self.parts.names)} by name, as in {model}#{self.parts.names[0]}."
            )

    def outputs(self, tokens: TokenGroups) -> RewardOutputs:
        """Compute the score and the predictions of named scores, in one pass.

        A gated score is a function of the gate alone: no gradient reaches the named scores or the trunk through
        it.
        """
        parts, gate = self.parts, self.parts.gate if self.parts else None
        states = self._states(tokens, "end and prompt" if gate else "end").float()
        count = int(tokens.lengths.sum())
        read = self._masks.drop(states[:count], self._masks.head, "head") if self._masks else states[:count]
        pooled = pooled_states(self.network.score, read, tokens.lengths)
        predictions = parts.predictions(pooled) if parts else {}
        if gate is None:
            return RewardOutputs(read_score(self.network.score, pooled) - self.offset, predictions)
        fixed = torch.stack(list(predictions.values()), dim=-1).detach()  # [N, names]
        return RewardOutputs(gate(states[count:].detach(), fixed) - self.offset, predictions)

    def scores_by_name(self, tokens: TokenGroups) -> dict[str, Tensor]:
        """Compute each named score on the scale on which people gave it, `[N]` each.

        A model that was trained on ratings of the whole answer has `rating` among them: its score as a rating.
        """
        return self._on_scales(self.outputs(tokens))

    def score_table(self, tokens: TokenGroups) -> Tensor:
        """Compute its score and, below, each of `score_names` on people's scale, `[1 + names, N]`."""
        outputs = self.outputs(tokens)
        named = self._on_scales(outputs)
        return torch.stack([outputs.score, *(named[name] for name in self.score_names)])

    def _on_scales(self, outputs: RewardOutputs) -> dict[str, Tensor]:
        if self.parts is None:
            return {}
        named = {name: self.parts.head(name).on_scale(values) for name, values in outputs.named.items()}
        scale = self.parts.settings.rating
        if scale is None or not self.has_score:
            return named
        return {RATING: scale.mean + scale.deviation * (outputs.score + self.offset), **named}

    @property
    def has_score(self) -> bool:
        """Whether it has a score of its own, beside named ones."""
        return self.parts is None or self.parts.settings.overall

    @property
    def parts(self) -> ScoreParts | None:
        """Its parts beside the head; `None` without any."""
        return parts_of(self.network)

    @property
    def is_plain(self) -> bool:
        """True if transformers' `AutoModelForSequenceClassification` computes the same score."""
        return self.parts is None and not isinstance(self.network.score, ScalarHead)

    @property
    def reads_last_token(self) -> bool:
        """True if a score depends on the states of the last token alone, wherever the completion starts."""
        head, gate = self.network.score, self.parts.gate if self.parts else None
        return gate is None and (not isinstance(head, ScalarHead) or head.settings.pooling == "last")

    @property
    def calibration(self) -> Calibration | None:
        """The map from score differences to probabilities, which is saved in config.json; `None` without one."""
        content = getattr(self.network.config, "score_calibration", None)
        return None if content is None or self.selected is not None else calibration_of(content)

    def calibrate(self, calibration: Calibration | None) -> None:
        """Set the calibration that is saved with the model."""
        if calibration is None:
            self.network.config.__dict__.pop("score_calibration", None)
        else:
            self.network.config.score_calibration = asdict(calibration)

    @property
    def offset(self) -> float:
        """Raw score that counts as 0."""
        return float(getattr(self.network.config, "score_offset", 0.0))

    @property
    def steps(self) -> StepSettings | None:
        """How the steps of an answer are scored; `None` if answers are scored whole."""
        stored = self.network.config.__dict__.get("reward_steps")
        return None if stored is None else validate(StepSettings, stored, "config.json, reward_steps")

    def score_by_steps(self, settings: StepSettings | None) -> None:
        """Record that scores are logits of being right so far, read after each step; `None`: they are not."""
        self.network.config.__dict__.pop("reward_steps", None)
        if settings is not None:
            self.network.config.reward_steps = settings.model_dump()

    @property
    def member_count(self) -> int:
        """E, number of members of an ensemble; 1 for a single model."""
        return 1

    def member_scores(self, tokens: TokenGroups) -> Tensor:
        """Compute each member's score of each completion, `[E, N]`; a single model has E = 1."""
        return self.scores(tokens)[None]

    def combined(self, members: Tensor) -> Tensor:
        """Combine the members' scores, `[E, N] -> [N]`; a single model's are its own."""
        return members[0]

    def center(self, mean: float | Tensor) -> None:
        """Shift the zero of scores by `mean`, `[]` or `[1]`, the average score of reference completions."""
        self.network.config.score_offset = self.offset + float(mean)


@dataclass(frozen=True)
class CriticOutput:
    """A critic's values `[N, T]` and, if its trunk is frozen, the states `[N, T, d]` before its head."""

    values: Tensor
    states: Tensor | None


class Critic(Model):
    """A decoder with a scalar head on the state before each token, which predicts the return from there."""

    _judge: RewardModel | None = None  # the reward model that shares the trunk

    def share_trunk(self, judge: RewardModel) -> None:
        """Use the trunk of `judge` in place of an equal one; both are frozen.

        Its weights are in memory once, and with an activation cache the states computed for the scores of
        completions serve for their values too.
        """
        set_trunk(self.network, judge.trunk)
        self._judge = judge

    @contextmanager
    def activation_cache(self, gigabytes: float) -> Iterator[FrozenLayerCache | None]:
        """Context manager: cache as for any model; a judge that shares the trunk uses the same cache."""
        with super().activation_cache(gigabytes) as cache:
            if self._judge:
                self._judge._frozen = cache
            try:
                yield cache
            finally:
                if self._judge:
                    self._judge._frozen = None

    @property
    def shares_trunk(self) -> bool:
        """True if a judge uses the same trunk."""
        return self._judge is not None

    @property
    def frozen_trunk(self) -> bool:
        """True if only the head learns; then the trunk's states of a token never change."""
        return not any(p.requires_grad for p in self.trunk.parameters())

    def predict(self, tokens: TokenGroups, states: Tensor | None = None) -> CriticOutput:
        """Predict the value before each token, `[N, T]`; with earlier `states`, runs only the head."""
        if states is None:
            states = to_padded(self._states(tokens, "state").float(), tokens)
        values: Tensor = self.network.score(states).squeeze(-1)
        return CriticOutput(values, states.detach() if self.frozen_trunk else None)
