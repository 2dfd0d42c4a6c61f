"""When a task will be done, from made-up measurements."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from common.estimates import Measured, Unfinished, completion, size_class
from common.waiting import Facts

NOW = datetime(2026, 11, 22, 12, 0, 0, tzinfo=UTC)
KIB = 1024
MEASURED = Measured(
    steps={"EXTRACT_TEXT": {5: 10.0, 7: 40.0}, "VECTORIZE": {5: 100.0}},
    runs={"EXTRACT_TEXT": 12.0},
    at_once={"EXTRACT_TEXT": 3},
)
FACTS = Facts(now=NOW, arrived=True, workers=1, connected=True, file_size=2 * KIB, step_name="EXTRACT_TEXT")
EXTRACT, VECTORIZE = Unfinished("EXTRACT_TEXT", 0, None), Unfinished("VECTORIZE", 0, None)


def seconds(unfinished: list[Unfinished], facts: Facts = FACTS, measured: Measured = MEASURED) -> float | None:
    done = completion(measured, unfinished, facts)
    return None if done is None else (done - NOW).total_seconds()


@pytest.mark.parametrize(("size", "expected"), [(0, 0), (1, 0), (3, 0), (4, 1), (16, 2), (KIB, 5), (4 * KIB - 1, 5)])
def test_documents_within_a_factor_of_four_are_of_one_class(size: int, expected: int) -> None:
    assert size_class(size) == expected


def test_what_is_left_takes_as_long_as_it_took_others_of_its_size() -> None:
    assert seconds([EXTRACT, VECTORIZE]) == 110
    assert seconds([VECTORIZE]) == 100


@pytest.mark.parametrize(("size", "expected"), [(1, 10), (17 * KIB, 40), (64 * KIB, 160), (1024 * KIB, 2560)])
def test_a_size_that_was_not_seen_takes_longer_in_proportion_and_never_less(size: int, expected: float) -> None:
    assert seconds([EXTRACT], replace(FACTS, file_size=size)) == expected


def test_a_step_that_runs_goes_on_as_fast_as_it_went() -> None:
    begun = NOW - timedelta(seconds=30)
    assert seconds([Unfinished("EXTRACT_TEXT", 75, begun)]) == 10
    assert seconds([Unfinished("EXTRACT_TEXT", 0, NOW - timedelta(seconds=4))]) == 6
    assert seconds([Unfinished("EXTRACT_TEXT", 1, begun)]) == 0  # late, and nobody knows how late


def test_what_is_queued_before_it_and_what_it_waits_for_comes_on_top() -> None:
    assert seconds([EXTRACT], replace(FACTS, ahead=5)) == 5 * 12 / 3 + 10
    assert seconds([EXTRACT], replace(FACTS, not_before=NOW + timedelta(seconds=60))) == 60 + 10
    assert seconds([EXTRACT], replace(FACTS, ahead=5, step_name="SPLIT")) == 10  # its runs were never measured


def test_what_was_never_measured_is_not_guessed() -> None:
    assert seconds([EXTRACT], measured=Measured()) is None
    assert seconds([EXTRACT, Unfinished("NEW", 0, None)]) is None
    assert seconds([]) is None
