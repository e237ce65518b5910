"""The two text judges without a neural network."""

from __future__ import annotations

import time

import numpy as np
import pytest

from gnomon.core.errors import DataError
from gnomon.core.types import Completion, Message, Prompt
from gnomon.data.film_reviews import load_film_reviews
from gnomon.data.splits import split_items
from gnomon.rewards.named.vader import VaderJudge
from gnomon.rewards.text_reward import TextJudge, TextReward
from gnomon.rewards.tfidf_ridge import ALPHAS, TfidfRidge

GOOD = ["a wonderful film", "truly wonderful acting", "wonderful, moving and warm", "a warm story"]
BAD = ["an awful film", "truly awful acting", "awful, dull and cold", "a dull story"]


def fitted() -> TfidfRidge:
    return TfidfRidge.fit(GOOD + BAD, [3.0, 2.5, 3.0, 2.0, -3.0, -2.5, -3.0, -2.0])


@pytest.mark.parametrize("judge", [VaderJudge(), fitted()])
def test_every_judge_prefers_praise(judge: TextJudge) -> None:
    scores = judge.score_texts(["wonderful and warm", "the", "awful and dull"])
    assert scores.dtype == np.float64
    assert scores.shape == (3,)
    assert scores[0] > scores[1] > scores[2]
    assert judge.score_texts([]).shape == (0,)
    assert judge.name


def test_the_lexicon_matches_published_values() -> None:
    """The first two examples of VADER's own documentation."""
    texts = ["VADER is smart, handsome, and funny.", "VADER is smart, handsome, and funny!"]
    assert VaderJudge().score_texts(texts) == pytest.approx([0.8316, 0.8439])


def test_ridge_predicts_ratings_from_character_n_grams() -> None:
    judge = fitted()
    assert judge.alpha in ALPHAS
    near, far = judge.score_texts(["wonderfully", "zzz"])  # no word of either is known
    assert near > far + 0.3
    assert far == pytest.approx(0.0, abs=0.5)  # the mean of the training ratings


def test_ridge_is_reproducible() -> None:
    assert (fitted().score_texts(GOOD) == fitted().score_texts(GOOD)).all()


def test_ridge_refuses_invalid_training_data() -> None:
    with pytest.raises(DataError, match="3 texts came with 2 mean ratings"):
        TfidfRidge.fit(["a", "b", "c"], [1.0, 2.0])
    with pytest.raises(DataError, match="at least 6 rated texts, not 2"):
        TfidfRidge.fit(["some", "words"], [1.0, 2.0])
    with pytest.raises(DataError, match="nothing to learn from"):
        TfidfRidge.fit(["!"] * 10, [1.0] * 10)
    with pytest.raises(DataError, match="nothing to learn from"):
        TfidfRidge.fit(GOOD + BAD, [float("nan")] * 8)


@pytest.mark.long
def test_judges_of_film_reviews() -> None:
    """Half of the reviews teach the ridge, the other half tests it: r of about 0.70, the lexicon's is 0.43."""
    items, _ = load_film_reviews()
    learn = split_items(items, {}, judge_holdout=0.5, seed=0)["judge_holdout"]
    seen = {item.id for item in learn}
    test = [item for item in items if item.id not in seen]
    texts, means = [item.text for item in test], [item.mean for item in test]
    start = time.process_time()
    ridge = TfidfRidge.fit([item.text for item in learn], [item.mean for item in learn])
    assert time.process_time() - start < 20
    # The best for the test half is 0.5; a search that leaks the vocabulary ends up at the smallest.
    assert ridge.alpha in {0.25, 0.5, 1.0}
    assert 0.68 < np.corrcoef(ridge.score_texts(texts), means)[0, 1] < 0.73
    assert np.corrcoef(VaderJudge().score_texts(texts), means)[0, 1] == pytest.approx(0.43, abs=0.03)


def test_a_judge_of_texts_as_a_reward_reads_the_completion_only() -> None:
    prompts = [Prompt(name, (Message("user", "An awful, dull story?"),)) for name in "ab"]
    scores = TextReward(VaderJudge()).score(prompts, [Completion("0", "wonderful"), Completion("1", "awful")])
    assert scores.values.tolist() == pytest.approx(VaderJudge().score_texts(["wonderful", "awful"]).tolist())
    assert scores.values[0] > 0 > scores.values[1]
    assert list(scores.parts) == ["vader"]
