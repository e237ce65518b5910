"""The version of this source; `pyproject.toml` says the same."""

VERSION = "0.1.0"
