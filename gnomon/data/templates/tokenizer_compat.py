"""Whether two models mean the same by an id."""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary

from gnomon.core.storage.digests import digest_of

ADDED_PAD = "<|pad|>"  # the token that a saved reward model pads with where its vocabulary has none for it
_digests: WeakKeyDictionary[Any, str] = WeakKeyDictionary()


def same_vocabulary(a: Any, b: Any) -> bool:
    """Whether each id is the same token for both; which of them end a turn or pad may differ.

    A token that only one of them has for padding, `ADDED_PAD`, makes no difference.
    """
    return a is b or _digest(a) == _digest(b)


def _digest(tokenizer: Any) -> str:
    if tokenizer not in _digests:
        _digests[tokenizer] = digest_of({t: i for t, i in tokenizer.get_vocab().items() if t != ADDED_PAD})
    return _digests[tokenizer]
