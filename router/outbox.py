"""Sending what Postgres says is to be sent. The step's row is the outbox entry: ready, and not yet published.

A mark that is lost costs one message sent twice, which changes nothing. So marks are written in bulk, a little later,
and never for steps that are at work already.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence

import structlog

from common import tasks
from common.db import Database
from common.pipelines import Pipeline
from common.tasks import StepRef
from router import letters
from router.broker import Broker, Publication
from router.message import Message

log = structlog.get_logger()

_RELAY_LIMIT = 500


def messages(pipeline: Pipeline, refs: Sequence[StepRef]) -> list[Message]:
    return [
        Message(pipeline.name, pipeline.steps[ref.step_order - 1].name, ref.task_id, ref.step_order, ref.batch)
        for ref in refs
    ]


class Outbox:
    def __init__(self, database: Database, broker: Broker) -> None:
        self._database = database
        self._broker = broker
        self._sent: list[StepRef] = []
        self._lock = threading.Lock()

    def send(self, outgoing: Sequence[Message], others: Sequence[Publication] = ()) -> None:
        """Publish steps' messages, and other letters with them; returns once RabbitMQ has all of them."""
        self._broker.publish([*map(letters.to_step, outgoing), *others])
        with self._lock:
            self._sent += [message.ref for message in outgoing]

    def flush(self) -> None:
        """Mark what was sent. Call it every second or so."""
        with self._lock:
            sent, self._sent = self._sent, []
        if sent:
            with self._database.transaction() as connection:
                tasks.mark_published(connection, sent)

    def relay(self, older_than_seconds: float) -> int:
        """Send what should have been sent by now: its worker died, or RabbitMQ was away. Returns how many."""
        with self._database.transaction() as connection:
            overdue = tasks.unsent(connection, older_than_seconds=older_than_seconds, limit=_RELAY_LIMIT)
        self.send([Message(kind, step, ref.task_id, ref.step_order, ref.batch) for ref, kind, step in overdue])
        self.flush()
        if overdue:
            log.info("outbox.relayed", messages=len(overdue))
        return len(overdue)
