"""Small cases whose figures can be derived by hand, and rewards for them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from gnomon.core.types import Completion, Message, Prompt
from gnomon.evaluation.examination.cases import Cases, PairCase
from gnomon.evaluation.examination.examine import examine
from gnomon.evaluation.examination.results import RewardExamination
from gnomon.evaluation.examination.settings import ExaminationSettings
from gnomon.rewards.python_reward import make_function_reward

Score = Callable[[str, str], float | None]
PLAIN = ExaminationSettings(perturbed=0)


def cases_of(*pairs: tuple[str, str, str], categories: Sequence[str] = ()) -> Cases:
    """Cases of (prompt, preferred text, other text)."""
    cases = Cases(files=["pairs.jsonl"], category="category" if categories else "")
    for number, (question, first, second) in enumerate(pairs):
        prompt = Prompt(question, (Message("user", question),), where=f"pairs.jsonl, line {number + 1}")
        cluster = cases.cluster(question)
        texts = [cases.texts.add(prompt, Completion(text, text)) for text in (first, second)]
        category = categories[number] if categories else ""
        cases.pairs.append(PairCase(texts[0], texts[1], 1.0, True, (cluster, cluster), category))
    return cases


def examined(cases: Cases, *scores: Score, settings: ExaminationSettings = PLAIN) -> RewardExamination:
    """Examine functions, called `reward 0`, `reward 1` and so on."""
    candidates = [
        (f"reward {n}", lambda score=score: make_function_reward(score, "reward"))
        for n, score in enumerate(scores)
    ]
    return examine(cases, candidates, settings)


def number_in(prompt: str, text: str) -> float:
    """The number at the end of a text, after a colon."""
    return float(text.rpartition(":")[2])
