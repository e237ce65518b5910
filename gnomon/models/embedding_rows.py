"""Agreement of a tokenizer's vocabulary with a network's embeddings, which need a row for each token."""

from __future__ import annotations

from typing import Any

import torch

from gnomon.core.errors import ModelError
from gnomon.core.progress import console


def fit_embeddings(network: Any, tokenizer: Any, name: str, *, grow: bool) -> None:
    """Check that every token has an embedding; with `grow`, add rows for tokens added to the tokenizer.

    New rows are the mean of the old ones, so that a new token starts as an average one (Hewitt 2021).
    A token that only pads needs none: padding is never read.

    Args:
        network: with input embeddings, and with output embeddings if it is a language model.
        tokenizer: of the model.
        name: of the model, for messages.
        grow: whether added tokens may get rows, because these will be trained.

    Raises:
        ModelError: tokens have no embedding; the error has the numbers of tokens and rows.
    """
    rows, vocabulary = len(network.get_input_embeddings().weight), tokenizer.get_vocab()
    beyond = {i for i in vocabulary.values() if i >= rows} - {tokenizer.pad_token_id}
    if not beyond:
        return
    needed, added = max(beyond) + 1, beyond <= set(tokenizer.added_tokens_decoder)
    if not (grow and added):
        advice = (
            "train all weights (adapter: none, layers: null), which gives the added tokens rows, or remove them"
            if added
            else "take the tokenizer that belongs to it"
        )
        raise ModelError(
            f"the tokenizer of model '{name}' has {needed} tokens, but the embeddings have {rows} rows; {advice}."
        )
    network.resize_token_embeddings(needed, mean_resizing=False)
    with torch.no_grad():
        for layer in (network.get_input_embeddings(), network.get_output_embeddings()):
            if layer is not None:
                layer.weight[rows:] = layer.weight[:rows].mean(dim=0)
                if getattr(layer, "bias", None) is not None:
                    layer.bias[rows:] = layer.bias[:rows].mean()
    console.print(
        f"  {needed - rows} tokens of the tokenizer are new: the embeddings of '{name}' grow from {rows} to "
        f"{needed} rows",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )
