"""What is told of tasks as they are on a real Postgres: why they do not move, when they will be done."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from sqlalchemy import event, text

from common import steps, workers
from common.context import Context
from common.errors import Retryable, Unavailable
from common.principal import Principal
from common.steps import Claim, StepRef
from common.task_views import read_tasks
from tests.integration.rig import Rig
from tests.integration.system import System, wait_for

ADMIN = Principal("admin", is_admin=True)


def waits(rig: Rig, task_id: str) -> str | None:
    sentence = rig.task(task_id)["waiting_for"]
    assert sentence is None or isinstance(sentence, str)
    return sentence


def a_worker(rig: Rig, *functions: str, connected: bool = True) -> None:
    with rig.database.transaction() as connection:
        workers.beat(connection, "me", functions, threads=4, connected=connected)


def handle_one(rig: Rig, step: str) -> None:
    rig.runtime.handle(rig.broker.queues[f"brigade.step.{step.lower()}"].popleft())


def claim(rig: Rig, task_id: str, *, lease_seconds: float = 60) -> Claim:
    with rig.database.transaction() as connection:
        made = steps.claim(connection, StepRef(task_id, 2, "EXTRACT_TEXT"), owner="me/1", lease_seconds=lease_seconds)
    assert isinstance(made, Claim)
    return made


def test_an_announced_task_waits_for_its_upload(rig: Rig) -> None:
    upload = rig.announce()
    a_worker(rig, workers.INGRESS)
    assert str(waits(rig, upload.task_id)).startswith("Waiting for the upload until 20")


def test_a_task_tells_that_nobody_runs_its_step_or_can_hear_of_it(rig: Rig) -> None:
    task_id = rig.arrive()
    assert waits(rig, task_id) == "No worker runs EXTRACT_TEXT at the moment."
    a_worker(rig, "SPLIT")
    assert waits(rig, task_id) == "No worker runs EXTRACT_TEXT at the moment."
    a_worker(rig, "EXTRACT_TEXT", connected=False)
    assert waits(rig, task_id) == "The workers that run EXTRACT_TEXT have no connection to RabbitMQ."
    a_worker(rig, "EXTRACT_TEXT")
    assert waits(rig, task_id) is None
    rig.sql("UPDATE workers SET seen_at = now() - interval '1 minute'")
    assert waits(rig, task_id) == "No worker runs EXTRACT_TEXT at the moment."


def test_workers_that_died_long_ago_are_forgotten(rig: Rig) -> None:
    a_worker(rig, "SPLIT")
    rig.sql("UPDATE workers SET id = 'dead', seen_at = now() - interval '2 hours'")
    a_worker(rig, "SPLIT")
    with rig.database.transaction() as connection:
        assert connection.execute(text("SELECT id FROM workers")).scalars().all() == ["me"]


def test_a_queued_task_counts_those_before_it(rig: Rig) -> None:
    a_worker(rig, "EXTRACT_TEXT")
    tasks = [rig.arrive(number, key=f"incoming/{number}.txt") for number in range(1, 4)]
    assert waits(rig, tasks[0]) is None
    assert waits(rig, tasks[1]) == "Queued behind 1 other run of EXTRACT_TEXT for this knowledge base."
    assert waits(rig, tasks[2]) == "Queued behind 2 other runs of EXTRACT_TEXT for this knowledge base."
    claim(rig, tasks[0])
    assert waits(rig, tasks[0]) is None
    assert waits(rig, tasks[2]) == "Queued behind 1 other run of EXTRACT_TEXT for this knowledge base."


def test_a_retry_tells_when_and_why(rig: Rig) -> None:
    task_id = rig.arrive()
    rig.before["EXTRACT_TEXT"] = partial(_raise, Retryable("Not now."))
    handle_one(rig, "EXTRACT_TEXT")
    told = str(waits(rig, task_id))
    assert told.startswith("Waiting for a retry of EXTRACT_TEXT at 20")
    assert told.endswith("(attempt 2) because: Not now.")


def test_a_server_that_is_away_is_told_without_its_whereabouts(rig: Rig) -> None:
    task_id = rig.arrive()
    rig.before["EXTRACT_TEXT"] = partial(_raise, Unavailable("root at secret.host: refused", server="milvus"))
    handle_one(rig, "EXTRACT_TEXT")
    assert str(waits(rig, task_id)).startswith("Milvus does not answer. EXTRACT_TEXT tries again at 20")
    assert "secret" not in str(rig.task(task_id))


def test_a_message_that_nobody_could_send_is_told(rig: Rig) -> None:
    task_id = rig.arrive()
    a_worker(rig, "EXTRACT_TEXT")
    rig.sql("UPDATE task_details SET ready_at = now() - interval '1 minute' WHERE ready_at IS NOT NULL")
    assert waits(rig, task_id) == "The message for EXTRACT_TEXT is not sent yet: RabbitMQ or the scheduler is away."
    rig.outbox.flush()
    assert waits(rig, task_id) == "Next in the queue of EXTRACT_TEXT: the workers that run it are busy."


def test_a_step_of_a_worker_that_fell_silent_is_told(rig: Rig) -> None:
    task_id = rig.arrive()
    a_worker(rig, "EXTRACT_TEXT")
    claim(rig, task_id, lease_seconds=-1)
    told = str(waits(rig, task_id))
    assert told.startswith("EXTRACT_TEXT is held by a worker that is silent since 20")
    assert told.endswith("Another takes it over.")


def test_batches_of_which_one_runs_move(rig: Rig) -> None:
    task_id = rig.arrive()
    a_worker(rig, "VECTORIZE")
    handle_one(rig, "EXTRACT_TEXT")
    handle_one(rig, "SPLIT")
    rig.sql("UPDATE task_details SET published_at = ready_at, ready_at = ready_at - interval '1 minute'")
    assert waits(rig, task_id) == "Next in the queue of VECTORIZE: the workers that run it are busy."
    with rig.database.transaction() as connection:
        steps.claim(connection, StepRef(task_id, 4, "VECTORIZE", 2), owner="me/1", lease_seconds=60)
    assert waits(rig, task_id) is None


def test_tasks_that_have_ended_wait_for_nothing_and_are_read_by_two_statements(rig: Rig) -> None:
    task_id = rig.arrive()
    rig.run()
    with counted(rig) as statements:
        task = rig.task(task_id)
    assert (task["waiting_for"], task["estimated_completion_time"]) == (None, None)
    assert len(statements) == 2


def test_the_statements_of_a_read_do_not_grow_with_the_tasks(rig: Rig) -> None:
    a_worker(rig, "EXTRACT_TEXT")
    tasks = [rig.arrive(number, key=f"incoming/{number}.txt") for number in range(1, 12)]
    rig.task(tasks[0])  # measures, which is kept
    with counted(rig) as one:
        rig.task(tasks[0])
    with counted(rig) as many, rig.database.transaction() as connection:
        assert len(read_tasks(connection, tasks)) == 11
    assert len(one) == len(many) == 3


def test_nothing_is_foreseen_before_anything_was_measured(rig: Rig) -> None:
    task_id = rig.arrive()
    claim(rig, task_id)
    assert rig.task(task_id)["estimated_completion_time"] is None


def test_what_was_measured_tells_when_a_task_will_be_done(rig: Rig) -> None:
    a_worker(rig, "EXTRACT_TEXT")
    rig.arrive(1, key="incoming/1.txt")
    rig.run()
    rig.sql("UPDATE task_details SET completed_at = started_at + interval '1 minute' WHERE step_order > 1")
    task_id = rig.arrive(2, key="incoming/2.txt")
    expected = datetime.now(UTC) + timedelta(minutes=4)
    done = rig.task(task_id)["estimated_completion_time"]
    assert abs(done - expected) < timedelta(seconds=30)


def test_what_nobody_can_foresee_has_no_time(rig: Rig) -> None:
    rig.arrive(1, key="incoming/1.txt")
    rig.run()
    task_id = rig.arrive(2, key="incoming/2.txt")
    assert waits(rig, task_id) == "No worker runs EXTRACT_TEXT at the moment."
    assert rig.task(task_id)["estimated_completion_time"] is None


def test_a_worker_is_seen_while_it_runs_and_no_longer(system: System) -> None:
    def seen() -> list[Any]:
        return system.sql("SELECT functions, connected FROM workers WHERE id <> ALL(:earlier)", earlier=earlier)

    # Those that other tests have killed are forgotten only after an hour.
    earlier = [row.id for row in system.sql("SELECT id FROM workers")]
    with system.worker():
        wait_for(lambda: any(row.connected for row in seen()), "the worker is seen")
        ((functions, _),) = seen()
        assert {workers.INGRESS, "VALIDATE", "STORE", "REMOVE"} <= set(functions)
    assert seen() == []


@contextmanager
def counted(rig: Rig) -> Iterator[list[str]]:
    statements: list[str] = []

    def count(*arguments: Any) -> None:
        statements.append(arguments[2])

    engine = rig.database._engine
    event.listen(engine, "before_cursor_execute", count)
    yield statements
    event.remove(engine, "before_cursor_execute", count)


def _raise(error: Exception, _: Context) -> None:
    raise error
