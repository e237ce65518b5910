"""Libraries that take long to import, imported when one of their names is first used.

A command that needs no model starts without them: `from gnomon.core.lazy import torch` costs nothing until
`torch.where` is called. Modules that define networks import torch itself; annotations take their types from
`if TYPE_CHECKING:` blocks.
"""

from __future__ import annotations

from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import peft
    import torch
    import torch.nn.functional as F
    import transformers
    from scipy import sparse, special, stats

    __all__ = ["F", "peft", "sparse", "special", "stats", "torch", "transformers"]
else:

    class _Lazy(ModuleType):
        """Proxy of a module, which it imports when one of its names is read."""

        def __getattr__(self, name: str) -> Any:
            return getattr(import_module(self.__name__), name)

    F = _Lazy("torch.nn.functional")
    peft = _Lazy("peft")
    sparse = _Lazy("scipy.sparse")
    special = _Lazy("scipy.special")
    stats = _Lazy("scipy.stats")
    torch = _Lazy("torch")
    transformers = _Lazy("transformers")
