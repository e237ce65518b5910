"""Domains of prompts by clusters: of their words (TF-IDF), or of their sentence embeddings, with k-means.

Words are runs of letters; runs of Chinese, Japanese and other scripts without spaces are split into pairs of
characters, so that the clusters of any language have terms. Clusters of embeddings are named by words too.
Prompts that an embedding model cannot read, such as Chinese ones for an English model, are clustered by their
words, apart from the others.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from gnomon.core.errors import ConfigError
from gnomon.core.types import Prompt
from gnomon.data.reading.counting import counted, verb
from gnomon.feedback.selection.prompts import apportion

TERMS = 3  # terms in the name of a cluster
CANDIDATES = 100  # terms of which an embedding model chooses those
MOSTLY = 0.6  # share of the texts with a term that are in a cluster, above which the term is typical of it
STARTS = 10  # k-means runs, of which the best is kept
MOST_CLUSTERS = 30  # that are tried where no number is given, and at most √(N/2) for N prompts
SAMPLE = 2000  # prompts by which the number of clusters is chosen
UNREADABLE = 0.2  # share of a text's tokens that a model does not know, above which it cannot read the text
LETTERS = re.compile(r"[^\W\d_]+")
# Scripts without spaces between words: Thai to Myanmar, Khmer, Japanese kana, Chinese characters.
UNSPACED = re.compile("([\u0e00-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\U00020000-\U0003ffff]+)")


class SentenceEmbedder(Protocol):
    """Embeds texts as vectors; texts of similar meaning have similar ones."""

    def __call__(self, texts: Sequence[str], /) -> NDArray[np.float32]:
        """Embed N texts as unit vectors, `[N, dimension]`."""

    def unknown_shares(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """Return the share of each text's tokens that the model does not know, `[N]`."""


def cluster_domains(
    prompts: Sequence[Prompt],
    clusters: int | None = None,
    *,
    embedder: SentenceEmbedder | None = None,
    seed: int = 0,
) -> dict[str, str]:
    """Return a domain for each prompt, by its id: the most characteristic terms of its cluster.

    Args:
        prompts: prompts to cluster, by the text of their messages.
        clusters: number of clusters; `None`: the one with the largest silhouette.
        embedder: embeds the prompts; `None`: they are clustered by their words.
        seed: seed of the clusters' first centers.

    Raises:
        ConfigError: there are fewer different prompts than clusters, or the prompts have no words.
    """
    texts = ["\n".join(message.content for message in prompt.messages) for prompt in prompts]
    different = len(set(texts))
    if clusters is None and different < 2:
        raise ConfigError(
            f"clusters need at least 2 different prompts, and there {verb(different, 'are')} {different}; "
            "add others."
        )
    if clusters is not None and different < clusters:
        raise ConfigError(
            f"{counted(different, 'different prompts')} {verb(different, 'do')} not make {clusters} clusters; "
            "ask for fewer."
        )
    labels = np.full(len(texts), -1)
    directions: dict[int, NDArray[np.float64]] = {}
    for members, count, readable in _groups(texts, clusters, embedder):
        own = [texts[index] for index in members]
        if embedder is not None and readable:
            features = embedder(own).astype(np.float64)
        elif embedder is not None and not any(
            map(terms_of, own)
        ):  # neither the model nor words can tell them apart
            features, count = np.zeros((len(own), 1)), 1
        else:
            features = _word_features(own)[0]
        first = labels.max() + 1
        labels[members] = first + _cluster(features, count, seed)
        if embedder is not None and readable:
            for cluster in range(first, labels.max() + 1):
                directions[cluster] = features[labels[members] == cluster].mean(axis=0) - features.mean(axis=0)
    names = _names(texts, labels, embedder, directions)
    return {prompt.id: names[label] for prompt, label in zip(prompts, labels, strict=True)}


def best_count(features: Any, seed: int = 0) -> int:
    """Return the number of clusters with the largest silhouette (Rousseeuw 1987).

    At most `MOST_CLUSTERS` and √(N/2) are tried: of short texts the silhouette grows with ever smaller clusters.

    Args:
        features: features of the prompts, `[N, dimension]`; of many, a sample decides.
        seed: seed of the clusters' first centers, and of the sample.

    Returns:
        1 if there are fewer than three different rows, which have no silhouette.
    """
    from sklearn.cluster import KMeans
    from sklearn.metrics import silhouette_score

    most = min(MOST_CLUSTERS, max(2, round(math.sqrt(features.shape[0] / 2))))
    if features.shape[0] > SAMPLE:
        features = features[np.sort(np.random.default_rng(seed).permutation(features.shape[0])[:SAMPLE])]
    most = min(most, _different_rows(features), features.shape[0] - 1)
    scores = {}
    for count in range(2, most + 1):
        labels = KMeans(count, n_init=STARTS, random_state=seed).fit_predict(features)
        scores[count] = float(silhouette_score(features, labels))
    return max(scores, key=lambda count: scores[count]) if scores else 1


def terms_of(text: str) -> list[str]:
    """Return the terms of a text: words of two letters or more; pairs of characters in scripts without spaces."""
    terms = []
    for run in LETTERS.findall(unicodedata.normalize("NFC", text).casefold()):
        for part in UNSPACED.split(run):
            if UNSPACED.fullmatch(part):
                terms += [part[i : i + 2] for i in range(len(part) - 1)] or [part]
            elif len(part) > 1:
                terms.append(part)
    return terms


def _groups(
    texts: Sequence[str], clusters: int | None, embedder: SentenceEmbedder | None
) -> list[tuple[NDArray[np.intp], int | None, bool]]:
    """Split the texts into those that the model can read and the others.

    Returns:
        For each group the indices of its texts, its number of clusters in proportion to them, and whether the
        model can read them.
    """
    everything = np.arange(len(texts))
    if embedder is None:
        return [(everything, clusters, False)]
    is_readable = embedder.unknown_shares(texts) <= UNREADABLE
    groups = [(everything[is_readable], True), (everything[~is_readable], False)]
    groups = [(members, readable) for members, readable in groups if len(members)]
    if len(groups) == 1 or clusters is None:
        return [(members, clusters, readable) for members, readable in groups]
    different = [len({texts[index] for index in members}) for members, _ in groups]
    quota = apportion(clusters, {"first": len(groups[0][0]), "second": len(groups[1][0])})["first"]
    first = min(max(1, quota, clusters - different[1]), clusters - 1, different[0])
    counts = (first, clusters - first)
    return [(members, count, readable) for (members, readable), count in zip(groups, counts, strict=True)]


def _word_features(texts: Sequence[str]) -> tuple[Any, Any]:
    """The TF-IDF features of texts, `[N, terms]` and sparse, and the terms.

    Raises:
        ConfigError: the texts have no words.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectorizer = TfidfVectorizer(analyzer=terms_of, sublinear_tf=True, max_df=0.5 if len(texts) >= 20 else 1.0)
    try:
        features = vectorizer.fit_transform(texts)
    except ValueError:
        raise ConfigError("the prompts have no words to cluster; import their domains as a column.") from None
    return features, vectorizer.get_feature_names_out()


def _cluster(features: Any, count: int | None, seed: int) -> NDArray[np.intp]:
    """The cluster of each row, from 0."""
    from sklearn.cluster import KMeans

    count = best_count(features, seed) if count is None else count
    if count == 1:
        return np.zeros(features.shape[0], dtype=np.intp)
    if (different := _different_rows(features)) < count:
        raise ConfigError(
            f"{counted(different, 'prompts')} with different words {verb(different, 'do')} not make {count} "
            "clusters; ask for fewer."
        )
    labels: NDArray[np.intp] = KMeans(count, n_init=STARTS, random_state=seed).fit_predict(features)
    return labels


def _different_rows(features: Any) -> int:
    """The number of different rows, up to rounding."""
    if isinstance(features, np.ndarray):
        return len(np.unique(np.round(features, 6), axis=0))
    return len({(row.indices.tobytes(), np.round(row.data, 6).tobytes()) for row in features})


def _names(
    texts: Sequence[str],
    labels: NDArray[np.intp],
    embedder: SentenceEmbedder | None,
    directions: Mapping[int, NDArray[np.float64]],
) -> list[str]:
    """Name each cluster by its most characteristic terms, or by its number if it has none.

    Those are the terms whose mean weight is most above that of all texts, of those that occur mostly in the
    cluster: words such as `how` and `the` occur everywhere, and a cluster may have them more often by chance. In
    a cluster of embeddings they are the terms whose own embedding is furthest in the direction of the cluster.

    Args:
        texts: the texts.
        labels: cluster of each text.
        embedder: embeds terms.
        directions: for each cluster of embeddings, its mean embedding minus that of all its group's texts.
    """
    names: list[str] = []
    try:
        features, terms = _word_features(texts)
    except ConfigError:  # embeddings do not need words
        return [f"cluster {cluster + 1}" for cluster in range(labels.max() + 1)]
    overall = np.asarray(features.mean(axis=0)).ravel()  # [terms]
    occurrences = np.asarray((features > 0).sum(axis=0)).ravel()  # [terms], texts with the term
    for cluster in range(labels.max() + 1):
        members = features[labels == cluster]
        own = np.asarray(members.mean(axis=0)).ravel()  # [terms]
        is_typical = np.asarray((members > 0).sum(axis=0)).ravel() > MOSTLY * occurrences
        order = [index for index in np.lexsort((overall - own, ~is_typical)) if own[index] > 0][:CANDIDATES]
        if embedder is not None and cluster in directions and order:
            fit = embedder([str(terms[index]) for index in order]) @ directions[cluster]
            order = [order[rank] for rank in np.argsort(-fit, kind="stable")]
        name = " ".join(str(terms[index]) for index in order[:TERMS]) or "cluster"
        names.append(name if order and name not in names else f"{name} {cluster + 1}")
    return names
