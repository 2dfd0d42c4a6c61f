"""Messages that are lost, and what finds them."""

from __future__ import annotations

import socket
import threading
from collections.abc import Sequence

import pytest

from common import steps
from common.errors import Unavailable
from common.settings import Settings
from router import topology
from router.broker import Publication
from router.scheduler import Scheduler
from tests.integration.rig import Rig
from tests.integration.system import wait_for


def test_a_message_lost_after_finishing_is_sent_by_the_relay(rig: Rig) -> None:
    task_id = rig.arrive()
    rig.outbox.flush()
    rig.broker.queues.clear()  # RabbitMQ lost everything, after it had confirmed
    rig.sql("UPDATE task_details SET published_at = NULL")
    assert rig.relay() == 1
    assert rig.relay() == 0
    rig.run()
    assert rig.task(task_id)["status"] == "COMPLETED"


def test_rabbitmq_losing_everything_it_had_confirmed_loses_no_task(rig: Rig) -> None:
    task_id = rig.arrive()
    rig.outbox.flush()
    rig.broker.queues.clear()
    assert rig.relay() == 0  # it was sent a moment ago, and may be at a worker
    rig.sql("UPDATE task_details SET published_at = published_at - interval '1 minute'")
    assert rig.relay(vanished=30) == 1
    assert rig.relay(vanished=30) == 0
    rig.run()
    assert rig.task(task_id)["status"] == "COMPLETED"


def test_what_waits_in_its_queue_is_not_sent_again_and_again(rig: Rig) -> None:
    rig.arrive()
    rig.outbox.flush()
    rig.sql("UPDATE task_details SET published_at = published_at - interval '1 minute'")
    assert rig.relay(vanished=30, lost=600) == 0
    assert rig.relay(vanished=30, lost=30) == 1


def test_a_message_that_a_busy_worker_may_have_is_looked_for_ever_more_seldom(rig: Rig) -> None:
    rig.arrive()
    rig.outbox.flush()
    rig.broker.queues.clear()
    rig.sql("""
        UPDATE task_details SET published_at = now() - interval '1 minute', ready_at = now() - interval '10 minutes'
        WHERE published_at IS NOT NULL
    """)
    assert rig.relay(vanished=30) == 0
    rig.sql("UPDATE task_details SET published_at = now() - interval '3 minutes' WHERE published_at IS NOT NULL")
    assert rig.relay(vanished=30) == 1


def test_a_step_whose_worker_and_message_are_both_gone_is_found(rig: Rig) -> None:
    task_id = rig.arrive()
    rig.broker.queues.clear()
    with rig.database.transaction() as connection:
        steps.claim(connection, steps.StepRef(task_id, 2, "EXTRACT_TEXT"), owner="dead", lease_seconds=0)
    assert rig.relay() == 1
    assert rig.relay() == 0  # told once, not every few seconds
    rig.run()
    assert rig.task(task_id)["status"] == "COMPLETED"


def test_a_server_that_is_away_for_long_does_not_fill_the_queues_with_copies(rig: Rig) -> None:
    task_id = rig.arrive()

    def away(_: object) -> None:
        raise Unavailable("Away.", server="store")

    rig.outbox.flush()
    rig.before["EXTRACT_TEXT"] = away
    rig.runtime.handle(rig.broker.queues[topology.step_queue("EXTRACT_TEXT")].popleft())
    rig.outbox.flush()
    rig.sql("""
        UPDATE task_details SET not_before = now() - interval '8 seconds', admitted_at = now() - interval '1 minute'
        WHERE not_before IS NOT NULL
    """)
    assert rig.relay(unsent=5) == 0, "its message waits in a queue"
    rig.sql("""
        UPDATE task_details SET published_at = now() - interval '1 hour', not_before = now() - interval '1 hour'
        WHERE not_before IS NOT NULL
    """)
    assert rig.relay(unsent=5) == 1, "until it is lost"
    assert rig.task(task_id)["status"] == "RUNNING"


def test_many_lanes_are_let_in_some_at_a_time(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    rig.arrive()
    rig.sql("""
        INSERT INTO task_details (task_id, step_order, batch, step_name, lane, ready_at)
        SELECT id, 4, batch, 'VECTORIZE', 'lane-' || batch, now() FROM tasks, generate_series(1, 50) AS batch
    """)
    publish, shares = rig.broker.publish, list[int]()

    def publish_once(publications: Sequence[Publication]) -> None:
        if len(shares) == 2:  # what is overdue, and the first of the lanes
            raise Unavailable("Away.", server="rabbitmq")
        shares.append(len(publications))
        publish(publications)

    monkeypatch.setattr(rig.broker, "publish", publish_once)
    with pytest.raises(Unavailable):
        rig.relay()
    monkeypatch.undo()
    assert rig.count("task_details WHERE lane LIKE 'lane-%' AND admitted_at IS NOT NULL") == 20
    assert rig.relay() >= 30


def test_what_the_relay_could_not_send_is_overdue_again(rig: Rig) -> None:
    rig.arrive()
    rig.broker.queues.clear()
    rig.broker.fail_next = 1
    with pytest.raises(Unavailable):
        rig.relay()
    assert rig.relay() == 1


def test_what_ended_tasks_have_left_hides_nothing_that_is_to_be_sent(rig: Rig) -> None:
    left = rig.arrive()
    rig.sql("UPDATE tasks SET status = 'FAILED'")
    rig.sql(f"""
        INSERT INTO task_details (task_id, step_order, batch, step_name, ready_at)
        SELECT '{left}', 4, batch, 'VECTORIZE', now() - interval '1 day' FROM generate_series(1, 600) AS batch
    """)
    rig.arrive(key="incoming/b.txt")
    assert rig.relay() == 1


def test_a_store_that_hangs_holds_up_no_message(settings: Settings) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        scheduler = Scheduler(
            settings.model_copy(
                update={
                    "s3_endpoint": f"http://127.0.0.1:{silent.getsockname()[1]}",
                    "expire_seconds": 0.1,
                    "outbox_seconds": 0.2,
                    "server_timeout_seconds": 4.0,
                }
            )
        )
        running = threading.Thread(target=scheduler.run)
        running.start()
        rig = Rig(settings.database_url.get_secret_value())
        try:
            silent.settimeout(10)
            asking, _ = silent.accept()  # a job asks the store, and gets no answer
            task_id = rig.arrive()
            sent = f"task_details WHERE task_id = '{task_id}' AND published_at IS NOT NULL"
            wait_for(lambda: rig.count(sent), "its message is sent", 3)
            asking.close()
        finally:
            scheduler.stop()
            running.join()
            rig.database.close()
