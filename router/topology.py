"""Exchanges and queues: their names from pure functions, their declaration in one place.

A step's message goes to the exchange `brigade.steps` with the step's name as routing key, into the step's queue.
One that must wait goes to the exchange of a ladder's rung, whose queue has one fixed delay and returns it to
`brigade.steps` under the same routing key. (A per-message delay would wait behind the queue's head.)
What is given up on goes to `brigade.dead`, with its cause in its headers.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from common.pipelines import Pipeline
from router.table import PIPELINES

if TYPE_CHECKING:
    from pika.adapters.blocking_connection import BlockingChannel

STEPS = "brigade.steps"
DEAD = "brigade.dead"
NOTIFICATIONS = "s3.notifications"

LADDER_SECONDS = (1, 10, 60, 600)

# After so many deliveries without an ack the broker itself gives a message up. Our own count of attempts comes first;
# this is for messages that kill the worker before it can count.
DELIVERY_LIMIT = 50


@dataclass(frozen=True, slots=True)
class Exchange:
    name: str
    type: str


@dataclass(frozen=True, slots=True)
class Queue:
    """`bindings`: the exchanges and routing keys that lead here."""

    name: str
    bindings: tuple[tuple[str, str], ...]
    arguments: dict[str, Any]


def step_queue(step_name: str) -> str:
    return f"brigade.step.{step_name.lower()}"


def way_to(queue: str) -> tuple[str, str] | None:
    """The exchange and the routing key of messages for this queue, if functions or the ingress work it off."""
    ways = {NOTIFICATIONS: (STEPS, NOTIFICATIONS), **{step_queue(name): (STEPS, name) for name in step_names()}}
    return ways.get(queue)


def rung(seconds: int) -> str:
    """The exchange and the queue of one delay."""
    return f"brigade.retry.{seconds}s"


def _quorum(dead_letter_exchange: str, **more: Any) -> dict[str, Any]:
    """Every argument set, whatever the server's defaults: nothing is dropped, neither at a limit nor on its way on."""
    return {
        "x-queue-type": "quorum",
        "x-delivery-limit": DELIVERY_LIMIT,
        "x-dead-letter-exchange": dead_letter_exchange,
        "x-dead-letter-strategy": "at-least-once",
        "x-overflow": "reject-publish",  # at-least-once demands it
        **more,
    }


def step_names(pipelines: Iterable[Pipeline] = PIPELINES.values()) -> list[str]:
    """The steps that messages make run, later ones of a pipeline last."""
    return list(dict.fromkeys(step.name for pipeline in pipelines for step in pipeline.steps if step.function))


def exchanges() -> list[Exchange]:
    return [
        Exchange(STEPS, "direct"),
        Exchange(DEAD, "fanout"),
        # A store's AMQP target declares this one itself before every publish: type and durability must agree, and an
        # argument such as an alternate exchange would make the two declarations differ.
        Exchange(NOTIFICATIONS, "topic"),
        *(Exchange(rung(seconds), "fanout") for seconds in LADDER_SECONDS),
    ]


def queues() -> list[Queue]:
    return [
        # Under its own name on `brigade.steps` too, so that a notification can wait on the ladder and come back.
        Queue(NOTIFICATIONS, ((NOTIFICATIONS, "#"), (STEPS, NOTIFICATIONS)), _quorum(DEAD)),
        *(Queue(step_queue(name), ((STEPS, name),), _quorum(DEAD)) for name in step_names()),
        *(Queue(rung(s), ((rung(s), ""),), _quorum(STEPS, **{"x-message-ttl": s * 1000})) for s in LADDER_SECONDS),
        # The last station: nothing goes on from here by itself.
        Queue(DEAD, ((DEAD, ""),), {"x-queue-type": "quorum"}),
    ]


def queue_names() -> list[str]:
    return [queue.name for queue in queues()]


def rung_for(seconds: float) -> int:
    """The longest delay of the ladder that is not longer than this, or its shortest."""
    return max((rung for rung in LADDER_SECONDS if rung <= seconds), default=LADDER_SECONDS[0])


def declare(channel: BlockingChannel) -> None:
    """Make all of it, or find it as it should be. Every process does so when it connects."""
    for exchange in exchanges():
        channel.exchange_declare(exchange.name, exchange.type, durable=True)
    for queue in queues():
        channel.queue_declare(queue.name, durable=True, arguments=queue.arguments)
        for exchange_name, key in queue.bindings:
            channel.queue_bind(queue.name, exchange_name, key)
