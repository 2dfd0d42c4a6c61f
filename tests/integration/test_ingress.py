"""Many notifications at once come to the same as one after the other."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable
from types import SimpleNamespace
from typing import cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from common.errors import Unavailable
from common.events import ObjectRemoved
from common.failpoints import Failpoints
from common.objects import ObjectStore
from router import topology
from router.broker import Delivery
from router.ingress import Ingress
from tests.integration.rig import Rig

pytestmark = pytest.mark.integration

_tags = itertools.count(1)


def ingress(rig: Rig) -> Ingress:
    gone = cast(ObjectStore, SimpleNamespace(left_by=lambda event: None))
    return Ingress(rig.database, gone, rig.broker, rig.outbox, Failpoints(""))


def told(key: str, sequencer: int, etag: str = "e", *, removed: bool = False) -> Delivery:
    name = "s3:ObjectRemoved:Delete" if removed else "s3:ObjectCreated:Put"
    found = {"key": key, "size": 5, "eTag": etag, "sequencer": f"{sequencer:X}"}
    body = {"Records": [{"eventName": name, "s3": {"bucket": {"name": "b"}, "object": found}}]}
    return Delivery(topology.NOTIFICATIONS, "webhook", json.dumps(body).encode(), {}, next(_tags), 1)


def state(rig: Rig) -> list[tuple[object, ...]]:
    """Everything that events decide, without ids and times."""
    with rig.database.transaction() as connection:
        return [
            tuple(row)
            for row in connection.exec_driver_sql("""
                SELECT document.object_key, document.name, document.knowledge_base_id, document.user_id,
                    document.deleted_at IS NULL, version.version, version.etag, version.file_size,
                    task.type, task.status, task.started_at IS NOT NULL, task.error_code,
                    step.step_order, step.step_name, step.lane, step.weight, step.status, step.progress, step.details,
                    step.ready_at IS NOT NULL, step.started_at IS NOT NULL, step.completed_at IS NOT NULL,
                    seen.sequencer, seen.etag
                FROM documents AS document
                    JOIN tasks AS task ON task.document_id = document.id
                    LEFT JOIN document_versions AS version ON version.task_id = task.id
                    JOIN task_details AS step ON step.task_id = task.id
                    JOIN events_seen AS seen USING (bucket_name, object_key)
                ORDER BY document.object_key, document.deleted_at IS NULL, task.type, version.version, step.step_order
            """)
        ]


def forget(rig: Rig) -> None:
    rig.sql("DELETE FROM tasks; DELETE FROM documents; DELETE FROM events_seen")
    rig.broker.queues.clear()


def take_in(rig: Rig, deliveries: Iterable[Delivery], *, together: bool) -> None:
    deliveries = list(deliveries)
    for share in [deliveries] if together else [[one] for one in deliveries]:
        ingress(rig).handle(share)


EVENTS = st.lists(
    st.tuples(st.sampled_from(["a", "b", "folder/c"]), st.integers(1, 6), st.booleans()), min_size=1, max_size=8
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(EVENTS, st.integers(0, 8))
def test_a_share_of_any_events_comes_to_the_same_as_each_by_itself_in_order(
    rig: Rig, events: list[tuple[str, int, bool]], before: int
) -> None:
    """An event's sequencer and its kind are its own: what is told twice is told in the same words."""
    made = [
        told(f"incoming/{key}", 10 * number + removed, f"e{number}", removed=removed) for key, number, removed in events
    ]
    forget(rig)
    take_in(rig, made[:before], together=False)
    take_in(rig, made[before:], together=True)
    together = state(rig)
    forget(rig)
    take_in(rig, made[:before], together=False)
    rest = sorted(zip(made[before:], events[before:], strict=True), key=lambda one: (one[1][1], one[1][2]))
    take_in(rig, (delivery for delivery, _ in rest), together=False)
    assert together == state(rig)


def test_a_flood_is_written_down_together_and_a_few_of_it_are_sent(rig: Rig) -> None:
    flood = [told(f"incoming/{number}", number + 1) for number in range(50)]
    ingress(rig).handle(flood + flood)  # by both lanes
    assert rig.count("tasks WHERE status = 'RUNNING'") == 50
    assert len(rig.broker.queues[topology.step_queue("VALIDATE")]) == 8


def test_what_cannot_be_understood_is_kept_and_the_others_are_begun(rig: Rig) -> None:
    broken = Delivery(topology.NOTIFICATIONS, "webhook", b"{}", {}, next(_tags), 1)
    ingress(rig).handle([told("incoming/a", 1), broken, told("incoming/b", 1)])
    assert rig.count("tasks WHERE status = 'RUNNING'") == 2
    assert [letter.body for letter in rig.broker.queues[topology.DEAD]] == [b"{}"]


def test_what_was_announced_and_came_after_its_document_was_deleted_is_its_owners(rig: Rig) -> None:
    """Only its tasks know whose it was: it is no drop."""
    rig.sql("INSERT INTO users (id, username) VALUES ('ann', 'ann')")
    rig.sql("INSERT INTO knowledge_bases (id, name, owner_id) VALUES ('hers', 'hers', 'ann')")
    rig.sql("""
        INSERT INTO tasks (id, type, document_id, version, knowledge_base_id, created_by, status, completed_at)
        VALUES ('t', 'DOCUMENT_UPLOAD', 'd', 1, 'hers', 'ann', 'CANCELLED', now())
    """)
    ingress(rig).handle([told("incoming/d/a.txt", 1), told("incoming/b", 1)])
    assert rig.count("documents WHERE user_id = 'ann' AND knowledge_base_id = 'hers'") == 1


def test_while_a_server_is_away_all_of_them_wait(rig: Rig) -> None:
    rig.broker.fail_next = 1
    ingress(rig).handle([told("incoming/a", 1), told("incoming/b", 1)])
    assert len(rig.broker.queues[topology.rung(10)]) == 2
    assert not rig.broker.unacked


def test_a_removal_looks_into_the_bucket_also_among_others(rig: Rig) -> None:
    asked: list[ObjectRemoved] = []

    def left_by(event: ObjectRemoved) -> None:
        asked.append(event)
        raise Unavailable("The store is away.", server="store")

    looking = Ingress(
        rig.database, cast(ObjectStore, SimpleNamespace(left_by=left_by)), rig.broker, rig.outbox, Failpoints("")
    )
    looking.handle([told("incoming/a", 1), told("incoming/b", 1, removed=True)])
    assert [event.key for event in asked] == ["incoming/b"]
    assert len(rig.broker.queues[topology.rung(10)]) == 2
