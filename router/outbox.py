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
from common.errors import Unavailable
from common.failpoints import NONE, Failpoints
from common.steps import StepRef
from router import letters, topology
from router.broker import Broker, Publication
from router.message import Message

log = structlog.get_logger()

_RELAY_LIMIT = 500


def messages(pipeline_name: str, refs: Sequence[StepRef]) -> list[Message]:
    return [Message(pipeline_name, ref.step_name, ref.task_id, ref.step_order, ref.batch) for ref in refs]


class Outbox:
    def __init__(self, database: Database, broker: Broker, failpoints: Failpoints = NONE) -> None:
        self._database = database
        self._broker = broker
        self._failpoints = failpoints
        self._sent: list[StepRef] = []
        self._lock = threading.Lock()

    def send(self, outgoing: Sequence[Message], others: Sequence[Publication] = ()) -> None:
        """Publish steps' messages, and other letters with them; returns once RabbitMQ has all of them."""
        self._broker.publish([*map(letters.to_step, outgoing), *others])
        with self._lock:
            self._sent += [message.ref for message in outgoing]

    def send_now(self, pipeline_name: str, refs: Sequence[StepRef]) -> None:
        """Send the messages of these steps and mark them. What fails of it the relay makes good."""
        try:
            self.send(messages(pipeline_name, refs))
            self.flush()
        except Unavailable as error:
            log.info("outbox.left_to_the_relay", messages=len(refs), reason=error.message)

    def flush(self) -> None:
        """Mark what was sent. Call it every second or so."""
        with self._lock:
            sent, self._sent = self._sent, []
        if sent:
            with self._database.transaction() as connection:
                tasks.mark_published(connection, sent)

    def relay(self, *, unsent_seconds: float, lost_seconds: float) -> int:
        """Send what should have been sent, or have had an effect, by now. Returns how many.

        Its worker died, RabbitMQ was away, or RabbitMQ lost it. A message too many changes nothing. All in one
        transaction, so that what could not be sent is overdue again.
        """
        with self._database.transaction() as connection:
            overdue = tasks.overdue(
                connection,
                steps=topology.step_names(),  # there is a queue for these
                unsent_seconds=unsent_seconds,
                lost_seconds=lost_seconds,
                limit=_RELAY_LIMIT,
            )
            found = [message for ref, pipeline_name in overdue for message in messages(pipeline_name, [ref])]
            self._broker.publish([letters.to_step(message) for message in found])
            if found:
                self._failpoints.reach("after_publish", "RELAY")
        if found:
            log.info("outbox.relayed", messages=len(found))
        return len(found)
