"""Links of crowd platforms: settings, workers' ids from addresses, addresses to return to."""

from __future__ import annotations

from typing import Any

import pytest

from gnomon.core.errors import ConfigError
from gnomon.feedback.crowd_platforms import crowd_link, is_preview, worker_of

PID = "5f0c1a2b3c4d5e6f7a8b9c0d"


def test_a_prolific_link_has_its_parameters_and_returns_with_the_code() -> None:
    link = crowd_link("prolific", code="C1ABC", max_judgements=10)
    worker = worker_of(link, {"PROLIFIC_PID": PID, "STUDY_ID": "s1", "SESSION_ID": "x y", "other": "1"})
    assert worker is not None
    assert (worker.id, worker.details) == (PID, {"STUDY_ID": "s1"})  # no platform's value has a space
    address = link.finish_address("C1ABC", worker.id, worker.details)
    assert address == "https://app.prolific.com/submissions/complete?cc=C1ABC"
    assert link.query.startswith("PROLIFIC_PID={{%PROLIFIC_PID%}}&STUDY_ID=")


def test_a_worker_parameter_of_another_name_is_in_the_address_to_paste() -> None:
    link = crowd_link("prolific", code="C1", worker_parameter="pid")
    assert link.query.startswith("pid={{%PROLIFIC_PID%}}&")
    assert worker_of(link, {"PROLIFIC_PID": PID}) is None
    assert worker_of(link, {"pid": PID}) is not None


@pytest.mark.parametrize(
    "worker", ["", PID.upper(), PID + "0", "ann", f"{PID}\n", "../../etc", "5f0c1a2b3c4d5e6f7a8b9c0é"]
)
def test_an_id_that_no_prolific_worker_has_is_refused(worker: str) -> None:
    assert worker_of(crowd_link("prolific", code="C1"), {"PROLIFIC_PID": worker}) is None


@pytest.mark.parametrize("worker", ["=1+1", "@x", "-1", "a b", "<b>", "a" * 129, "a\0", "名"])
def test_ids_of_other_platforms_are_plain_words(worker: str) -> None:
    """They begin with a letter or digit, so that no spreadsheet computes them."""
    link = crowd_link("panel", worker_parameter="pid")
    assert worker_of(link, {"pid": worker}) is None
    assert worker_of(link, {"pid": "A-1.b_2@c"}) is not None


def test_a_preview_has_no_worker() -> None:
    link = crowd_link("mturk")
    query = {"assignmentId": "ASSIGNMENT_ID_NOT_AVAILABLE", "hitId": "H1"}
    assert is_preview(link, query)
    assert not is_preview(link, {"assignmentId": "3AB", "workerId": "A1B2C3"})


def test_values_in_an_address_to_return_to_are_quoted() -> None:
    link = crowd_link(
        "panel",
        worker_parameter="pid",
        context_parameters=["group"],
        redirect="https://panel.example/end?w={worker}&g={group}&c={code}",
    )
    address = link.finish_address("A1", "a@b", {"group": "x.y"})
    assert address == "https://panel.example/end?w=a%40b&g=x.y&c=A1"
    assert link.finish_address("A1", "a", {}) == "https://panel.example/end?w=a&g=&c=A1"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"platform": "prolifc"}, "is not one of prolific, mturk; name the parameter"),
        ({"platform": "prolific"}, "prolific issues the completion code of a study; give it with --code"),
        ({"platform": "mturk", "redirect": "javascript:alert(1)"}, "is not the address of a page"),
        ({"platform": "mturk", "redirect": "https://{worker}.example/"}, "is not the address of a page"),
        ({"platform": "mturk", "redirect": "https://a.example/{name}"}, "has no value for {name}"),
        ({"platform": "mturk", "code": "a b"}, "code: string should match pattern"),
        ({"platform": "mturk", "max_judgements": 3, "min_judgements": 4}, "make the first no larger"),
        ({"platform": "mturk", "max_judgements": 0}, "max_judgements"),
        ({"platform": "pa nel", "worker_parameter": "x"}, "platform: string should match pattern"),
    ],
)
def test_a_link_that_cannot_work_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        crowd_link(**settings)
    assert message in str(refusal.value)
