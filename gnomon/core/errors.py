"""Errors that a user can act on.

Each message is one sentence: what is wrong, where, and what to do. The command line prints it and exits with
code 2; a traceback is for mistakes in Gnomon itself.
"""


class GnomonError(Exception):
    """Something the user can mend."""


class ConfigError(GnomonError):
    """A recipe or an override is wrong."""


class DataError(GnomonError):
    """Input data is wrong, or a file is missing or damaged."""


class ModelError(GnomonError):
    """A model cannot be found, loaded or used."""


class RunError(GnomonError):
    """A run folder cannot be used, or training cannot go on."""


class Interrupted(GnomonError):
    """The user stopped the run; what was done is saved."""
