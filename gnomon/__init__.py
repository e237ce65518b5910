"""Gnomon turns human judgement into an aligned language model.

Every command of the command line is also a call here; heavy modules are imported at first use.
"""

from __future__ import annotations

from importlib import import_module
from inspect import isfunction
from typing import TYPE_CHECKING, Any

from gnomon.core.version import VERSION as __version__

if TYPE_CHECKING:
    from gnomon.api.feedback import feedback_agreement as feedback_agreement
    from gnomon.api.feedback import feedback_export as feedback_export
    from gnomon.api.feedback import feedback_gold as feedback_gold
    from gnomon.api.feedback import feedback_import as feedback_import
    from gnomon.api.feedback import feedback_import_ratings as feedback_import_ratings
    from gnomon.api.feedback import feedback_init as feedback_init
    from gnomon.api.feedback import feedback_invite as feedback_invite
    from gnomon.api.feedback import feedback_select_prompts as feedback_select_prompts
    from gnomon.api.feedback import feedback_set_annotator as feedback_set_annotator
    from gnomon.api.feedback import feedback_status as feedback_status
    from gnomon.api.feedback_automation import feedback_auto_annotate as feedback_auto_annotate
    from gnomon.api.feedback_automation import feedback_generate as feedback_generate
    from gnomon.api.feedback_automation import feedback_reorder as feedback_reorder
    from gnomon.api.feedback_server import feedback_serve as feedback_serve
    from gnomon.api.inference import chat as chat
    from gnomon.api.inference import inspect as inspect
    from gnomon.api.inference import load_policy as load_policy
    from gnomon.api.inference import load_reward_model as load_reward_model
    from gnomon.api.inference import sample as sample
    from gnomon.api.inference import score as score
    from gnomon.api.recipes import check as check
    from gnomon.api.recipes import compare as compare
    from gnomon.api.recipes import load_recipe as load_recipe
    from gnomon.api.recipes import plan as plan
    from gnomon.api.recipes import report as report
    from gnomon.api.recipes import run as run
    from gnomon.api.training import TrainedModel as TrainedModel
    from gnomon.api.training import evaluate as evaluate
    from gnomon.api.training import train as train
    from gnomon.core.errors import GnomonError as GnomonError

_HOME = {
    "GnomonError": "gnomon.core.errors",
    "TrainedModel": "gnomon.api.training",
    "chat": "gnomon.api.inference",
    "check": "gnomon.api.recipes",
    "compare": "gnomon.api.recipes",
    "evaluate": "gnomon.api.training",
    "feedback_agreement": "gnomon.api.feedback",
    "feedback_set_annotator": "gnomon.api.feedback",
    "feedback_export": "gnomon.api.feedback",
    "feedback_generate": "gnomon.api.feedback_automation",
    "feedback_gold": "gnomon.api.feedback",
    "feedback_import": "gnomon.api.feedback",
    "feedback_import_ratings": "gnomon.api.feedback",
    "feedback_init": "gnomon.api.feedback",
    "feedback_auto_annotate": "gnomon.api.feedback_automation",
    "feedback_invite": "gnomon.api.feedback",
    "feedback_select_prompts": "gnomon.api.feedback",
    "feedback_reorder": "gnomon.api.feedback_automation",
    "feedback_serve": "gnomon.api.feedback_server",
    "feedback_status": "gnomon.api.feedback",
    "inspect": "gnomon.api.inference",
    "load_policy": "gnomon.api.inference",
    "load_recipe": "gnomon.api.recipes",
    "load_reward_model": "gnomon.api.inference",
    "plan": "gnomon.api.recipes",
    "report": "gnomon.api.recipes",
    "run": "gnomon.api.recipes",
    "sample": "gnomon.api.inference",
    "score": "gnomon.api.inference",
    "train": "gnomon.api.training",
}
__all__ = [
    "GnomonError",
    "TrainedModel",
    "__version__",
    "chat",
    "check",
    "compare",
    "evaluate",
    "feedback_agreement",
    "feedback_auto_annotate",
    "feedback_export",
    "feedback_generate",
    "feedback_gold",
    "feedback_import",
    "feedback_import_ratings",
    "feedback_init",
    "feedback_invite",
    "feedback_reorder",
    "feedback_select_prompts",
    "feedback_serve",
    "feedback_set_annotator",
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
    """Import a public name at first use; its functions raise `GnomonError` for mistakes of the user."""
    if name not in _HOME:
        raise AttributeError(f"module 'gnomon' has no attribute '{name}'")
    value = getattr(import_module(_HOME[name]), name)
    if isfunction(value):
        from gnomon.core.boundary import input_errors

        value = input_errors()(value)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """The public names, including those not imported yet."""
    return sorted({*globals(), *__all__})
