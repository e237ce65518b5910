"""Whether two models mean the same by an id."""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary

from gnomon.core.run_folder import digest_of

_digests: WeakKeyDictionary[Any, str] = WeakKeyDictionary()


def same_vocabulary(a: Any, b: Any) -> bool:
    """Whether each id is the same token for both tokenizers; which of them end a turn or pad may differ."""
    return a is b or _digest(a) == _digest(b)


def _digest(tokenizer: Any) -> str:
    if tokenizer not in _digests:
        _digests[tokenizer] = digest_of(tokenizer.get_vocab())
    return _digests[tokenizer]
