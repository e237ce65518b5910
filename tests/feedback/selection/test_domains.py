"""Domains of prompts by clusters of their words and of embeddings."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray
from tiny import prompts_of

from gnomon.core.errors import ConfigError
from gnomon.feedback.selection.domains import best_count, cluster_domains, terms_of

COOKING = ("Bake bread with yeast", "Boil rice and bake bread", "Bread with rice and yeast")
LAW = ("Sue the landlord in court", "The court and the landlord", "A landlord must sue in court")


def test_prompts_of_one_subject_get_one_domain() -> None:
    domains = cluster_domains(prompts_of(*COOKING, *LAW), 2)
    cooking, law = {domains[f"p{n}"] for n in range(3)}, {domains[f"p{n}"] for n in range(3, 6)}
    assert (len(cooking), len(law)) == (1, 1)
    assert cooking != law
    assert "bread" in cooking.pop()
    assert "court" in law.pop()


def test_chinese_prompts_are_clustered_by_pairs_of_characters() -> None:
    texts = ("红烧肉怎么做？", "红烧肉要放糖吗？", "合同纠纷怎么起诉？", "合同纠纷要律师吗？")
    domains = cluster_domains(prompts_of(*texts), 2)
    assert domains["p0"] == domains["p1"] != domains["p2"] == domains["p3"]
    assert "合同" in domains["p2"] or "纠纷" in domains["p2"]


def test_the_same_seed_gives_the_same_domains() -> None:
    prompts = prompts_of(*COOKING, *LAW)
    assert cluster_domains(prompts, 3, seed=7) == cluster_domains(prompts, 3, seed=7)


def test_terms_of_any_script() -> None:
    assert terms_of("A Python3 café, 你好吗 ok") == ["python", "café", "你好", "好吗", "ok"]
    assert terms_of("做") == ["做"]
    assert terms_of("12 + 7 = ?") == []


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (("Hi there", "Hi there"), "1 different prompt does not make 2 clusters; ask for fewer"),
        (("1?", "2?"), "have no words"),
    ],
)
def test_prompts_that_cannot_be_clustered_are_refused(texts: tuple[str, ...], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        cluster_domains(prompts_of(*texts), 2)


@pytest.mark.parametrize("texts", [("Hi there",), ("Hi there", "Hi there")], ids=["one", "equal ones"])
def test_a_single_prompt_is_refused_without_a_number_that_nobody_gave(texts: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError) as refusal:
        cluster_domains(prompts_of(*texts))
    assert str(refusal.value) == "clusters need at least 2 different prompts, and there is 1; add others."


class BySubject:
    """Embeds a text as the axis of its subject, with a small part of its own; it reads ASCII texts only."""

    def __init__(self, subjects: Sequence[str], *, reads: bool = False):
        self.subjects, self.reads = subjects, reads
        self.calls: list[list[str]] = []

    def __call__(self, texts: Sequence[str], /) -> NDArray[np.float32]:
        self.calls.append(list(texts))
        rows = np.zeros((len(texts), len(self.subjects) + 1), np.float32)
        for row, text in zip(rows, texts, strict=True):
            row[:-1] = [float(subject in text) for subject in self.subjects]
            row[-1] = len(text) / 1000
        return rows

    def unknown_shares(self, texts: Sequence[str]) -> NDArray[np.float64]:
        return np.array([0.0 if self.reads or text.isascii() else 0.8 for text in texts])


MEANINGS = (
    "How do I knead dough?",
    "Why is my dough flat?",
    "What is a visa?",
    "Who needs a visa?",
    "Which visa?",
)


def test_clusters_of_meaning_are_named_by_their_words() -> None:
    """Four of the five share no word but `is`, `visa` and `dough`."""
    domains = cluster_domains(prompts_of(*MEANINGS), 2, embedder=BySubject(["dough", "visa"]))
    assert domains["p0"] == domains["p1"] != domains["p2"] == domains["p3"] == domains["p4"]
    assert (domains["p0"].split()[0], domains["p2"].split()[0]) == ("dough", "visa"), "nearest to the cluster"


@pytest.mark.parametrize(("subjects", "each"), [(2, 6), (3, 8), (4, 12)])
def test_the_silhouette_chooses_the_number_of_clusters(subjects: int, each: int) -> None:
    """Points around as many axes as there are subjects; √(12/2) = 2.4, √(24/2) = 3.5, √(48/2) = 4.9."""
    noise = np.random.default_rng(0).normal(scale=0.05, size=(subjects * each, subjects))
    points = np.repeat(np.eye(subjects), each, axis=0) + noise
    assert best_count(points) == subjects
    names = [f"subject{n} {noise_word(n, m)}" for n in range(subjects) for m in range(each)]
    embedder = BySubject([f"subject{n}" for n in range(subjects)])
    domains = cluster_domains(prompts_of(*names), embedder=embedder)
    assert len(set(domains.values())) == subjects
    assert cluster_domains(prompts_of(*names), embedder=embedder, seed=3).keys() == domains.keys()


def noise_word(*parts: int) -> str:
    """A word of letters, of its own for each pair of numbers."""
    return "".join("abcdefghij"[int(digit)] for digit in f"{parts[0]:02}{parts[1]:02}") * (1 + parts[1] % 3)


def test_too_few_different_rows_have_no_silhouette() -> None:
    assert best_count(np.ones((9, 2))) == 1
    assert best_count(np.array([[0.0, 1.0], [1.0, 0.0]])) == 1


def test_a_large_bank_is_clustered_by_a_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gnomon.feedback.selection.domains.SAMPLE", 40)
    points = np.repeat(np.eye(3), 100, axis=0) + np.random.default_rng(1).normal(scale=0.05, size=(300, 3))
    assert best_count(points) == 3


COOKING_ZH = ("红烧肉怎么做？", "红烧肉要放糖吗？", "红烧肉炖多久？")
LAW_ZH = ("合同纠纷怎么起诉？", "合同纠纷要律师吗？", "合同纠纷谁来判？")


def test_prompts_that_the_model_cannot_read_are_clustered_by_words_apart() -> None:
    """Four clusters of five English and six Chinese prompts: two each; the model gets the English ones alone."""
    embedder = BySubject(["dough", "visa"])
    domains = cluster_domains(prompts_of(*MEANINGS, *COOKING_ZH, *LAW_ZH), 4, embedder=embedder)
    assert embedder.calls[0] == list(MEANINGS)
    assert all(text.isascii() for call in embedder.calls for text in call)
    groups = [{domains[f"p{n}"] for n in part} for part in (range(2), range(2, 5), range(5, 8), range(8, 11))]
    assert [len(group) for group in groups] == [1, 1, 1, 1]
    assert len(set.union(*groups)) == 4
    assert "红烧" in groups[2].pop()
    assert "合同" in groups[3].pop()


def test_a_model_that_reads_all_languages_clusters_them_together() -> None:
    embedder = BySubject(["dough", "visa", "红烧肉", "合同"], reads=True)
    embedder.subjects = ["dough|红烧肉", "visa|合同"]
    texts = [text.replace("dough", "dough|红烧肉").replace("visa", "visa|合同") for text in MEANINGS]
    texts += ["dough|红烧肉怎么做？", "visa|合同怎么起诉？"]
    domains = cluster_domains(prompts_of(*texts), 2, embedder=embedder)
    assert domains["p0"] == domains["p5"] != domains["p2"] == domains["p6"]


def test_the_clusters_are_shared_in_proportion() -> None:
    """One unreadable prompt gets one cluster, whose text has no words; the others get the rest."""
    domains = cluster_domains(prompts_of(*MEANINGS, "😀"), 3, embedder=BySubject(["dough", "visa"]))
    assert [list(domains.values()).count(name) for name in dict.fromkeys(domains.values())] == [2, 3, 1]
    assert domains["p5"] == "cluster 3"


def test_embeddings_of_texts_without_words_are_named_by_number() -> None:
    domains = cluster_domains(prompts_of("1+1", "1+2", "2*7", "2*8"), 2, embedder=BySubject(["+", "*"]))
    assert set(domains.values()) == {"cluster 1", "cluster 2"}
    assert domains["p0"] == domains["p1"] != domains["p2"]


def test_equal_features_do_not_make_more_clusters() -> None:
    """Three texts of one word each are one point."""
    with pytest.raises(ConfigError, match="1 prompt with different words does not make 2 clusters"):
        cluster_domains(prompts_of("Hello 1", "Hello 2", "Hello 3"), 2)
