"""Notifications in: what stores tell, by webhook or over AMQP, becomes events, and events become tasks.

Both roads lead to the queue `s3.notifications`; here is what empties it. Any event may come never, late, twice or out
of order; common/documents.py decides under a lock whether it is news. Of many that wait together, those that are known
and those that nobody has heard of, which is nearly all, are dealt with at once: a flood of one sender's objects holds
up another's for as long as it takes to write them down, not longer.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import structlog
from sqlalchemy.exc import IntegrityError

from common import arrivals, documents
from common.db import Database
from common.errors import InvalidEvent, Unavailable
from common.events import ObjectCreated, ObjectEvent, ObjectRemoved
from common.failpoints import Failpoints
from common.lanes import Due
from common.objects import ObjectStore
from common.telemetry import NOTIFICATIONS
from router import letters, topology
from router.broker import Broker, Delivery, Publication
from router.outbox import Outbox
from router.runtime import put_off
from router.stores import s3
from router.table import DOCUMENT_DELETE, DOCUMENT_UPLOAD, route

log = structlog.get_logger()


class Ingress:
    def __init__(
        self, database: Database, objects: ObjectStore, broker: Broker, outbox: Outbox, failpoints: Failpoints
    ) -> None:
        self._database = database
        self._objects = objects
        self._broker = broker
        self._outbox = outbox
        self._failpoints = failpoints

    def handle(self, deliveries: Sequence[Delivery]) -> None:
        """Begin what the notifications ask for; what cannot be understood of them goes to the dead with its reason."""
        try:
            told = [s3.decode(delivery.body) for delivery in deliveries]
            due = self._begin_all([event for events, _ in told for event in events])
            dead = [(one, error) for one, (_, error) in zip(deliveries, told, strict=True) if error is not None]
            self._outbox.send(due, [_dead(*one) for one in dead])
        except Unavailable as down:
            log.warning("notification.put_off", reason=down.message)
            for delivery in deliveries:
                put_off(self._broker, delivery)
            return
        self._failpoints.reach("after_publish", "UPLOAD")
        for delivery in deliveries:
            self._broker.ack(delivery)

    def _begin_all(self, events: Sequence[ObjectEvent]) -> list[Due]:
        """What is due of these events. Those that are neither known nor drops at fresh keys come last, one by one."""
        routed = [event for event in events if route(event) is not None]
        NOTIFICATIONS.labels("amqp", "ignored").inc(len(events) - len(routed))
        if len(routed) > 1:
            try:
                due, rest = self._begin_fresh(routed)
            except IntegrityError:  # somebody took one of the keys in the same moment
                due, rest = [], routed
        else:
            due, rest = [], routed
        # Of one key in the order in which they happened: one that is late is no news.
        for event in sorted(rest, key=lambda event: event.sequencer):
            due += self._begin(event)
        return due

    def _begin_fresh(self, events: Sequence[ObjectEvent]) -> tuple[list[Due], list[ObjectEvent]]:
        """What is due of drops at keys that nobody has used before, and the events that are something else."""
        with self._database.transaction() as connection:
            known = arrivals.known(connection, events)
            news = list(dict.fromkeys(event for number, event in enumerate(events) if number not in known))
            times = Counter((event.bucket, event.key) for event in news)
            single = [
                event
                for event in news
                if isinstance(event, ObjectCreated)
                and route(event) is DOCUMENT_UPLOAD
                and times[event.bucket, event.key] == 1
            ]
            begun = arrivals.drop(connection, single, DOCUMENT_UPLOAD)
            due = self._outbox.admit(connection, begun.values())
        self._failpoints.reach("after_finish", "UPLOAD")
        NOTIFICATIONS.labels("amqp", "known").inc(len(events) - len(news))
        NOTIFICATIONS.labels("amqp", "started").inc(len(begun))
        if begun:
            log.info("events.started", pipeline=DOCUMENT_UPLOAD.name, tasks=len(begun))
        taken = {single[number] for number in begun}
        return due, [event for event in news if event not in taken]

    def _begin(self, event: ObjectEvent) -> list[Due]:
        pipeline = route(event)
        if pipeline is not None and isinstance(event, ObjectRemoved):
            event = self._objects.left_by(event) or event
            pipeline = route(event)
        if pipeline is None:
            NOTIFICATIONS.labels("amqp", "ignored").inc()
            return []
        with self._database.transaction() as connection:
            match event:
                case ObjectCreated():
                    ready = documents.arrive(connection, event, pipeline, DOCUMENT_DELETE)
                case ObjectRemoved():
                    ready = documents.depart(connection, event, pipeline)
                case _:
                    raise AssertionError(event)
            due = self._outbox.admit(connection, ready)
        self._failpoints.reach("after_finish", "UPLOAD")
        NOTIFICATIONS.labels("amqp", "started" if ready else "known").inc()
        if ready:
            log.info("event.started", task=ready[0].task_id, pipeline=pipeline.name, bucket=event.bucket, key=event.key)
        return due


def _dead(delivery: Delivery, error: InvalidEvent) -> Publication:
    log.warning("notification.invalid", reason=error.message)
    NOTIFICATIONS.labels("amqp", "invalid").inc()
    return letters.dead(delivery.body, queue=topology.NOTIFICATIONS, error=error)
