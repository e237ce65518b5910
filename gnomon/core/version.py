"""Version of this source; `pyproject.toml` has the same."""

VERSION = "0.1.0"
