"""Comparison of vocabularies: whether an id is the same token for two models."""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary

from gnomon.core.storage.digests import digest_of

ADDED_PAD = "<|pad|>"  # padding token of a saved reward model whose vocabulary has none
_digests: WeakKeyDictionary[Any, str] = WeakKeyDictionary()


def same_vocabulary(a: Any, b: Any) -> bool:
    """Return whether each id is the same token for both; the tokens that end a turn or pad may differ.

    A token that only one of them has for padding, `ADDED_PAD`, is ignored.
    """
    return a is b or _digest(a) == _digest(b)


def _digest(tokenizer: Any) -> str:
    if tokenizer not in _digests:
        _digests[tokenizer] = digest_of({t: i for t, i in tokenizer.get_vocab().items() if t != ADDED_PAD})
    return _digests[tokenizer]
