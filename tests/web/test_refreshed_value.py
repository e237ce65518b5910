"""Figures of the pages: computed by one request at a time, and kept for a while."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator

import pytest

from gnomon.web.context import RefreshedValue


def test_a_value_is_kept_in_proportion_to_the_time_it_took(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first value takes 2 seconds, from 10 to 12, so it is kept until 12 + 5 · 2 = 22."""
    moments = iter([10.0, 12.0, 21.9, 22.0, 22.5])
    monkeypatch.setattr("gnomon.web.context.time.perf_counter", lambda: next(moments))
    numbers = itertools.count(1)
    value = RefreshedValue(lambda: next(numbers))
    assert [value.get() for _ in range(3)] == [1, 1, 2]


def test_requests_get_the_former_value_while_one_computes() -> None:
    started, go_on = threading.Event(), threading.Event()
    values: list[int] = []

    def compute() -> int:
        if values:
            started.set()
            assert go_on.wait(10)
        return len(values)

    value = RefreshedValue(compute)
    values.append(value.get())
    value._expires = 0.0
    slow = threading.Thread(target=lambda: values.append(value.get()))
    slow.start()
    assert started.wait(10)
    assert value.get() == 0
    go_on.set()
    slow.join()
    assert values == [0, 1]


def test_a_failure_is_not_kept() -> None:
    answers: Iterator[ValueError | int] = iter([ValueError("no store"), 7])

    def compute() -> int:
        answer = next(answers)
        if isinstance(answer, ValueError):
            raise answer
        return answer

    value = RefreshedValue(compute)
    with pytest.raises(ValueError, match="no store"):
        value.get()
    assert value.get() == 7
