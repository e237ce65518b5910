"""Resolution of items: disagreement needs more votes, then a reviewer, whose decision is exported."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from annotating import NAMES, project, state_of, submit_choice, take
from exported import pair_preferences
from sqlalchemy import select

from gnomon.core.errors import ConfigError, DataError
from gnomon.feedback.store.resolution import consensus
from gnomon.feedback.store.schema import DecisionRow, JudgementRow, ProjectRow
from gnomon.feedback.store.store import Project, Store
from gnomon.feedback.tasks.adjudication import decide, decided_items, disputed_items, review_item, unanimous_items
from gnomon.feedback.tasks.gold_items import mark_gold, unmark_gold
from gnomon.feedback.tasks.queue import NewJudgement, Queue

ID = "00000000-0000-4000-8000-{:012x}"


@pytest.fixture
def store(database: str) -> Iterator[Store]:
    store = Store(database)
    yield store
    store.close()


@pytest.mark.parametrize(
    ("labels", "threshold", "expected"),
    [
        (["a"], 0.5, True),
        (["a", "b"], 0.5, False),  # 1 of 2 is not more than a half
        (["a", "a", "b"], 0.5, True),
        (["a", "b", "tie"], 0.5, False),
        (["tie", "tie", "a"], 0.5, True),
        (["a", "a", "a", "b"], 0.75, False),  # 3 of 4 is not more than 3/4
        (["a", "a", "b", "b"], 0.4, True),
        ([], 0.0, False),
    ],
)
def test_the_most_frequent_label_needs_more_than_the_threshold(
    labels: list[str], threshold: float, expected: bool
) -> None:
    assert (consensus(labels, threshold) is not None) is expected


def judge(queue: Queue, answers: dict[str, str]) -> int:
    """Submit each annotator's choice for the only item; return the item."""
    item = 0
    for who, better in answers.items():
        task = take(queue, who)
        item = task.item
        submit_choice(queue, task, who, better)
    return item


def test_disagreement_needs_one_more_vote_at_a_time_and_then_a_reviewer(store: Store) -> None:
    queue = project(store, 1, votes_per_item=2, max_votes=4)
    item = judge(queue, {"ann": "a"})
    assert state_of(store, item) == ("open", 2)
    judge(queue, {"bob": "b"})
    assert state_of(store, item) == ("open", 3)
    judge(queue, {"cyd": "tie"})
    assert state_of(store, item) == ("open", 4)
    judge(queue, {"dan": "b"})
    assert state_of(store, item) == ("disputed", 4)  # 2 of 4 for b
    assert queue.take("eve") is None
    assert [one.item for one in disputed_items(store, "films")] == [item]


def test_one_more_vote_may_resolve_a_disagreement(store: Store) -> None:
    queue = project(store, 1, votes_per_item=2, max_votes=4)
    item = judge(queue, {"ann": "a", "bob": "b", "cyd": "b"})
    assert state_of(store, item) == ("done", 3)


def test_a_correction_can_dispute_a_done_item(store: Store) -> None:
    queue = project(store, 1, votes_per_item=2, max_votes=2)
    item = judge(queue, {"ann": "tie", "bob": "tie"})
    assert state_of(store, item) == ("done", 2)
    queue.submit(NewJudgement("again", item, "bob", {"choice": "bad"}, corrects=f"bob-{item}"))
    assert state_of(store, item) == ("disputed", 2)
    queue.submit(NewJudgement("thrice", item, "bob", {"choice": "tie"}, corrects="again"))
    assert state_of(store, item) == ("done", 2)


def test_a_withdrawal_reopens_a_disputed_item(store: Store) -> None:
    queue = project(store, 1, votes_per_item=2, max_votes=2)
    item = judge(queue, {"ann": "a", "bob": "b"})
    assert state_of(store, item)[0] == "disputed"
    store.set_annotator("ann", "withdrawn")
    assert state_of(store, item)[0] == "open"
    judge(queue, {"cyd": "b"})
    assert state_of(store, item)[0] == "done"


def disputed_item(store: Store) -> tuple[Queue, int]:
    queue = project(store, 1, votes_per_item=2, max_votes=2)
    return queue, judge(queue, {"ann": "a", "bob": "b"})


def test_a_decision_resolves_a_disputed_item_and_is_exported(store: Store) -> None:
    _, item = disputed_item(store)
    assert [row.probability for row in pair_preferences(store, "films").rows] == [0.5]
    for _ in range(2):  # a repeated call adds nothing
        decide(store, "films", item, "eve", {"choice": "second"}, id=ID.format(1), reason="kinder")
    assert state_of(store, item) == ("done", 2)
    data = pair_preferences(store, "films")
    assert [(r.chosen.id, r.rejected.id, r.probability) for r in data.rows] == [("b0", "a0", 1.0)]
    assert data.manifest["decisions"] == {str(item): ID.format(1)}
    assert data.manifest["judgements"] == 2, "both judgements are kept"
    with store.reading() as session:
        assert len(session.scalars(select(JudgementRow)).all()) == 2
        assert len(session.scalars(select(DecisionRow)).all()) == 1
    assert [one.item for one in decided_items(store, "films")] == [item]
    assert disputed_items(store, "films") == []


def test_items_decided_as_bad_are_not_exported(store: Store) -> None:
    _, item = disputed_item(store)
    decide(store, "films", item, "eve", {"choice": "bad"}, id=ID.format(1))
    data = pair_preferences(store, "films")
    assert (data.rows, data.manifest["left_out"]["both_bad_items"]) == ([], 1)


def test_a_decision_is_corrected_by_a_later_one_that_names_it(store: Store) -> None:
    _, item = disputed_item(store)
    decide(store, "films", item, "eve", {"choice": "second"}, id=ID.format(1))
    with pytest.raises(DataError, match="another reviewer decided"):
        decide(store, "films", item, "dan", {"choice": "first"}, id=ID.format(2))
    with pytest.raises(DataError, match="belongs to another decision"):
        decide(store, "films", item, "dan", {"choice": "first"}, id=ID.format(1))
    decide(store, "films", item, "dan", {"choice": "first"}, id=ID.format(2), corrects=ID.format(1))
    assert pair_preferences(store, "films").rows[0].chosen.id == "a0"
    store.set_annotator("dan", "withdrawn")
    assert pair_preferences(store, "films").rows[0].chosen.id == "b0", "the earlier decision is effective again"
    store.set_annotator("eve", "withdrawn")
    assert state_of(store, item)[0] == "disputed"


def test_a_withdrawn_reviewer_cannot_decide(store: Store) -> None:
    _, item = disputed_item(store)
    store.set_annotator("eve", "withdrawn")
    with pytest.raises(DataError, match="reviewer 'eve' has withdrawn"):
        decide(store, "films", item, "eve", {"choice": "second"}, id=ID.format(1))
    assert state_of(store, item)[0] == "disputed"


def test_a_decision_stays_effective_when_an_annotator_withdraws(store: Store) -> None:
    _, item = disputed_item(store)
    decide(store, "films", item, "eve", {"choice": "tie"}, id=ID.format(1))
    store.set_annotator("ann", "withdrawn")
    assert state_of(store, item)[0] == "done"


def test_only_disputed_items_can_be_decided(store: Store) -> None:
    queue = project(store, 2, votes_per_item=2, max_votes=2)
    task = take(queue, "ann")
    with pytest.raises(DataError, match="is not disputed"):
        decide(store, "films", task.item, "eve", {"choice": "tie"}, id=ID.format(1))
    with pytest.raises(DataError, match="has no item 99"):
        decide(store, "films", 99, "eve", {"choice": "tie"}, id=ID.format(1))
    with pytest.raises(DataError, match="does not fit the task 'pair'"):
        decide(store, "films", task.item, "eve", {"order": [0, 1]}, id=ID.format(1))


def test_a_review_has_all_judgements_in_the_items_own_order(store: Store) -> None:
    queue = project(store, 1, votes_per_item=2, max_votes=2)
    for who, better in (("ann", "a"), ("bob", "b")):
        task = take(queue, who)
        submit_choice(queue, task, who, better, reason=f"{who} likes {better}", confidence=0.5)
    review = review_item(store, "films", task.item)
    assert [c.id for c in review.completions] == ["a0", "b0"]
    assert [(v.name, v.answer, v.reason) for v in review.judgements] == [
        ("ann", {"choice": "first"}, "ann likes a"),
        ("bob", {"choice": "second"}, "bob likes b"),
    ]


def test_unanimous_items_have_one_label(store: Store) -> None:
    queue = project(store, 2, votes_per_item=2, max_votes=2)
    items = [judge(queue, {"ann": "a", "bob": "a"}), judge(queue, {"ann": "a", "bob": "b"})]
    assert [one.item for one in unanimous_items(store, "films")] == items[:1]


def test_rankings_with_the_same_best_agree(store: Store) -> None:
    queue = project(store, 1, votes_per_item=2, max_votes=2, task="ranking", sides="abc")
    orders = {"ann": "abc", "bob": "acb"}
    for who, order in orders.items():
        task = take(queue, who)
        index = {c.id[0]: n for n, c in enumerate(task.completions)}
        queue.submit(NewJudgement(who, task.item, who, {"order": [index[side] for side in order]}))
    assert state_of(store, task.item)[0] == "done"


def test_votes_per_item_can_change_later(store: Store) -> None:
    queue = project(store, 2, votes_per_item=2, max_votes=4)
    item = judge(queue, {"ann": "a"})
    settings = store.project("films").settings

    def change(votes_per_item: int) -> Project:
        return Project("films", "T", "pair", votes_per_item, 4, "", settings)

    store.update_project(change(3))
    assert state_of(store, item) == ("open", 3)
    store.update_project(change(1))
    assert state_of(store, item) == ("done", 1)
    assert queue.progress()["open"] == 1
    with pytest.raises(DataError, match="no smaller than the first"):
        store.update_project(change(5))


def test_a_disagreement_gets_a_third_vote_after_votes_per_item_is_lowered(store: Store) -> None:
    """1 : 1 of three votes, then votes_per_item is 1: the item needs a third vote, and has a slot for it."""
    queue = project(store, 1, votes_per_item=3, max_votes=5)
    item = judge(queue, {"ann": "a", "bob": "b"})
    settings = store.project("films").settings
    store.update_project(Project("films", "T", "pair", 1, 5, "", settings))
    assert state_of(store, item) == ("open", 3)
    judge(queue, {"cyd": "b"})
    assert state_of(store, item) == ("done", 3)


def test_an_unmarked_gold_item_is_resolved_by_all_its_judgements(store: Store) -> None:
    """One vote, five more while it is gold, 3 : 3: max_votes is five, so the item is disputed."""
    queue = project(store, 1, votes_per_item=2, max_votes=5, gold_rate=0.5, names=(*NAMES, "fay"))
    item = judge(queue, {"ann": "a"})
    mark_gold(store, "films", item, {"choice": "first"})
    for who, better in {"bob": "b", "cyd": "a", "dan": "b", "eve": "a", "fay": "b"}.items():
        for draw in range(99):
            with store.writing() as session:
                session.scalars(select(ProjectRow)).one().salt = str(draw)
            if (task := queue.take(who)) is not None:
                submit_choice(queue, task, who, better)
                break
    unmark_gold(store, "films", item)
    assert state_of(store, item)[0] == "disputed"
    store.set_annotator("fay", "withdrawn")
    assert state_of(store, item) == ("done", 2)


def test_a_reactivated_annotator_does_not_block_the_item(store: Store) -> None:
    queue = project(store, 1, votes_per_item=3, max_votes=5)
    item = judge(queue, {"ann": "a", "bob": "b", "cyd": "b"})
    assert state_of(store, item) == ("done", 3)
    store.set_annotator("ann", "withdrawn")
    judge(queue, {"dan": "a"})
    assert state_of(store, item) == ("done", 3)
    store.set_annotator("ann", "active")
    assert state_of(store, item) == ("open", 5)  # 2 : 2, and a fifth vote is needed
    judge(queue, {"eve": "a"})
    assert state_of(store, item) == ("done", 5)


def test_a_surplus_judgement_fills_the_slot_of_a_withdrawn_annotator(store: Store) -> None:
    queue = project(store, 1, votes_per_item=2, max_votes=2)
    now = [1000.0]
    queue.clock = lambda: now[0]
    late = {who: take(queue, who) for who in ("ann", "bob")}
    now[0] += queue.lease_seconds + 1
    item = judge(queue, {"cyd": "a", "dan": "a"})
    for who in ("bob", "ann"):
        submit_choice(queue, late[who], who, "b")
    assert (queue.progress()["judgements"], queue.progress()["surplus"]) == (2, 2)
    assert pair_preferences(store, "films").rows[0].probability == 1.0
    store.set_annotator("cyd", "withdrawn")
    assert (queue.progress()["judgements"], queue.progress()["surplus"]) == (2, 1)
    assert state_of(store, item)[0] == "disputed", "bob's was the oldest, and differs from dan's"
    assert [row.surplus for row in review_item(store, "films", item).judgements] == [False, False, True]


def test_a_disputed_item_is_open_again_after_max_votes_is_raised(store: Store) -> None:
    _, item = disputed_item(store)
    store.update_project(Project("films", "T", "pair", 2, 3))
    assert state_of(store, item) == ("open", 3)
    store.update_project(Project("films", "T", "pair", 2, 3, settings={"consensus_threshold": 0.4}))
    assert state_of(store, item) == ("done", 2), "one of two is more than 0.4 of them"
    with pytest.raises(ConfigError, match="'consensus_threshold' is invalid"):
        store.update_project(Project("films", "T", "pair", 2, 3, settings={"consensus_threshold": 1}))


def test_decided_items_are_those_with_an_effective_decision_latest_first(store: Store) -> None:
    queue = project(store, 3, votes_per_item=2, max_votes=2)
    items = [judge(queue, {"ann": "a", "bob": "b"}) for _ in range(3)]
    for number, (index, who) in enumerate(((2, "eve"), (0, "eve"), (1, "dan"))):
        decide(store, "films", items[index], who, {"choice": "tie"}, id=ID.format(number))
    assert [one.item for one in decided_items(store, "films")] == [items[1], items[0], items[2]]
    for who in ("ann", "bob"):  # the item is then done without the decision
        queue.submit(NewJudgement(f"again {who}", items[1], who, {"choice": "tie"}, corrects=f"{who}-{items[1]}"))
    store.set_annotator("dan", "withdrawn")
    assert [one.item for one in decided_items(store, "films")] == [items[0], items[2]]
