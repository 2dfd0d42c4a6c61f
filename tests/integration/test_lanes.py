"""Each knowledge base has its turn: however many documents one is given, another's single one does not wait for all."""

from __future__ import annotations

from functools import partial

import pytest

from common import lanes, steps, tasks
from common.context import Context
from common.errors import Rejected, Retryable, Unavailable
from router.broker import Delivery
from router.message import decode
from tests.integration.rig import Rig

ON_THEIR_WAY = 3
QUEUE = "brigade.step.extract_text"


@pytest.fixture
def rig(database_url: str) -> Rig:
    return Rig(database_url, lane_runs=ON_THEIR_WAY)


def flood(rig: Rig, count: int) -> list[str]:
    return [rig.arrive(key=f"incoming/flood/{number}") for number in range(count)]


def others(rig: Rig) -> None:
    """Documents that come from now on are of another base."""
    rig.sql("INSERT INTO knowledge_bases (id, name, owner_id) VALUES ('other', 'other', 'admin')")
    rig.base = "other"


def test_of_a_flood_only_a_few_are_on_their_way_and_all_are_done(rig: Rig) -> None:
    tasks_of = flood(rig, 20)
    assert len(rig.broker.queues[QUEUE]) == ON_THEIR_WAY
    most = 0

    def handle(delivery: Delivery) -> None:
        nonlocal most
        most = max(most, *(len(queue) for queue in rig.broker.queues.values()))
        rig.runtime.handle(delivery)

    rig.broker.deliver(handle)
    assert {rig.task(task_id)["status"] for task_id in tasks_of} == {"COMPLETED"}
    assert most <= ON_THEIR_WAY
    assert rig.count("task_details WHERE admitted_at IS NULL AND ready_at IS NOT NULL") == 0


def test_a_single_document_is_behind_a_few_of_a_flood_only(rig: Rig) -> None:
    flood(rig, 20)
    others(rig)
    single = rig.arrive(key="incoming/single")
    assert [decode(one.body).task_id for one in rig.broker.queues[QUEUE]].index(single) == ON_THEIR_WAY


def test_batches_of_a_long_document_come_a_few_at_a_time(rig: Rig) -> None:
    rig.words = 40  # in shares of two
    task_id = rig.arrive()
    sent: list[int] = []
    rig.before["VECTORIZE"] = lambda _: sent.append(
        rig.count(f"task_details WHERE task_id = '{task_id}' AND batch > 0 AND admitted_at IS NOT NULL")
    )
    rig.run()
    assert rig.task(task_id)["status"] == "COMPLETED"
    assert sent == [min(ON_THEIR_WAY + number, 20) for number in range(20)]


@pytest.mark.parametrize("how", ["rejected", "retried", "cancelled"])
def test_whatever_becomes_of_one_the_next_has_its_turn(rig: Rig, how: str) -> None:
    tasks_of = flood(rig, 2 * ON_THEIR_WAY)

    def end(context: Context) -> None:
        match how:
            case "rejected":
                raise Rejected("There is no text in it.")
            case "retried":
                raise Retryable("Not now.")
            case "cancelled":
                with rig.database.transaction() as connection:
                    tasks.cancel(connection, [context.target.task_id], code="CANCELLED", message="Enough.")

    rig.before["EXTRACT_TEXT"] = end
    for _ in range(ON_THEIR_WAY):
        rig.runtime.handle(rig.broker.queues[QUEUE].popleft())
    assert len(rig.broker.queues[QUEUE]) == ON_THEIR_WAY
    assert rig.count("task_details WHERE step_order = 2 AND attempt > 0") == ON_THEIR_WAY
    assert len(tasks_of) == 2 * ON_THEIR_WAY


def test_while_a_server_is_away_those_that_wait_for_it_keep_their_places(rig: Rig) -> None:
    """Others of their lane would only meet the same."""
    flood(rig, 2 * ON_THEIR_WAY)
    rig.before["EXTRACT_TEXT"] = partial(_raise, Unavailable("Milvus is away.", server="milvus"))
    for _ in range(ON_THEIR_WAY):
        rig.runtime.handle(rig.broker.queues[QUEUE].popleft())
    assert not rig.broker.queues[QUEUE]
    assert rig.relay() == 0


def test_who_died_before_letting_the_next_one_in_is_made_good_for(rig: Rig) -> None:
    flood(rig, 2 * ON_THEIR_WAY)
    rig.broker.queues.clear()
    rig.sql(f"""
        UPDATE tasks SET status = 'CANCELLED' WHERE id IN (
            SELECT task_id FROM task_details WHERE admitted_at IS NOT NULL LIMIT {ON_THEIR_WAY});
        UPDATE task_details SET status = 'CANCELLED' FROM tasks
        WHERE tasks.id = task_id AND tasks.status = 'CANCELLED'
    """)
    assert rig.relay() == ON_THEIR_WAY
    assert rig.relay() == 0


def test_as_many_are_on_their_way_as_keep_all_workers_busy(rig: Rig) -> None:
    rig.sql("""
        INSERT INTO workers (id, functions, connected, threads)
        VALUES ('a', '{EXTRACT_TEXT}', true, 4), ('b', '{EXTRACT_TEXT}', true, 2), ('c', '{STORE}', true, 9)
    """)
    rig.sql("INSERT INTO workers VALUES ('gone', '{EXTRACT_TEXT}', true, now(), now() - interval '1 minute', 99)")
    flood(rig, 20)
    assert len(rig.broker.queues[QUEUE]) == 2 * (4 + 2)


def test_two_who_let_in_at_once_wait_for_nobody(rig: Rig) -> None:
    task_id = rig.arrive()
    rig.broker.queues.clear()
    rig.sql("UPDATE task_details SET admitted_at = NULL")
    lane = {("EXTRACT_TEXT", "default")}
    with rig.database.transaction() as one, rig.database.transaction() as other:
        assert [due.ref for due in lanes.admit(one, lane, at_least=1)] == [steps.StepRef(task_id, 2, "EXTRACT_TEXT")]
        assert lanes.admit(other, lane, at_least=1) == []


def _raise(error: Exception, _: Context) -> None:
    raise error
