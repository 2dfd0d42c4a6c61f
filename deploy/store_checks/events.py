"""The check of the road that events take: from the store, by the webhook or by itself, into RabbitMQ."""

from __future__ import annotations

import time
from contextlib import closing, suppress
from secrets import token_hex
from typing import TYPE_CHECKING

import pika
from pika.exceptions import AMQPError

from deploy.store_checks.check import Check, Lacks
from deploy.store_checks.ground import Ground
from deploy.store_checks.rules import EVENTS_PREFIX, set_rules, unset_rules
from router import topology
from router.stores import s3

if TYPE_CHECKING:
    from pika.adapters.blocking_connection import BlockingChannel

# A target with a queue on disk sends every 3 s; a store that has just learned of a rule may begin a moment later.
_PATIENCE_SECONDS = 15.0


def arrive(ground: Ground) -> str:
    """Listens beside the workers, which pass over these events: their keys are no route's."""
    parameters = pika.URLParameters(ground.settings.amqp_url.get_secret_value())
    parameters.socket_timeout = parameters.stack_timeout = ground.settings.server_timeout_seconds
    try:
        with closing(pika.BlockingConnection(parameters)) as connection:
            channel = connection.channel()
            queue = channel.queue_declare("", exclusive=True).method.queue
            channel.queue_bind(queue, topology.NOTIFICATIONS, routing_key="#")
            took = {arn: _one(ground, channel, queue, arn) for arn in ground.settings.notification_arns}
    except (AMQPError, OSError) as error:
        raise Lacks(f"RabbitMQ does not answer, or has no exchange yet: {error or type(error).__name__}") from error
    return ", ".join(f"{arn} in {seconds * 1000:,.0f} ms" for arn, seconds in took.items())


def _one(ground: Ground, channel: BlockingChannel, queue: str, arn: str) -> float:
    """Seconds from a PUT to its event, by this target alone."""
    key = f"{EVENTS_PREFIX}{token_hex(4)} 报告+1.txt"
    set_rules(ground, [arn])
    try:
        began = time.monotonic()
        ground.put(key, b"1")
        for _, _, body in channel.consume(queue, auto_ack=True, inactivity_timeout=0.2):
            if body is not None:
                events, _ = s3.decode(body)
                if any((one.bucket, one.key) == (ground.bucket, key) for one in events):
                    return time.monotonic() - began
            if time.monotonic() - began > _PATIENCE_SECONDS:
                break
        raise Lacks(f"{arn} told nothing of an object within {_PATIENCE_SECONDS:.0f} s")
    finally:
        with suppress(AMQPError):
            channel.cancel()
        unset_rules(ground)


# Needs RabbitMQ and, where the store's targets are webhooks, the API, so it is tried only when asked for.
EVENTS = Check(
    "notifications arrive",
    arrive,
    "Work begins the moment an object is there",
    instead="The sweep alone finds what is there, every BRIGADE_SWEEP_SECONDS.",
    sets_rules=True,
)
