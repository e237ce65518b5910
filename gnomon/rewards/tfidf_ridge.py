"""The classical judge: TF-IDF of words and of letters, and a ridge regression on people's mean ratings.

It trains in seconds, so it is fitted when it is needed instead of being stored. It is the baseline of learned
reward models; and, fitted on texts that the reward model never saw, an independent second judge.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import Ridge
from sklearn.model_selection import KFold, cross_val_predict
from sklearn.pipeline import FeatureUnion, make_pipeline

from gnomon.core.errors import DataError

ALPHAS = (0.125, 0.25, 0.5, 1.0, 2.0)
FOLDS = 3


class TfidfRidge:
    """A fitted judge; make one with `TfidfRidge.fit`.

    Attributes:
        alpha: the strength of the ridge penalty that cross-validation chose.
    """

    name = "tfidf-ridge"

    def __init__(self, model: Any, alpha: float) -> None:
        self._model = model
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
            DataError: too few texts to cross-validate, lengths that differ, texts without any word, or
                ratings that are not finite.
        """
        if len(texts) != len(means):
            raise DataError(f"{len(texts)} texts came with {len(means)} mean ratings; each needs one.")
        if len(texts) < 2 * FOLDS:
            raise DataError(f"a TF-IDF ridge needs at least {2 * FOLDS} rated texts, not {len(texts)}.")
        wanted = np.asarray(means, dtype=np.float64)
        try:
            alpha = _best_alpha(texts, wanted)
            model = _pipeline(alpha).fit(texts, wanted)
        except ValueError as error:  # scikit-learn found an empty vocabulary, or ratings that are no numbers
            raise DataError(f"there is nothing to learn from in these texts and ratings ({error}).") from error
        return cls(model, alpha)

    def score_texts(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """Predicted mean ratings, on the raters' scale, [N]."""
        if not texts:
            return np.zeros(0)
        scores: NDArray[np.float64] = self._model.predict(texts)
        return scores


def _pipeline(alpha: float | Sequence[float]) -> Any:
    """Texts → a sparse matrix [N, features], each row of unit length in either half → ratings.

    Args:
        alpha: strength of the ridge penalty, or one strength for each column of ratings.
    """
    features = FeatureUnion(
        [
            ("words", TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)),
            ("letters", TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 5), sublinear_tf=True)),
        ]
    )
    return make_pipeline(features, Ridge(alpha=alpha))


def _best_alpha(texts: Sequence[str], means: NDArray[np.float64]) -> float:
    """The penalty with the smallest squared error on texts that were held out.

    The features are fitted in every fold. With one vocabulary from all texts the search would favor too small a
    penalty: n-grams of held-out texts only, which a new text does not have, would dilute the others. A fold
    learns one target for each penalty, so that its texts are read once.
    """
    targets = np.tile(means[:, None], len(ALPHAS))  # [N, A]
    folds = KFold(FOLDS, shuffle=True, random_state=0)
    predictions = cross_val_predict(_pipeline(ALPHAS), texts, targets, cv=folds)  # [N, A]
    return ALPHAS[int(np.square(predictions - targets).sum(axis=0).argmin())]
