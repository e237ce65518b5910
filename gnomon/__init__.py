"""Gnomon turns human judgement into an aligned language model.

Every command of the command line is also a call here. `gnomon/__init__.pyi` lists the public names with their
modules, which are imported at first use.
"""

from __future__ import annotations

from inspect import isfunction
from typing import Any

import lazy_loader

from gnomon.core.version import VERSION as __version__  # noqa: F401

_import_lazily, _, _names = lazy_loader.attach_stub(__name__, __file__)
__all__ = sorted([*_names, "__version__"])


def __getattr__(name: str) -> Any:
    """Import a public name at first use; its functions raise `GnomonError` for mistakes of the user."""
    if name not in _names:
        raise AttributeError(f"module 'gnomon' has no attribute '{name}'")
    value = _import_lazily(name)
    if isfunction(value):
        from gnomon.core.boundary import input_errors

        value = input_errors()(value)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """The public names, including those not imported yet."""
    return sorted({*globals(), *__all__})
