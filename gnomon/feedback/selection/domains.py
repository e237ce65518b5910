"""Domains of prompts by clusters of their words: TF-IDF with k-means.

Words are runs of letters; runs of Chinese, Japanese and other scripts without spaces are split into pairs of
characters, so that the clusters of any language have terms.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import Any

import numpy as np

from gnomon.core.errors import ConfigError
from gnomon.core.types import Prompt

TERMS = 3  # terms in the name of a cluster
STARTS = 10  # k-means runs, of which the best is kept
LETTERS = re.compile(r"[^\W\d_]+")
# Scripts without spaces between words: Thai to Myanmar, Khmer, Japanese kana, Chinese characters.
UNSPACED = re.compile("([\u0e00-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\U00020000-\U0003ffff]+)")


def cluster_domains(prompts: Sequence[Prompt], clusters: int, *, seed: int = 0) -> dict[str, str]:
    """Return a domain for each prompt, by its id: the most characteristic terms of its cluster.

    Args:
        prompts: prompts to cluster, by the text of their messages.
        clusters: number of clusters.
        seed: seed of the clusters' first centers.

    Raises:
        ConfigError: there are fewer different prompts than clusters, or the prompts have no words.
    """
    from sklearn.cluster import KMeans
    from sklearn.feature_extraction.text import TfidfVectorizer

    texts = ["\n".join(message.content for message in prompt.messages) for prompt in prompts]
    if len(set(texts)) < clusters:
        raise ConfigError(f"{len(set(texts))} different prompts do not make {clusters} clusters; ask for fewer.")
    vectorizer = TfidfVectorizer(analyzer=terms_of, sublinear_tf=True, max_df=0.5 if len(texts) >= 20 else 1.0)
    try:
        features = vectorizer.fit_transform(texts)  # [prompts, terms], sparse
    except ValueError:
        raise ConfigError("the prompts have no words to cluster; import their domains as a column.") from None
    labels = KMeans(clusters, n_init=STARTS, random_state=seed).fit_predict(features)
    names = _names(features, labels, vectorizer.get_feature_names_out(), clusters)
    return {prompt.id: names[label] for prompt, label in zip(prompts, labels, strict=True)}


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


def _names(features: Any, labels: Any, terms: Any, clusters: int) -> list[str]:
    """Name each cluster by the terms whose mean weight is most above that of all prompts."""
    overall = np.asarray(features.mean(axis=0)).ravel()  # [terms]
    names: list[str] = []
    for cluster in range(clusters):
        own = np.asarray(features[labels == cluster].mean(axis=0)).ravel()  # [terms]
        best = np.argsort(overall - own, kind="stable")[:TERMS]
        name = " ".join(str(terms[index]) for index in best)
        names.append(name if name not in names else f"{name} {cluster + 1}")
    return names
