"""Preferences made of ratings, rankings, labels and preferences, by hand, and the command."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from project import Run, write_rows

from gnomon.core.errors import DataError
from gnomon.core.types import Completion, Demonstration, Label, Message, Preference, Prompt, Ranking, RatedText
from gnomon.data.pairs.build import balanced_in_length, make_pairs, share_longer_chosen
from gnomon.data.pairs.settings import PairSettings

ASK, OTHER = Prompt("1", (Message("user", "Q"),)), Prompt("2", (Message("user", "R"),))
A, B, C = (Completion(name, name) for name in "abc")


def prefer(better: str, worse: str, prompt: Prompt = ASK, weight: float = 1.0) -> Preference:
    return Preference(prompt, Completion(better, better), Completion(worse, worse), weight=weight)


def sides(preferences: list[Preference]) -> list[tuple[str, str]]:
    return [(one.chosen.text, one.rejected.text) for one in preferences]


def rated(text: str, *ratings: float, raters: tuple[str, ...] = (), prompt: Prompt | None = ASK) -> RatedText:
    return RatedText(text, text, ratings, prompt, raters)


def test_ratings_become_pairs_with_a_least_gap() -> None:
    """Means 4, 3, 3: with a gap of 1 a > b, by (2 + 0.5·2)/4 = 0.75, and a > c, by 3/4; b and c are too close."""
    texts = [rated("a", 3, 5), rated("b", 3, 3), rated("c", 2, 4)]
    result = make_pairs(texts, PairSettings(min_gap=1))
    assert sides(result.preferences) == [("a", "b"), ("a", "c")]
    assert [one.probability for one in result.preferences] == [0.75, 0.75]
    assert [one.margin for one in result.preferences] == [1.0, 1.0]
    assert (result.close, result.prompts, result.comparisons) == (1, 1, 2)


def test_margins_are_standardized_per_rater() -> None:
    """Ann rates 1, 3 (mean 2, deviation 1), Bob 6, 10 (mean 8, deviation 2): both give −1 and 1, a gap of 2."""
    texts = [rated("a", 3, 10, raters=("Ann", "Bob")), rated("b", 1, 6, raters=("Ann", "Bob"))]
    (pair,) = make_pairs(texts, PairSettings(standardize=True)).preferences
    assert pair.chosen.text == "a"
    assert pair.margin == pytest.approx(2.0)
    with pytest.raises(DataError, match="a rating has no rater"):
        make_pairs([rated("a", 3, 10)], PairSettings(standardize=True))
    constant = [rated("a", 3, raters=("Ann",)), rated("b", 3, raters=("Ann",))]
    assert make_pairs(constant, PairSettings(standardize=True)).preferences[0].probability == 0.5


def test_a_ranking_becomes_all_its_pairs() -> None:
    """Three completions of weight 3: three pairs of weight 2·3/3 each."""
    result = make_pairs([Ranking(ASK, (A, B, C), 3.0)], PairSettings())
    assert sides(result.preferences) == [("a", "b"), ("a", "c"), ("b", "c")]
    assert [one.weight for one in result.preferences] == [2.0, 2.0, 2.0]


def test_good_answers_are_preferred_to_bad_ones() -> None:
    """Two good and one bad answer: two pairs, whose weights add up to 3 − 1."""
    labels = [Label(ASK, A, True), Label(ASK, B, False), Label(ASK, C, True), Label(OTHER, A, True)]
    result = make_pairs(labels, PairSettings())
    assert sides(result.preferences) == [("a", "b"), ("c", "b")]
    assert [one.weight for one in result.preferences] == [1.0, 1.0]


def test_cycles_are_broken_and_reported() -> None:
    votes = [prefer("a", "b", weight=3), prefer("b", "c", weight=2), prefer("c", "a"), prefer("x", "y", OTHER)]
    result = make_pairs(votes, PairSettings())
    assert sides(result.preferences) == [("a", "b"), ("b", "c"), ("x", "y")]
    assert result.cycles == [{"where": "", "prompt": "Q", "better": "c", "worse": "a"}]


def test_votes_on_one_pair_are_merged_whatever_the_prompts_ids() -> None:
    """Two for a and one for b: probability 2/3, weight 3."""
    renamed = Prompt("9", ASK.messages)
    result = make_pairs([prefer("a", "b"), prefer("a", "b", renamed), prefer("b", "a")], PairSettings())
    (pair,) = result.preferences
    assert (pair.chosen.text, pair.weight) == ("a", 3.0)
    assert pair.probability == pytest.approx(2 / 3)


def test_ties_are_soft_or_dropped() -> None:
    votes = [prefer("a", "b"), prefer("b", "a"), prefer("a", "a")]
    soft = make_pairs(votes, PairSettings())
    assert ([one.probability for one in soft.preferences], soft.ties, soft.equal) == ([0.5], 0, 1)
    dropped = make_pairs(votes, PairSettings(ties="drop"))
    assert (dropped.preferences, dropped.ties) == ([], 1)


def test_chains_are_concluded_and_a_cap_keeps_the_votes() -> None:
    votes = [prefer("a", "b", weight=2), prefer("b", "c", weight=2)]
    result = make_pairs(votes, PairSettings(closure=True))
    assert sides(result.preferences) == [("a", "b"), ("b", "c"), ("a", "c")]
    assert (result.preferences[2].weight, result.concluded) == (1.0, 1)
    capped = make_pairs(votes, PairSettings(closure=True, max_per_prompt=2))
    assert (sides(capped.preferences), capped.capped) == ([("a", "b"), ("b", "c")], 1)


def test_lengths_are_balanced_at_each_ratio() -> None:
    """Of 30 pairs 24 have the longer side chosen: 6 of each direction remain, and the tie."""
    long, short = "x" * 10, "y"
    pairs = [prefer(f"{long}{n:02}", f"{short}{n:02}") for n in range(24)]
    pairs += [prefer(f"{short}{n:02}", f"{long}{n:02}") for n in range(24, 30)]
    tie = Preference(ASK, A, B, probability=0.5)
    balanced = balanced_in_length([*pairs, tie], seed=1)
    assert share_longer_chosen(pairs) == 0.8
    assert share_longer_chosen(balanced) == 0.5
    assert len(balanced) == 13
    assert balanced[-1] == tie
    assert balanced == balanced_in_length([*pairs, tie], seed=1)
    assert balanced != balanced_in_length([*pairs, tie], seed=2)
    result = make_pairs(pairs, PairSettings(balance_length=True))
    assert (result.unbalanced, result.longer_chosen) == (18, (0.8, 0.5))


def test_what_compares_nothing_is_refused() -> None:
    with pytest.raises(DataError, match="preferences, rankings"):
        make_pairs([Demonstration(ASK, A)], PairSettings())
    with pytest.raises(DataError, match="the text has no prompt"):
        make_pairs([rated("a", 1, prompt=None)], PairSettings())


def test_the_command_writes_pairs_and_counts(tmp_path: Path, gnomon: Run) -> None:
    file, out = tmp_path / "rankings.jsonl", tmp_path / "pairs.jsonl"
    write_rows(file, [{"prompt": "Q", "completions": ["a", "b"]}, {"prompt": "R", "completions": ["c", "c"]}])
    result = gnomon("data", "pairs", str(file), "--out", str(out), "--json")
    assert result.returncode == 0, result.stderr
    counts = json.loads(result.stdout)
    assert {key: counts[key] for key in ("preferences", "prompts", "equal", "cycles")} == {
        "preferences": 1, "prompts": 1, "equal": 1, "cycles": [],
    }  # fmt: skip
    (row,) = [json.loads(line) for line in out.read_text("utf-8").splitlines()]
    assert (row["chosen"]["text"], row["rejected"]["text"], row["weight"]) == ("a", "b", 1.0)
    again = gnomon("data", "pairs", str(file), "--out", str(out))
    assert (again.returncode, "exists; give another --out, or --overwrite." in again.stderr) == (2, True)
    wrong = gnomon("data", "pairs", str(file), "--out", str(tmp_path / "x"), "--closure-factor", "2")
    assert wrong.returncode == 2
    assert "closure" in wrong.stderr
