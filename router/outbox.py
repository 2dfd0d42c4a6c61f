"""Sending what Postgres says is to be sent. The step's row is the outbox entry: admitted, and not yet published.

A mark that is lost costs one message sent twice, which changes nothing. So marks are written in bulk, a little later,
and never for steps that are at work already.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from functools import partial

import structlog
from sqlalchemy import Connection

from common import lanes
from common.db import Database
from common.errors import Unavailable
from common.failpoints import NONE, Failpoints
from common.lanes import Due
from common.steps import StepRef
from router import letters, topology
from router.broker import Broker, Publication
from router.message import Message

log = structlog.get_logger()

# In one transaction: a confirm takes about a millisecond, and a worker waits for a row for 10 s at most.
_RELAY_LIMIT = 500
_RELAY_LANES = 20


def messages(due: Iterable[Due]) -> list[Message]:
    return [
        Message(one.pipeline, one.ref.step_name, one.ref.task_id, one.ref.step_order, one.ref.batch, one.ref.lane)
        for one in due
    ]


class Outbox:
    """`lane_runs`: so many runs of a lane may be on their way at least; see common/lanes.py."""

    def __init__(self, database: Database, broker: Broker, *, lane_runs: int, failpoints: Failpoints = NONE) -> None:
        self._database = database
        self._broker = broker
        self._failpoints = failpoints
        self._lane_runs = lane_runs
        self._sent: list[StepRef] = []
        self._lock = threading.Lock()

    def admit(self, connection: Connection, ready: Iterable[StepRef]) -> list[Due]:
        """Those of the lanes of `ready` whose turn it is; for the transaction that made these ready, or ended them."""
        return lanes.admit(connection, lanes.of(ready), at_least=self._lane_runs)

    def send(self, due: Sequence[Due], others: Sequence[Publication] = (), told: Sequence[StepRef] = ()) -> None:
        """Publish steps' messages, and other letters with them; returns once RabbitMQ has all of them.

        `told`: of which runs these letters are, if they are not to be sent again by the relay.
        """
        self._broker.publish([*map(letters.to_step, messages(due)), *others])
        with self._lock:
            self._sent += [*(one.ref for one in due), *told]

    def send_now(self, refs: Sequence[StepRef]) -> None:
        """Send what has become ready, as far as it is its turn, and mark it. What fails of it the relay makes good."""
        try:
            with self._database.transaction() as connection:
                due = self.admit(connection, refs)
            self.send(due)
            self.flush()
        except Unavailable as error:
            log.info("outbox.left_to_the_relay", messages=len(refs), reason=error.message)

    def flush(self) -> None:
        """Mark what was sent. Call it every second or so."""
        with self._lock:
            sent, self._sent = self._sent, []
        if sent:
            with self._database.transaction() as connection:
                lanes.mark_published(connection, sent)

    def relay(self, *, unsent_seconds: float, vanished_seconds: float, lost_seconds: float) -> int:
        """Send what should have been sent, or have had an effect, by now. Returns how many.

        Its worker died, RabbitMQ was away, or lost it, or who ended the run before it could not let it in. A message
        too many changes nothing. Found and sent in one transaction, so that what could not be sent is overdue again;
        some at a time, as a worker that has the message waits for the row until all of them are sent.
        """
        steps = topology.step_names()  # there is a queue for these
        ready = self._broker.ready([topology.step_queue(name) for name in steps])
        # Before the others, whose marks would tell of what was sent, and lost, as well.
        total = self._relay(
            partial(
                lanes.overdue,
                steps=steps,
                empty=[name for name in steps if not ready[topology.step_queue(name)]],
                unsent_seconds=unsent_seconds,
                vanished_seconds=vanished_seconds,
                lost_seconds=lost_seconds,
                limit=_RELAY_LIMIT,
            )
        )
        with self._database.transaction() as connection:
            lines = sorted(lanes.waiting(connection, steps))
        for first in range(0, len(lines), _RELAY_LANES):
            some = lines[first : first + _RELAY_LANES]
            total += self._relay(partial(lanes.admit, lanes=some, at_least=self._lane_runs))
        if total:
            log.info("outbox.relayed", messages=total)
        return total

    def _relay(self, find: Callable[[Connection], list[Due]]) -> int:
        with self._database.transaction() as connection:
            found = find(connection)
            self._broker.publish(list(map(letters.to_step, messages(found))))
            if found:
                self._failpoints.reach("after_publish", "RELAY")
        if found:
            self._mark(found)
        return len(found)

    def _mark(self, sent: Iterable[Due]) -> None:
        with self._lock:
            self._sent += [one.ref for one in sent]
        self.flush()
