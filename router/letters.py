"""The publications that the router sends: a step's message, one that waits, one that is given up on."""

from __future__ import annotations

from datetime import UTC, datetime

from common.errors import BrigadeError
from common.telemetry import DEAD_LETTERS
from router import topology
from router.broker import Publication
from router.message import Message, encode

_HEADER_CHARACTERS = 2000


def to_step(message: Message) -> Publication:
    return Publication(topology.STEPS, message.step, encode(message))


def later(key: str, body: bytes, seconds: float) -> Publication:
    """Comes back under this routing key after about so long."""
    return Publication(topology.rung(topology.rung_for(seconds)), key, body)


def dead(body: bytes, *, queue: str, error: BrigadeError) -> Publication:
    """The message as it came, with why it is here."""
    DEAD_LETTERS.labels(error.code).inc()
    headers = {
        "brigade-code": error.code,
        # A reason may quote a document, and documents hold halves of surrogate pairs, which AMQP does not.
        "brigade-reason": error.message[:_HEADER_CHARACTERS].encode(errors="replace").decode(),
        "brigade-queue": queue,
        "brigade-died-at": datetime.now(UTC).isoformat(),
    }
    return Publication(topology.DEAD, queue, body, headers)
