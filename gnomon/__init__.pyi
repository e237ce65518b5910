"""Public names, each with the module that defines it. `gnomon/__init__.py` imports them at first use."""

from .api.augmentation import (
    data_augment as data_augment,
)
from .api.data import (
    data_clean as data_clean,
    data_convert as data_convert,
    data_pairs as data_pairs,
    data_render as data_render,
    data_split as data_split,
    inspect as inspect,
)
from .api.feedback.automation import (
    feedback_auto_annotate as feedback_auto_annotate,
    feedback_generate as feedback_generate,
    feedback_reorder as feedback_reorder,
)
from .api.feedback.collection import (
    feedback_collect as feedback_collect,
)
from .api.feedback.crowd import (
    feedback_crowd_link as feedback_crowd_link,
    feedback_crowd_links as feedback_crowd_links,
    feedback_end_crowd_link as feedback_end_crowd_link,
    feedback_payments as feedback_payments,
)
from .api.feedback.profiles import (
    feedback_clear_qualification as feedback_clear_qualification,
    feedback_qualification as feedback_qualification,
    feedback_requirements as feedback_requirements,
    feedback_set_domains as feedback_set_domains,
    feedback_set_profile as feedback_set_profile,
)
from .api.feedback.projects import (
    feedback_agreement as feedback_agreement,
    feedback_export as feedback_export,
    feedback_gold as feedback_gold,
    feedback_import as feedback_import,
    feedback_import_judgements as feedback_import_judgements,
    feedback_import_ratings as feedback_import_ratings,
    feedback_init as feedback_init,
    feedback_invite as feedback_invite,
    feedback_select_prompts as feedback_select_prompts,
    feedback_set_annotator as feedback_set_annotator,
    feedback_status as feedback_status,
    feedback_written_counts as feedback_written_counts,
)
from .api.feedback.server import (
    feedback_serve as feedback_serve,
)
from .api.inference import (
    chat as chat,
    load_policy as load_policy,
    load_reward_model as load_reward_model,
    sample as sample,
    score as score,
)
from .api.recipes import (
    check as check,
    compare as compare,
    load_recipe as load_recipe,
    plan as plan,
    report as report,
    run as run,
)
from .api.reward_examination import (
    evaluate_reward as evaluate_reward,
)
from .api.score import (
    export_decision as export_decision,
    serve as serve,
)
from .api.training import (
    TrainedModel as TrainedModel,
    evaluate as evaluate,
    train as train,
)
from .core.errors import (
    GnomonError as GnomonError,
)

__version__: str
__all__: list[str]
