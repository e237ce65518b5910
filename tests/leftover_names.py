"""Names that Gnomon gives to temporary files and folders."""

from __future__ import annotations

import re


def is_leftover_name(name: str) -> bool:
    """Whether Gnomon uses such a name for temporary files or folders, and for nothing else."""
    return re.fullmatch(r"\.gnomon-[a-z0-9_]{8}\.parts?", name) is not None
