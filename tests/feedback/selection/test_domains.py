"""Domains of prompts by clusters of their words."""

from __future__ import annotations

import pytest
from tiny import prompts_of

from gnomon.core.errors import ConfigError
from gnomon.feedback.selection.domains import cluster_domains, terms_of

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
    ("texts", "message"), [(("Hi there", "Hi there"), "do not make 2 clusters"), (("1?", "2?"), "have no words")]
)
def test_prompts_that_cannot_be_clustered_are_refused(texts: tuple[str, ...], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        cluster_domains(prompts_of(*texts), 2)
