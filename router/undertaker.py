"""Letters out of `brigade.dead`, into Postgres, where people see them. Acked when they are there, and counted once.

Whatever a sender put into a message must not stop this: neither headers that are missing or of odd kinds, nor a body.
"""

from __future__ import annotations

import queue
import re
import threading
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog

from common import dead_letters
from common.db import Database
from common.dead_letters import MAX_REASON_CHARACTERS, Letter
from common.errors import InvalidMessage, Unavailable
from common.telemetry import DEAD_LETTERS
from router import topology
from router.broker import Broker, Delivery
from router.message import decode

log = structlog.get_logger()

# One at a time: a message can have as many bytes as RabbitMQ lets through, which is 128 MiB.
PREFETCH = {topology.DEAD: 1}

_AGAIN_SECONDS = 2.0
_LOOK_SECONDS = 1.0
_CODE = re.compile(r"[A-Z][A-Z0-9_]{0,63}")
# What is larger is no step's message, and need not be read to see that.
_MAX_MESSAGE_BYTES = 4096
_MAX_ID = 200
# Clocks differ by so much at most; a time that is later is none.
_AHEAD = timedelta(days=1)

_UNKNOWN = "UNKNOWN"
_BROKER_REASONS = {
    "delivery_limit": "RabbitMQ delivered it {limit} times, and whoever had it died or lost its connection each time.",
    "rejected": "It was rejected.",
    "expired": "It was not worked off in time.",
    "maxlen": "Its queue was full.",
}


class Undertaker:
    """`receive` takes deliveries on the broker's thread; `keep` writes them down, in a thread of its own."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: queue.SimpleQueue[Delivery] = queue.SimpleQueue()

    def receive(self, delivery: Delivery) -> None:
        self._waiting.put(delivery)

    def keep(self, broker: Broker, stop: threading.Event) -> None:
        """Keep what comes until `stop` is set."""
        while not stop.is_set():
            try:
                delivery = self._waiting.get(timeout=_LOOK_SECONDS)
            except queue.Empty:
                continue
            while not self.handle(broker, delivery) and not stop.wait(_AGAIN_SECONDS):
                pass

    def handle(self, broker: Broker, delivery: Delivery) -> bool:
        """Write the letter down and ack it. False: it is to be tried again."""
        try:
            self._write(delivery)
        except Unavailable as error:
            log.warning("letter.put_off", reason=error.message)
            return False
        except Exception as error:
            log.error("letter.put_off", exc_info=error)
            return False
        broker.ack(delivery)
        return True

    def _write(self, delivery: Delivery) -> None:
        try:
            self._keep(letter_of(delivery))
        except Unavailable:
            raise
        except Exception as error:
            log.error("letter.not_understood", exc_info=error)
            self._keep(Letter("", delivery.body, _UNKNOWN, "What it says of itself could not be kept."))

    def _keep(self, letter: Letter) -> None:
        with self._database.transaction() as connection:
            letter_id = dead_letters.keep(connection, letter)
        log.warning("letter.kept", letter=letter_id, queue=letter.queue, code=letter.code, task=letter.task_id)


def letter_of(delivery: Delivery) -> Letter:
    """What is known of it: by the headers that router/letters.py wrote, or those of RabbitMQ. Never raises."""
    told = {name: value for name, value in delivery.headers.items() if isinstance(name, str)}
    code, died = _text(told.get("brigade-code")), _death(told)
    if code:
        source = _queue(told.get("brigade-queue"))
        reason = _text(told.get("brigade-reason"))
        died_at = _moment(told.get("brigade-died-at"))
    elif died:
        how = _text(died.get("reason")) or "unknown"
        source, code = _queue(died.get("queue")), how.upper()
        reason = _BROKER_REASONS.get(how, "RabbitMQ gave it up.").format(limit=topology.DELIVERY_LIMIT)
        died_at = _moment(died.get("time"))
        DEAD_LETTERS.labels("BROKER").inc()
    else:
        source, code, reason, died_at = "", _UNKNOWN, "It came without a word of what it died of.", None
    # Publishers of ours send a letter under its queue's name.
    source = source or _queue(delivery.key)
    code = code if _CODE.fullmatch(code) else _UNKNOWN
    return Letter(source, delivery.body, code, reason, died_at, *_run(source, delivery.body))


def _run(source: str, body: bytes) -> tuple[str | None, str | None, int]:
    """Task, step and batch, if it is a step's message."""
    if source == topology.NOTIFICATIONS or len(body) > _MAX_MESSAGE_BYTES:
        return None, None, 0
    try:
        message = decode(body)
    except InvalidMessage:
        return None, None, 0
    if len(message.task_id) > _MAX_ID or len(message.step) > _MAX_ID or not 0 <= message.batch < 1 << 31:
        return None, None, 0
    return message.task_id, message.step, message.batch


def _death(told: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The entry of RabbitMQ's `x-death` that brought it here: waiting on the ladder leaves some too."""
    deaths = told.get("x-death")
    if not isinstance(deaths, list):
        return None
    known = [one for one in deaths if isinstance(one, dict)]
    return next((one for one in known if one.get("reason") != "expired"), known[0] if known else None)


def _text(value: object) -> str:
    return value[:MAX_REASON_CHARACTERS] if isinstance(value, str) else ""


def _queue(value: object) -> str:
    """A queue of ours, or nothing: whatever else a sender calls it is not worked off here, nor is where it lies."""
    return value if isinstance(value, str) and value in topology.queue_names() and value != topology.DEAD else ""


def _moment(value: object) -> datetime | None:
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return None
    if not isinstance(value, datetime):
        return None
    try:
        moment = value.replace(tzinfo=value.tzinfo or UTC).astimezone(UTC)
        return moment if moment < datetime.now(UTC) + _AHEAD else None
    except OverflowError:
        return None
