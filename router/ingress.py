"""Notifications in: what stores tell, by webhook or over AMQP, becomes events, and events become tasks.

Both roads lead to the queue `s3.notifications`; here is what empties it. Any event may come never, late, twice or out
of order; common/documents.py decides under a lock whether it is news.
"""

from __future__ import annotations

import structlog

from common import documents
from common.db import Database
from common.errors import Unavailable
from common.events import ObjectCreated, ObjectEvent, ObjectRemoved
from common.failpoints import Failpoints
from common.lanes import Due
from common.objects import ObjectStore
from common.telemetry import NOTIFICATIONS
from router import letters, topology
from router.broker import Broker, Delivery
from router.outbox import Outbox
from router.runtime import put_off
from router.stores import s3
from router.table import DOCUMENT_DELETE, route

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

    def handle(self, delivery: Delivery) -> None:
        """Begin what the notification asks for; what of it cannot be understood goes to the dead with its reason."""
        try:
            events, error = s3.decode(delivery.body)
            for event in events:
                self._outbox.send(self._begin(event))
            if error is not None:
                log.warning("notification.invalid", reason=error.message)
                NOTIFICATIONS.labels("amqp", "invalid").inc()
                self._broker.publish([letters.dead(delivery.body, queue=topology.NOTIFICATIONS, error=error)])
        except Unavailable as down:
            log.warning("notification.put_off", reason=down.message)
            put_off(self._broker, delivery)
            return
        self._failpoints.reach("after_publish", "UPLOAD")
        self._broker.ack(delivery)

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
