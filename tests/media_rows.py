"""Rows with images for tests: one question about several of them."""

from __future__ import annotations

from typing import Any

QUESTION = "What can be seen in this picture, and where was it taken? Describe it in one sentence."
REFUSAL = "it has 1 image, which no model here reads"


def about(image: str | None, **answers: Any) -> dict[str, Any]:
    """A row about an image, or about none."""
    return {"prompt": QUESTION, **({} if image is None else {"images": [image]}), **answers}


def pair_about(image: str | None, chosen: str = "A cat on a roof.", rejected: str = "A dog.") -> dict[str, Any]:
    """A preference about an image."""
    return about(image, chosen=chosen, rejected=rejected)
