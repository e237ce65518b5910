"""All commands of `gnomon feedback`: importing a module adds its commands, in the order of the help."""

from __future__ import annotations

# isort: off
from gnomon.cli.feedback import projects, items, annotators, automation, collection, profiles, crowd, export

# isort: on
from gnomon.cli.feedback.arguments import app

__all__ = ["annotators", "app", "automation", "collection", "crowd", "export", "items", "profiles", "projects"]
