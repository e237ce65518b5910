"""What the frozen model says of each text: one vector that a linear head reads, computed once and kept."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from gnomon.core.storage.digests import digest
from gnomon.core.types import Completion, RatedText
from gnomon.data.batching import pack_by_tokens, token_groups
from gnomon.data.encoding import Example, encode_completions
from gnomon.data.film_reviews import film_prompts
from gnomon.models.engine.device import find_compute
from gnomon.models.engine.forward import completion_states
from gnomon.models.loading import load_reward_model
from gnomon.models.roles import RewardModel
from gnomon.models.scalar_head import ScalarHead
from gnomon.models.settings import HeadSettings

MODEL, DEPTH = "smollm2-135m", 20  # layers of 30, as in recipes/film-reviews.yaml
HEAD = HeadSettings(pooling="mean")
BUDGET = 512  # tokens of a forward pass
PROMPT = film_prompts()[0]


def states_of(items: Sequence[RatedText], folder: Path) -> NDArray[np.float32]:
    """The mean state of each text's tokens after `DEPTH` layers, as an answer to `PROMPT`, `[N, d]`.

    Kept in `folder` under a name that says which texts and model they are of.
    """
    name = digest([MODEL, DEPTH, str(HEAD), PROMPT.messages[0].content, *(item.text for item in items)])[:16]
    file = folder / f"states-{name}.npy"
    if not file.exists():
        folder.mkdir(parents=True, exist_ok=True)
        model = load_reward_model(MODEL, find_compute(precision="float32"), seed=0, num_layers=DEPTH, head=HEAD)
        np.save(file, pooled_states(model, [item.text for item in items]))
    states: NDArray[np.float32] = np.load(file)
    return states


@torch.no_grad()
def pooled_states(model: RewardModel, texts: Sequence[str]) -> NDArray[np.float32]:
    """What the model's own head reads of each text, `[N, d]`."""
    head = model.network.score
    assert isinstance(head, ScalarHead)
    completions = [Completion(str(index), text) for index, text in enumerate(texts)]
    encoded = encode_completions([PROMPT] * len(texts), completions, model.tokenizer)
    examples = [one for one in encoded if isinstance(one, Example)]
    pooled = torch.empty(len(texts), head.out.in_features)
    done = 0
    for rows in pack_by_tokens([sum(map(len, e.completions)) for e in examples], BUDGET):
        tokens = token_groups([examples[row] for row in rows])
        states = completion_states(model.trunk, tokens, at="end", dtype=model.compute.dtype)
        pooled[rows] = head.pool(states.float(), tokens.lengths).cpu()
        done += len(rows)
        print(f"\rstates of {done} of {len(texts)} texts", end="" if done < len(texts) else "\n", flush=True)
    array: NDArray[np.float32] = pooled.numpy()
    return array
