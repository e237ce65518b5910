"""The classical judge: TF-IDF of words and of letters, and a ridge regression on people's mean ratings.

It takes seconds to train, so it is fitted again when it is needed instead of being stored. A learned reward
model has to beat it; and, fitted on texts that the reward model never saw, it is an independent second judge.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.pipeline import FeatureUnion

from gnomon.core.errors import DataError

ALPHAS = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0)
FOLDS = 4


class TfidfRidge:
    """A fitted judge; make one with `TfidfRidge.fit`.

    Attributes:
        alpha: the strength of the ridge penalty that cross-validation chose.
    """

    name = "tfidf-ridge"

    def __init__(self, features: Any, ridge: Any, alpha: float) -> None:
        self._features = features
        self._ridge = ridge
        self.alpha = alpha

    @classmethod
    def fit(cls, texts: Sequence[str], means: Sequence[float] | NDArray[np.float64]) -> TfidfRidge:
        """Learn to predict mean ratings.

        Words come as 1- and 2-grams; letters as 3- to 5-grams within words, which catch endings and
        misspellings and, on the film reviews, do a little better than 3- to 5-grams across words.

        Args:
            texts: what people rated.
            means: the mean rating of each, [N].

        Raises:
            DataError: too few texts to cross-validate, lengths that differ, or texts without any word.
        """
        if len(texts) != len(means):
            raise DataError(f"{len(texts)} texts came with {len(means)} mean ratings; each needs one.")
        if len(texts) < 2 * FOLDS:
            raise DataError(f"a TF-IDF ridge needs at least {2 * FOLDS} rated texts, not {len(texts)}.")
        features = FeatureUnion(
            [
                ("words", TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)),
                ("letters", TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 5), sublinear_tf=True)),
            ]
        )
        try:
            matrix = features.fit_transform(texts)  # [N, features], sparse
        except ValueError as error:
            raise DataError(f"the texts have no words to learn from ({error}).") from error
        # The vocabulary and its weights come from all texts and are shared by the folds: they know no
        # ratings, and computing them once makes the search several times faster.
        folds = KFold(FOLDS, shuffle=True, random_state=0)
        search = GridSearchCV(Ridge(), {"alpha": ALPHAS}, scoring="neg_mean_squared_error", cv=folds)
        search.fit(matrix, np.asarray(means, dtype=np.float64))
        return cls(features, search.best_estimator_, float(search.best_params_["alpha"]))

    def score_texts(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """Predicted mean ratings, on the raters' scale, [N]."""
        if not texts:
            return np.zeros(0)
        scores: NDArray[np.float64] = self._ridge.predict(self._features.transform(texts))
        return scores
