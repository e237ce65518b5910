"""All texts of the pages and reports: one file per language, read by `texts_in`.

Texts are plain: no markup, and `{names}` for values. The files have the same keys: `annotation_pages` holds the
texts of the annotation server, `reports` those of reports, by a family and a name (`metric.reward_mean`); some
families are looked up by names in the run folder.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

LANGUAGES = {"en": "en", "zh": "zh-Hans"}  # name → language tag for browsers


@cache
def texts_in(language: str) -> dict[str, Any]:
    """Return the texts in a language of `LANGUAGES`: `{"annotation_pages": …, "reports": …}`. Read once."""
    texts: dict[str, Any] = json.loads(Path(__file__).with_name(f"{language}.json").read_text("utf-8"))
    return texts
