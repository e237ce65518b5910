"""Save a reward model as a decision model: a folder that transformers' `pipeline("decision")` loads by itself."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from gnomon.core.errors import ModelError
from gnomon.core.storage.files import sync_entry, sync_folder
from gnomon.core.storage.leftovers import temporary_folder
from gnomon.data.encoding import context_length
from gnomon.data.templates.chat_template import added_prefix, turn_end
from gnomon.models.encoders.scorer import EncoderScorer
from gnomon.models.library_patches import quiet_transformers
from gnomon.models.roles import RewardModel

TASK, OWN_TASK = "decision", "reward-decision"
PORTABLE = Path(__file__).parent / "portable"
FILES = ("decision_pipeline.py", "decision_questions.py")
IMPL = "decision_pipeline.RewardDecisionPipeline"
CARD = """# {name}: a decision model

A reward model that chooses the preferred one of several texts. It needs transformers alone; the two Python files
here are the pipeline, and `trust_remote_code=True` runs them.

```python
from transformers import pipeline

decide = pipeline("{task}", model="{name}", trust_remote_code=True)
decide({{"prompt": "Name a film.", "choices": ["Alien.", "I cannot."]}})
question = {{"type": "noul", "instructions": "Is it about an order?"}}
decide({{"state": "Where is my parcel?", "questions": {{"order": question}}}})
```

Probabilities are {basis}.
"""


def export_decision(model: Any, folder: Path, name: str) -> str:
    """Write a decision model; returns the name of its task for `pipeline`.

    transformers loads a `decision` pipeline for some kinds of models with a class of its own, whatever the folder
    says; for these the task is `reward-decision`.

    Args:
        model: a reward model or an encoder.
        folder: to write; it must not exist.
        name: of the model, for messages and the card.

    Raises:
        ModelError: transformers alone cannot compute its scores, or the folder exists.
    """
    if folder.exists():
        raise ModelError(f"{folder} exists already; give the path of a new folder.")
    settings = decision_settings(model, name)
    network = model.network if isinstance(model, EncoderScorer) else model.plain_network()
    task = OWN_TASK if _loads_another_class(network.config) else TASK
    config = network.config
    config.decision = settings
    if settings["form"] == "conversation":
        config.whole_conversation = True
    entry = {"impl": IMPL, "pt": ["AutoModelForSequenceClassification"], "type": "text"}
    config.custom_pipelines = dict.fromkeys({task, OWN_TASK}, entry)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with temporary_folder(folder.parent) as work, quiet_transformers():
        network.save_pretrained(work / "model")
        model.tokenizer.save_pretrained(work / "model")
        for file in FILES:
            shutil.copyfile(PORTABLE / file, work / "model" / file)
        calibrated = getattr(config, "score_calibration", None) is not None
        basis = "calibrated on held-out pairs" if calibrated else "σ of score differences, not calibrated"
        (work / "model" / "README.md").write_text(CARD.format(name=folder.name, task=task, basis=basis), "utf-8")
        sync_folder(work / "model")
        (work / "model").rename(folder)
        sync_entry(folder.parent)
    return task


def decision_settings(model: Any, name: str) -> dict[str, Any]:
    """Return how the texts of a reward model are written, for the pipeline.

    Args:
        model: a reward model or an encoder.
        name: of the model, for messages.

    Raises:
        ModelError: transformers alone cannot compute its scores.
    """
    if isinstance(model, EncoderScorer):
        return {"form": "pair", "head": model.head, "context": model.context}
    if not isinstance(model, RewardModel) or type(model) is not RewardModel:
        raise ModelError(f"'{name}' is no single reward model; export one of its members.")
    if not model.is_plain or model.steps is not None:
        raise ModelError(
            f"reward model '{name}' has a head that transformers' AutoModelForSequenceClassification does not "
            "have, so no pipeline could load it; serve it with gnomon serve."
        )
    shared = {"head": 0, "context": context_length(model.network.config)}
    if model.whole_conversation:
        return {"form": "conversation", **shared}
    end = str(model.tokenizer.convert_ids_to_tokens(turn_end(model.tokenizer)))
    return {"form": "turn", "end": end, "prefix": added_prefix(model.tokenizer), **shared}


def _loads_another_class(config: Any) -> bool:
    """Return whether transformers' `decision` task would load such a model as a class of its own."""
    try:
        from transformers.models.auto.modeling_auto import MODEL_FOR_DECISION_MAPPING
    except ImportError:  # an older version, which has no such task
        return False
    return type(config) in MODEL_FOR_DECISION_MAPPING
