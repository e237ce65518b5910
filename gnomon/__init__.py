"""Gnomon turns human judgement into an aligned language model.

Everything that the command line does is a call here; what is heavy is imported when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from inspect import isfunction
from typing import TYPE_CHECKING, Any

from gnomon.core.version import VERSION as __version__

if TYPE_CHECKING:
    from gnomon.app.calls import check as check
    from gnomon.app.calls import compare as compare
    from gnomon.app.calls import load_recipe as load_recipe
    from gnomon.app.calls import plan as plan
    from gnomon.app.calls import report as report
    from gnomon.app.calls import run as run
    from gnomon.app.calls_feedback import feedback_agreement as feedback_agreement
    from gnomon.app.calls_feedback import feedback_annotator as feedback_annotator
    from gnomon.app.calls_feedback import feedback_export as feedback_export
    from gnomon.app.calls_feedback import feedback_gold as feedback_gold
    from gnomon.app.calls_feedback import feedback_import as feedback_import
    from gnomon.app.calls_feedback import feedback_import_ratings as feedback_import_ratings
    from gnomon.app.calls_feedback import feedback_init as feedback_init
    from gnomon.app.calls_feedback import feedback_link as feedback_link
    from gnomon.app.calls_feedback import feedback_pick as feedback_pick
    from gnomon.app.calls_feedback import feedback_status as feedback_status
    from gnomon.app.calls_feedback_programs import feedback_generate as feedback_generate
    from gnomon.app.calls_feedback_programs import feedback_judge as feedback_judge
    from gnomon.app.calls_feedback_programs import feedback_reorder as feedback_reorder
    from gnomon.app.calls_feedback_serve import feedback_serve as feedback_serve
    from gnomon.app.calls_train import Trained as Trained
    from gnomon.app.calls_train import evaluate as evaluate
    from gnomon.app.calls_train import train as train
    from gnomon.app.calls_use import chat as chat
    from gnomon.app.calls_use import inspect as inspect
    from gnomon.app.calls_use import load_policy as load_policy
    from gnomon.app.calls_use import load_reward_model as load_reward_model
    from gnomon.app.calls_use import sample as sample
    from gnomon.app.calls_use import score as score
    from gnomon.core.errors import GnomonError as GnomonError

_HOME = {
    "GnomonError": "gnomon.core.errors",
    "Trained": "gnomon.app.calls_train",
    "chat": "gnomon.app.calls_use",
    "check": "gnomon.app.calls",
    "compare": "gnomon.app.calls",
    "evaluate": "gnomon.app.calls_train",
    "feedback_agreement": "gnomon.app.calls_feedback",
    "feedback_annotator": "gnomon.app.calls_feedback",
    "feedback_export": "gnomon.app.calls_feedback",
    "feedback_generate": "gnomon.app.calls_feedback_programs",
    "feedback_gold": "gnomon.app.calls_feedback",
    "feedback_import": "gnomon.app.calls_feedback",
    "feedback_import_ratings": "gnomon.app.calls_feedback",
    "feedback_init": "gnomon.app.calls_feedback",
    "feedback_judge": "gnomon.app.calls_feedback_programs",
    "feedback_link": "gnomon.app.calls_feedback",
    "feedback_pick": "gnomon.app.calls_feedback",
    "feedback_reorder": "gnomon.app.calls_feedback_programs",
    "feedback_serve": "gnomon.app.calls_feedback_serve",
    "feedback_status": "gnomon.app.calls_feedback",
    "inspect": "gnomon.app.calls_use",
    "load_policy": "gnomon.app.calls_use",
    "load_recipe": "gnomon.app.calls",
    "load_reward_model": "gnomon.app.calls_use",
    "plan": "gnomon.app.calls",
    "report": "gnomon.app.calls",
    "run": "gnomon.app.calls",
    "sample": "gnomon.app.calls_use",
    "score": "gnomon.app.calls_use",
    "train": "gnomon.app.calls_train",
}
__all__ = [
    "GnomonError",
    "Trained",
    "__version__",
    "chat",
    "check",
    "compare",
    "evaluate",
    "feedback_agreement",
    "feedback_annotator",
    "feedback_export",
    "feedback_generate",
    "feedback_gold",
    "feedback_import",
    "feedback_import_ratings",
    "feedback_init",
    "feedback_judge",
    "feedback_link",
    "feedback_pick",
    "feedback_reorder",
    "feedback_serve",
    "feedback_status",
    "inspect",
    "load_policy",
    "load_recipe",
    "load_reward_model",
    "plan",
    "report",
    "run",
    "sample",
    "score",
    "train",
]


def __getattr__(name: str) -> Any:
    """Import a public name from where it lives, once; a function raises `GnomonError` for a user's input."""
    if name not in _HOME:
        raise AttributeError(f"module 'gnomon' has no attribute '{name}'")
    value = getattr(import_module(_HOME[name]), name)
    if isfunction(value):
        from gnomon.core.boundary import input_errors

        value = input_errors()(value)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """The public names, those not imported yet too."""
    return sorted({*globals(), *__all__})
