"""A corpus of files that are broken, or look it: which of their rows are good, and which are not."""

from __future__ import annotations

from broken_files.arrow_files import ARROW_FILES
from broken_files.case import Broken
from broken_files.json_files import JSON_FILES
from broken_files.json_lines import CONTENTS, JSON_LINES
from broken_files.other_files import COMPRESSED, OTHERS
from broken_files.tables import TABLES

__all__ = ["CORPUS", "Broken"]
CORPUS = (*JSON_LINES, *CONTENTS, *JSON_FILES, *TABLES, *ARROW_FILES, *COMPRESSED, *OTHERS)
