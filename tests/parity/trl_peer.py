"""TRL's trainers on the tiny models, and the comparison of a loss and its gradient with Gnomon's.

TRL computes; nothing of it is rewritten here. Prompts and completions are token ids, so that both see the same
sequences. The end of a completion is also what TRL pads with, as in many real models.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from tiny import naive_logprobs, tiny_network, tiny_policy, word_tokenizer
from torch import Tensor

from gnomon.core.batches import Labels, Preferences, StepTotals, TokenGroups, pad_rows
from gnomon.models.roles import Policy
from gnomon.models.settings import Trainable
from gnomon.training.runtime.model_bundle import TrainedModels

EVERYTHING = Trainable(adapter="none")
END = 0  # ends every completion, and pads
PROMPTS = [[7, 3, 9, 4, 8], [6, 2], [5, 5, 9]]
COMPLETIONS = [
    [11, 12, 13, END],
    [14, END],
    [15, 16, 17, 18, 19, END],
    [21, 22, END],
    [23, END],
    [24, 25, 26, 27, END],
]
GROUP = [0, 0, 0, 1, 1, 2]
PAIRS = [(0, 1), (2, 0), (4, 3), (1, 2)]


def tokens(masks: Sequence[Sequence[bool]] | None = None) -> TokenGroups:
    """Ragged prompts and completions."""
    return TokenGroups.build(PROMPTS, COMPLETIONS, GROUP, masks)


def policy() -> Policy:
    """All weights learn."""
    return tiny_policy(trainable=EVERYTHING, seed=0)


def models(found: Policy, temperature: float = 1.0) -> TrainedModels:
    """What a loop would hand to a loss."""
    return TrainedModels(found, temperature=temperature)


def reference_logprobs(groups: TokenGroups, temperature: float = 1.0) -> Tensor:
    """Of another network than the policy's, `[N, T]`."""
    with torch.no_grad():
        return pad_rows(naive_logprobs(tiny_network(seed=1), groups, temperature), 0.0)


def preferences() -> Preferences:
    """Four pairs of the first two prompts, a completion in several of them."""
    groups = tokens().select([0, 1, 2, 3, 4])
    return Preferences(
        tokens=groups,
        chosen=torch.tensor([c for c, _ in PAIRS]),
        rejected=torch.tensor([r for _, r in PAIRS]),
        probability=torch.ones(len(PAIRS)),
        margin=torch.tensor([0.0, 1.0, 0.5, 2.0]),
        weight=torch.ones(len(PAIRS)),
        totals=StepTotals(len(PAIRS), float(groups.mask.sum())),
        reference_logprobs=reference_logprobs(groups),
    )


def labels() -> Labels:
    """All completions, good and bad."""
    groups = tokens()
    return Labels(
        tokens=groups,
        good=torch.tensor([True, False, True, True, False, False]),
        weight=torch.ones(len(groups)),
        totals=StepTotals(len(groups), float(groups.mask.sum())),
        reference_logprobs=reference_logprobs(groups),
    )


def pair_rows(*, joined: bool = False) -> list[dict[str, Any]]:
    """The same pairs as TRL's collators take them; `joined` has the prompt in front of each side."""
    rows = []
    for chosen, rejected in PAIRS:
        prompt = PROMPTS[GROUP[chosen]]
        front = prompt if joined else []
        rows.append(
            {
                "prompt_ids": prompt,
                "chosen_ids": front + COMPLETIONS[chosen],
                "rejected_ids": front + COMPLETIONS[rejected],
            }
        )
    return rows


def padded_pairs() -> dict[str, Tensor]:
    """The same pairs as TRL's older trainers (CPO, ORPO) take them."""
    found: dict[str, Tensor] = {}
    for side, place in (("chosen", 0), ("rejected", 1)):
        rows = [(PROMPTS[GROUP[pair[0]]], COMPLETIONS[pair[place]]) for pair in PAIRS]
        ids = [torch.tensor(p + c) for p, c in rows]
        found[f"{side}_input_ids"] = pad_rows(ids, END)
        found[f"{side}_attention_mask"] = pad_rows([torch.ones_like(i) for i in ids], 0)
        found[f"{side}_labels"] = pad_rows([torch.tensor([-100] * len(p) + c) for p, c in rows], -100)
    return found


def trainer(
    kind: type, config: type, folder: Path, network: Any, rows: Any, more: Any = None, **settings: Any
) -> Any:
    """One of TRL's trainers around `network`; `more` goes to the trainer, `settings` to its configuration."""
    from datasets import Dataset, disable_progress_bars

    disable_progress_bars()
    tokenizer = word_tokenizer()
    tokenizer.padding_side = "left"
    settings = {"per_device_train_batch_size": len(rows), **settings}
    args = config(output_dir=str(folder), report_to=[], use_cpu=True, bf16=False, **settings)
    found = kind(
        network, args=args, train_dataset=Dataset.from_list(rows), processing_class=tokenizer, **(more or {})
    )
    found.current_gradient_accumulation_steps = 1
    return found


def with_reference(found: Any) -> Any:
    """The same trainer with the tests' reference in place of its own."""
    found.ref_model.load_state_dict(tiny_network(seed=1).state_dict())
    return found


def gradient(network: Any, loss: Tensor) -> dict[str, Tensor]:
    """Of every weight, by name."""
    named = dict(network.named_parameters())
    found = torch.autograd.grad(loss, list(named.values()), allow_unused=True)
    return {n: torch.zeros_like(p) if g is None else g for (n, p), g in zip(named.items(), found, strict=True)}


def norm(gradients: Mapping[str, Tensor]) -> float:
    """The length of the whole gradient."""
    return float(torch.stack([g.square().sum() for g in gradients.values()]).sum().sqrt())


def gap(ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor]) -> float:
    """The length of the difference, in lengths of TRL's gradient."""
    assert ours.keys() == theirs.keys()
    return norm({name: ours[name] - theirs[name] for name in ours}) / norm(theirs)


def assert_alike(ours: tuple[Any, Tensor], theirs: tuple[Any, Tensor], *, values: bool = True) -> None:
    """Loss and gradient agree to 1e-4: the loss in value, the gradient in proportion to its length."""
    found, expected = gradient(*ours), gradient(*theirs)
    assert norm(expected) > 1e-3  # there is something to agree on
    assert gap(found, expected) < 1e-4
    if values:
        assert abs(float(ours[1]) - float(theirs[1])) < 1e-4 * max(1.0, abs(float(theirs[1])))
