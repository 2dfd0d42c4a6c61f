"""Messages that are lost, and what finds them."""

from __future__ import annotations

import pytest

from common import steps
from common.errors import Unavailable
from tests.integration.rig import Rig


def test_a_message_lost_after_finishing_is_sent_by_the_relay(rig: Rig) -> None:
    task_id = rig.arrive()
    rig.outbox.flush()
    rig.broker.queues.clear()  # RabbitMQ lost everything, after it had confirmed
    rig.sql("UPDATE task_details SET published_at = NULL")
    assert rig.outbox.relay(unsent_seconds=0, lost_seconds=60) == 1
    assert rig.outbox.relay(unsent_seconds=0, lost_seconds=60) == 0
    rig.run()
    assert rig.task(task_id)["status"] == "COMPLETED"


def test_rabbitmq_losing_everything_it_had_confirmed_loses_no_task(rig: Rig) -> None:
    task_id = rig.arrive()
    rig.outbox.flush()
    rig.broker.queues.clear()
    assert rig.outbox.relay(unsent_seconds=0, lost_seconds=60) == 0  # it was sent, and may be in a queue
    assert rig.outbox.relay(unsent_seconds=0, lost_seconds=0) == 1
    rig.run()
    assert rig.task(task_id)["status"] == "COMPLETED"


def test_a_step_whose_worker_and_message_are_both_gone_is_found(rig: Rig) -> None:
    task_id = rig.arrive()
    rig.broker.queues.clear()
    with rig.database.transaction() as connection:
        steps.claim(connection, steps.StepRef(task_id, 2, "EXTRACT_TEXT"), owner="dead", lease_seconds=0)
    assert rig.outbox.relay(unsent_seconds=0, lost_seconds=60) == 1
    assert rig.outbox.relay(unsent_seconds=0, lost_seconds=60) == 0  # told once, not every few seconds
    rig.run()
    assert rig.task(task_id)["status"] == "COMPLETED"


def test_what_the_relay_could_not_send_is_overdue_again(rig: Rig) -> None:
    rig.arrive()
    rig.broker.queues.clear()
    rig.broker.fail_next = 1
    with pytest.raises(Unavailable):
        rig.outbox.relay(unsent_seconds=0, lost_seconds=60)
    assert rig.outbox.relay(unsent_seconds=0, lost_seconds=60) == 1
