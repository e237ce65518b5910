"""Passes that start above frozen layers: the same numbers and gradients, without running the layers below."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
import torch
from kinds import PACKED, PLAIN
from test_architectures import built
from tiny import gradients, shake, tiny_critic, tiny_policy, tiny_reward_model

from gnomon.core.batches import TokenGroups
from gnomon.core.errors import ModelError
from gnomon.models.adapters import decoder_layers
from gnomon.models.engine.activation_cache import FrozenLayerCache, frozen_depth
from gnomon.models.roles import Model
from gnomon.models.settings import Trainable

UPPER = Trainable(rank=4, layers=1)
DIM, FLOAT = 32, 4  # of the tiny models
Keep = Callable[..., Any]


@pytest.fixture
def keep() -> Iterator[Keep]:
    """Caches as a loop opens them, for the duration of the test."""
    with ExitStack() as stack:
        yield lambda model, gigabytes=1.0: stack.enter_context(model.activation_cache(gigabytes))


class Counter:
    """How often each layer of a model ran."""

    def __init__(self, model: Model):
        self.runs = [0] * len(decoder_layers(model.trunk))
        for number, layer in enumerate(decoder_layers(model.trunk)):
            inside: Any = layer
            inside.mlp.register_forward_pre_hook(self._seen(number))

    def _seen(self, number: int) -> Any:
        def seen(*_: Any) -> None:
            self.runs[number] += 1

        return seen


@pytest.mark.parametrize(
    ("trainable", "depth"),
    [
        (Trainable(adapter="none"), 0),
        (Trainable(rank=4), 0),
        (Trainable(rank=4, layers=1), 2),
        (Trainable(adapter="none", layers=2), 1),
        (Trainable(adapter="none", layers=0), 3),
    ],
    ids=str,
)
def test_the_depth_is_that_of_the_lowest_layer_that_learns(trainable: Trainable, depth: int) -> None:
    assert frozen_depth(tiny_policy(layers=3, trainable=trainable).trunk) == depth


def test_nothing_is_frozen_above_embeddings_that_learn() -> None:
    policy = tiny_policy(layers=3, trainable=UPPER)
    policy.network.get_input_embeddings().weight.requires_grad_(True)
    assert frozen_depth(policy.trunk) == 0


@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize("layout", ["packed", "plain"])
@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_the_same_numbers_and_gradients(
    kind: str, layout: Any, recompute: bool, groups: TokenGroups, keep: Keep
) -> None:
    policy = tiny_policy(kind=kind, layers=3, trainable=UPPER)
    shake(policy)
    policy.layout = layout
    policy.checkpoint_gradients(recompute)
    expected = policy.logprobs(groups)
    wanted = gradients(policy, expected.square().sum())
    keep(policy)
    counter = Counter(policy)
    for passes in (1, 1):  # the first runs the lower layers, the second does not
        result = policy.logprobs(groups)
        torch.testing.assert_close(result, expected, atol=1e-6, rtol=1e-6)
        for name, gradient in gradients(policy, result.square().sum()).items():
            torch.testing.assert_close(gradient, wanted[name], atol=1e-6, rtol=1e-6, msg=name)
        assert counter.runs[:2] == [passes, passes]
    assert all(g.abs().max() > 0 for n, g in wanted.items() if "lora_B" in n)
    assert "forward" not in decoder_layers(policy.trunk)[0].__dict__


def test_states_are_reused_in_any_batch(groups: TokenGroups, keep: Keep) -> None:
    policy = tiny_policy(layers=3, trainable=UPPER)
    shake(policy)
    parts = [groups.select([n]) for n in reversed(range(len(groups)))]
    expected = [policy.logprobs(part) for part in parts]
    keep(policy)
    policy.logprobs(groups)
    counter = Counter(policy)
    for part, wanted in zip(parts, expected, strict=True):
        for layout in ("packed", "plain"):
            policy.layout = layout
            torch.testing.assert_close(policy.logprobs(part), wanted, atol=1e-5, rtol=1e-5)
    assert counter.runs[:2] == [0, 0]


def test_the_reference_finds_them_too(groups: TokenGroups, keep: Keep) -> None:
    """With the adapter switched off as with it: below, there is none."""
    policy = tiny_policy(layers=3, trainable=UPPER)
    reference = policy.logprobs(groups).detach()
    shake(policy)
    changed = policy.logprobs(groups).detach()
    assert (changed - reference).abs().max() > 1e-2
    keep(policy)
    torch.testing.assert_close(policy.reference_logprobs(groups), reference, atol=1e-6, rtol=1e-6)
    counter = Counter(policy)
    torch.testing.assert_close(policy.logprobs(groups), changed, atol=1e-6, rtol=1e-6)
    assert counter.runs == [0, 0, 1]


def test_another_prompt_is_another_state(keep: Keep) -> None:
    """The same completion, and the same ids cut elsewhere, are not found under it."""
    policy = tiny_policy(layers=3, trainable=UPPER)
    questions = [([5, 6], [7, 8]), ([6, 5], [7, 8]), ([5], [6, 7, 8]), ([5, 6, 7], [8])]
    batches = [TokenGroups.build([p], [c], [0]) for p, c in questions]
    expected = [policy.logprobs(batch).detach() for batch in batches]
    keep(policy)
    for _ in range(2):
        for batch, wanted in zip(batches, expected, strict=True):
            torch.testing.assert_close(policy.logprobs(batch), wanted, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("make", [tiny_reward_model, tiny_critic])
def test_scalar_models_too(make: Any, groups: TokenGroups, keep: Keep) -> None:
    model = make(trainable=UPPER, layers=3)
    shake(model)
    ask = model.scores if make is tiny_reward_model else lambda tokens: model.predict(tokens).values
    expected = ask(groups).detach()
    keep(model)
    counter = Counter(model)
    for _ in range(3):
        torch.testing.assert_close(ask(groups), expected, atol=1e-6, rtol=1e-6)
    assert counter.runs == [1, 1, 3]


def test_a_critic_reuses_the_states_of_its_judge(groups: TokenGroups, keep: Keep) -> None:
    """One frozen trunk for both: while states are kept, what was scored is valued without another pass."""
    judge, critic = tiny_reward_model(layers=3), tiny_critic(layers=3)
    torch.nn.init.normal_(critic.network.score.weight, generator=torch.Generator().manual_seed(1))
    scores, alone = judge.scores(groups).detach(), critic.predict(groups)
    critic.share_trunk(judge)
    assert critic.trunk is judge.trunk
    counter = Counter(critic)
    for runs in (2, 1):
        if runs == 1:
            keep(critic)
        counter.runs = [0, 0, 0]
        with torch.no_grad():
            torch.testing.assert_close(judge.scores(groups), scores, atol=1e-6, rtol=1e-6)
            states = critic.predict(groups).states
        assert counter.runs == [runs] * 3
        answer = critic.predict(groups, states)
        torch.testing.assert_close(answer.values, alone.values, atol=1e-6, rtol=1e-6)
        answer.values.sum().backward()  # type: ignore[no-untyped-call]


def test_states_beyond_the_limit_are_computed(groups: TokenGroups) -> None:
    policy = tiny_policy(layers=3, trainable=UPPER)
    expected = policy.logprobs(groups).detach()
    first = len(groups.prompts[0]) * DIM * FLOAT
    store = FrozenLayerCache(policy.trunk, limit=first + 1)
    policy._frozen = store
    for _ in range(2):
        torch.testing.assert_close(policy.logprobs(groups), expected, atol=1e-6, rtol=1e-6)
    assert 0 < store.size <= first + 1
    store.clear()
    assert store.size == 0


def test_no_cache_for_zero_gigabytes_or_without_frozen_layers(keep: Keep) -> None:
    for trainable, gigabytes in ((UPPER, 0.0), (Trainable(rank=4), 1.0)):
        policy = tiny_policy(layers=3, trainable=trainable)
        assert keep(policy, gigabytes) is None


def test_no_cache_if_upper_layers_need_more_than_states(groups: TokenGroups, keep: Keep) -> None:
    """Its last layer adds the first's output, which a pass above it does not have."""
    policy = tiny_policy(layers=3, trainable=UPPER)
    lowest: Any = decoder_layers(policy.trunk)[0]
    last: Any = decoder_layers(policy.trunk)[-1]
    outputs: list[Any] = []
    lowest.mlp.register_forward_hook(lambda _m, _a, out: outputs.append(out))
    last.register_forward_hook(lambda _m, _a, out: out + outputs[-1][:, : out.shape[1]] if outputs else out)
    assert keep(policy) is None


def test_no_cache_if_positions_depend_on_the_batch(keep: Keep) -> None:
    policy = tiny_policy(layers=3, trainable=UPPER)
    assert keep(policy) is not None
    policy.network.config.rope_parameters = {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 10000.0}
    assert keep(policy) is None


def test_no_cache_without_a_stack_of_layers(monkeypatch: pytest.MonkeyPatch, keep: Keep) -> None:
    policy = tiny_policy(layers=3, trainable=UPPER)

    def none(_: Any) -> Any:
        raise ModelError("no stack of layers found")

    monkeypatch.setattr("gnomon.models.engine.activation_cache.decoder_layers", none)
    assert keep(policy) is None


def test_a_closed_cache_reuses_states_and_stores_no_more(groups: TokenGroups, keep: Keep) -> None:
    policy = tiny_policy(layers=3, trainable=UPPER)
    store = keep(policy)
    counter = Counter(policy)
    store.fill(groups.select([0]), dtype=torch.float32, layout="packed")
    assert counter.runs == [1, 1, 0]  # the layer that learns does not run
    store.open = False
    size = store.size
    policy.logprobs(groups)
    assert store.size == size > 0
    assert counter.runs == [2, 2, 1]
    policy.logprobs(groups.select([0]))
    assert counter.runs == [2, 2, 2]


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")
@pytest.mark.parametrize(
    ("kind", "settings"), [*PACKED.items(), *PLAIN.items()], ids=lambda v: v if isinstance(v, str) else ""
)
def test_every_architecture_gives_the_same_outputs(
    kind: str, settings: dict[str, Any], groups: TokenGroups, keep: Keep
) -> None:
    policy = built(kind, settings)
    layers = decoder_layers(policy.trunk)
    policy.network.requires_grad_(False)
    layers[-1].requires_grad_(True)
    expected = policy.logprobs(groups).detach()
    store = keep(policy)
    assert store is not None
    assert store.depth == 2
    for _ in range(2):
        torch.testing.assert_close(policy.logprobs(groups), expected, atol=1e-5, rtol=1e-5)
