"""The publications that the router sends: a step's message, one that waits, one that is given up on."""

from __future__ import annotations

from datetime import UTC, datetime

from common.dead_letters import MAX_REASON_CHARACTERS, Letter
from common.errors import BrigadeError, Conflict
from common.telemetry import DEAD_LETTERS
from router import topology
from router.broker import Broker, Delivery, Publication
from router.message import Message, encode


def to_step(message: Message) -> Publication:
    return Publication(topology.STEPS, message.step, encode(message))


def later(message: Message, seconds: float) -> Publication:
    """Comes back after about so long."""
    return Publication(topology.rung(topology.rung_for(seconds)), message.step, encode(message))


def put_off(delivery: Delivery, seconds: float) -> Publication:
    """The same, of what may be anything. Under its queue's routing key, whichever it came by.

    What a rung cannot route when its time is over stays there, and holds up what comes behind.
    """
    way = topology.way_to(delivery.queue)
    assert way is not None  # nothing else is worked off here
    return Publication(topology.rung(topology.rung_for(seconds)), way[1], delivery.body)


def put_back(broker: Broker, queue: str, body: bytes) -> None:
    """Onto the queue where it died; returns when it is there."""
    way = topology.way_to(queue)
    if way is None:
        raise Conflict(f"Nothing here works off a queue {queue!r}: forget it.", code="UNKNOWN_QUEUE")
    broker.publish([Publication(*way, body)])


def of_step(message: Message, error: BrigadeError) -> Letter:
    """A run that is given up. It is kept in the transaction in which the step fails: neither is without the other."""
    DEAD_LETTERS.labels(error.code).inc()
    return Letter(
        topology.step_queue(message.step),
        encode(message),
        error.code,
        error.message,
        task_id=message.task_id,
        step_name=message.step,
        batch=message.batch,
    )


def dead(body: bytes, *, queue: str, error: BrigadeError) -> Publication:
    """The message as it came, with why it is here."""
    DEAD_LETTERS.labels(error.code).inc()
    headers = {
        "brigade-code": error.code,
        # A reason may quote a document, and documents hold halves of surrogate pairs, which AMQP does not.
        "brigade-reason": error.message[:MAX_REASON_CHARACTERS].encode(errors="replace").decode(),
        "brigade-queue": queue,
        "brigade-died-at": datetime.now(UTC).isoformat(),
    }
    return Publication(topology.DEAD, queue, body, headers)
