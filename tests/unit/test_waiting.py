"""What is told of a task that does not move, from the facts of it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from common.errors import Unavailable
from common.waiting import Facts, why

NOW = datetime(2026, 11, 22, 12, 0, 0, tzinfo=UTC)


def ago(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


# A run that has been due for five seconds, sent, and that a worker could run.
DUE = Facts(
    now=NOW,
    arrived=True,
    workers=1,
    connected=True,
    step_name="VECTORIZE",
    status="PENDING",
    ready_at=ago(5),
    admitted_at=ago(5),
    published_at=ago(5),
)
HELD: dict[str, Any] = {"status": "RUNNING", "published_at": None}
RETRY: dict[str, Any] = {"not_before": ago(-60), "attempt": 2, "published_at": None}
NOBODY = "No other worker runs VECTORIZE at the moment."
ANNOUNCED = Facts(now=NOW, arrived=False, workers=1, connected=True)


@pytest.mark.parametrize(
    ("facts", "sentence"),
    [
        (ANNOUNCED, "Waiting for the upload."),
        (replace(ANNOUNCED, expires_at=ago(-3600)), "Waiting for the upload until 2026-11-22T13:00:00Z."),
        (
            replace(ANNOUNCED, workers=0),
            "Waiting for the upload. No worker takes notifications in at the moment.",
        ),
        (replace(DUE, ahead=1), "Queued behind 1 other run of VECTORIZE for this knowledge base."),
        (replace(DUE, ahead=12), "Queued behind 12 other runs of VECTORIZE for this knowledge base."),
        (replace(DUE, ahead=1000), "Queued behind 1,000 other runs of VECTORIZE for this knowledge base."),
        (replace(DUE, ahead=1001), "Queued behind more than 1,000 other runs of VECTORIZE for this knowledge base."),
        (DUE, "Next in the queue of VECTORIZE: the workers that run it are busy."),
        (
            replace(DUE, **RETRY, error_code="TRY_AGAIN", error_message="Not now."),
            "Waiting for a retry of VECTORIZE at 2026-11-22T12:01:00Z (attempt 3) because: Not now.",
        ),
        (
            replace(DUE, **RETRY, error_code="UNAVAILABLE", error_message="Milvus does not answer."),
            "Milvus does not answer. VECTORIZE tries again at 2026-11-22T12:01:00Z.",
        ),
        (replace(DUE, workers=0, connected=False, ahead=3), "No worker runs VECTORIZE at the moment."),
        (replace(DUE, connected=False, ahead=3), "The workers that run VECTORIZE have no connection to RabbitMQ."),
        (
            replace(DUE, published_at=None, ready_at=ago(16), ahead=3),
            "The message for VECTORIZE is not sent yet: RabbitMQ or the scheduler is away.",
        ),
        (
            replace(DUE, admitted_at=None, published_at=None, ready_at=ago(16), ahead=3),
            "Queued behind 3 other runs of VECTORIZE for this knowledge base.",
        ),
        (
            replace(DUE, admitted_at=None, published_at=None, ready_at=ago(16)),
            "The message for VECTORIZE is not sent yet: RabbitMQ or the scheduler is away.",
        ),
        (
            replace(DUE, **HELD, lease_until=ago(10)),
            "VECTORIZE is held by a worker that is silent since 2026-11-22T11:59:50Z. Another takes it over.",
        ),
        (
            replace(DUE, **HELD, lease_until=ago(10), seen_at=ago(30), workers=0),
            f"VECTORIZE is held by a worker that is silent since 2026-11-22T11:59:30Z. {NOBODY}",
        ),
    ],
)
def test_a_task_that_does_not_move_says_why(facts: Facts, sentence: str) -> None:
    wait = why(facts)
    assert wait is not None
    assert wait.sentence == sentence


@pytest.mark.parametrize(
    "facts",
    [
        replace(DUE, **HELD, lease_until=ago(-10), workers=0),  # whoever runs it, it runs
        replace(DUE, ready_at=ago(1)),
        replace(DUE, not_before=ago(1), published_at=None),  # its message comes down the ladder
        replace(DUE, step_name=None, status=None),  # ended between two looks
    ],
)
def test_a_task_that_moves_waits_for_nothing(facts: Facts) -> None:
    assert why(facts) is None


@pytest.mark.parametrize(
    ("facts", "foreseeable"),
    [
        (ANNOUNCED, False),
        (replace(DUE, workers=0), False),
        (replace(DUE, connected=False), False),
        (replace(DUE, **RETRY, error_code="UNAVAILABLE", error_message=""), False),
        (replace(DUE, **HELD, lease_until=ago(10)), False),
        (replace(DUE, ahead=12), True),
        (replace(DUE, **RETRY), True),
        (DUE, True),
    ],
)
def test_only_what_ends_by_itself_can_be_foreseen(facts: Facts, foreseeable: bool) -> None:
    wait = why(facts)
    assert wait is not None
    assert wait.foreseeable is foreseeable


@pytest.mark.parametrize("server", ["postgres", "rabbitmq", "store", "milvus", None])
def test_what_is_told_of_a_server_that_is_away_names_no_host(server: str | None) -> None:
    details = {"server": server} if server else {}
    told = Unavailable("Milvus at secret.host:19530 did not answer as root", **details).told
    assert told.endswith(" does not answer.")
    assert "secret" not in told
