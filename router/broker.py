"""RabbitMQ over pika. A publish that returns is safe; a delivery is acked on the connection that it came by.

pika is not thread-safe and beats its heart only while it is served. So one thread owns the connection and does
nothing but I/O; handlers run in other threads and reach it through callbacks. The same without a server:
router/fake_broker.py.
"""

from __future__ import annotations

import random
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol, TypeVar

import pika
import structlog
from pika.adapters.blocking_connection import BlockingChannel
from pika.exceptions import AMQPError, NackError, UnroutableError

from common.errors import Unavailable
from common.telemetry import BROKER_UP
from router import properties, topology

log = structlog.get_logger()

T = TypeVar("T")

_RECONNECT_SECONDS = (0.1, 0.5, 1, 2, 5)
# A password may hold a comma too.
_BETWEEN_URLS = re.compile(r",(?=amqps?://)")


@dataclass(frozen=True, slots=True)
class Publication:
    exchange: str
    key: str
    body: bytes
    headers: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Delivery:
    """`tag` and `epoch` say which delivery of which connection this is: an ack of an older connection is dropped."""

    queue: str
    key: str
    body: bytes
    headers: Mapping[str, Any]
    tag: int
    epoch: int


class Broker(Protocol):
    def publish(self, publications: Sequence[Publication]) -> None:
        """Return once the broker has all of them safely; raise `Unavailable` if that cannot be known."""

    def ack(self, delivery: Delivery) -> None:
        """Tell that the delivery is dealt with. May be lost; then it comes again."""

    def requeue(self, delivery: Delivery) -> None:
        """Put the delivery back on its queue."""

    def ready(self, queues: Sequence[str]) -> Mapping[str, int]:
        """How many messages wait in each of these queues: those that a consumer has already do not count."""


def nodes_of(url: str, *, timeout_seconds: float) -> list[pika.URLParameters]:
    """How each node of the cluster is reached; `url`: one, or several with commas between them."""
    nodes = [pika.URLParameters(one) for one in _BETWEEN_URLS.split(url)]
    for node in nodes:
        node.socket_timeout = node.stack_timeout = node.blocked_connection_timeout = timeout_seconds
        node.heartbeat = 30
    return nodes


class PikaBroker:
    """`prefetch`: for each queue to consume, how many deliveries may be under way here.

    `patience_seconds`: how long a publish waits for a connection that is down; if not given, `timeout_seconds`.
    """

    def __init__(
        self,
        url: str,
        *,
        timeout_seconds: float,
        patience_seconds: float | None = None,
        prefetch: Mapping[str, int] | None = None,
        on_delivery: Callable[[Delivery], None] | None = None,
    ) -> None:
        properties.read_any()
        self._nodes = nodes_of(url, timeout_seconds=timeout_seconds)
        self._timeout = timeout_seconds
        self._patience = timeout_seconds if patience_seconds is None else patience_seconds
        self._prefetch = prefetch or {}
        self._on_delivery = on_delivery
        self._connection: pika.BlockingConnection | None = None
        self._channel: BlockingChannel | None = None
        self._epoch = 0
        self._cancelled = False
        self._connected = threading.Event()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="broker", daemon=True)

    def start(self) -> None:
        """Connect in the background, and again whenever the connection breaks."""
        self._thread.start()

    def close(self) -> None:
        """End the connection; what was not acked will be delivered again."""
        self._closing.set()
        connection = self._connection
        if connection is not None:
            try:
                connection.add_callback_threadsafe(lambda: None)  # wakes the I/O thread
            except AMQPError:
                log.debug("broker.already_closed")
        self._thread.join(timeout=self._timeout)

    def wait_connected(self, seconds: float) -> bool:
        return self._connected.wait(seconds)

    def is_current(self, delivery: Delivery) -> bool:
        return delivery.epoch == self._epoch

    def publish(self, publications: Sequence[Publication]) -> None:
        if not publications:
            return
        self._ask(partial(self._publish, publications), self._timeout + len(publications) * 0.01)

    def ready(self, queues: Sequence[str]) -> Mapping[str, int]:
        return self._ask(lambda channel: {name: _depth(channel, name) for name in queues}, self._timeout)

    def _ask(self, what: Callable[[BlockingChannel], T], seconds: float) -> T:
        """What this comes to on the I/O thread. Raises `Unavailable` if that cannot be known."""
        if not self._connected.wait(self._patience):
            raise Unavailable("RabbitMQ does not answer.", server="rabbitmq")
        done: Future[T] = Future()
        try:
            self._call(partial(self._answer, what, done))
            return done.result(timeout=seconds)
        except (AMQPError, OSError, TimeoutError, AssertionError) as error:
            raise Unavailable(f"RabbitMQ did not confirm: {error!r}", server="rabbitmq") from error

    def ack(self, delivery: Delivery) -> None:
        self._settle(delivery, lambda channel: channel.basic_ack(delivery.tag))

    def requeue(self, delivery: Delivery) -> None:
        self._settle(delivery, lambda channel: channel.basic_nack(delivery.tag, requeue=True))

    def _settle(self, delivery: Delivery, how: Callable[[BlockingChannel], None]) -> None:
        def settle() -> None:
            if self._channel is not None and delivery.epoch == self._epoch:
                how(self._channel)

        try:
            self._call(settle)
        except AMQPError:  # the connection broke: it will be delivered again
            log.info("broker.settlement_dropped", queue=delivery.queue)

    def _call(self, what: Callable[[], None]) -> None:
        connection = self._connection
        if connection is None:
            raise AMQPError("not connected")
        connection.add_callback_threadsafe(what)

    # From here on: the I/O thread only.

    def _run(self) -> None:
        failures = 0
        while not self._closing.is_set():
            try:
                self._open()
                failures = 0
                while not self._closing.is_set():
                    self._serve()
                self._shut()
            except Exception as error:  # noqa: BLE001 - pika raises plain exceptions too, and this thread must not end
                self._lost(error)
                self._closing.wait(_RECONNECT_SECONDS[min(failures, len(_RECONNECT_SECONDS) - 1)])
                failures += 1

    def _open(self) -> None:
        # One after the other, beginning with any, so that processes spread over a cluster's nodes.
        self._connection = pika.BlockingConnection(random.sample(self._nodes, len(self._nodes)))
        self._channel = self._connection.channel()
        topology.declare(self._channel)
        self._channel.confirm_delivery()
        self._epoch += 1
        self._cancelled = False
        self._channel.add_on_cancel_callback(self._on_cancel)
        for queue, count in self._prefetch.items():
            self._channel.basic_qos(prefetch_count=count)  # applies to the consumers that follow
            self._channel.basic_consume(queue, partial(self._deliver, queue, self._epoch))
        self._connected.set()
        BROKER_UP.set(1)
        log.info("broker.connected", queues=len(self._prefetch))

    def _serve(self) -> None:
        assert self._connection is not None
        self._connection.process_data_events(time_limit=1)
        if self._cancelled:
            raise AMQPError("a queue that is consumed here was deleted")

    def _on_cancel(self, _: Any) -> None:
        self._cancelled = True

    def _shut(self) -> None:
        self._connected.clear()
        if self._connection is not None and self._connection.is_open:
            self._connection.close()

    def _lost(self, error: Exception) -> None:
        self._connected.clear()
        BROKER_UP.set(0)
        log.warning("broker.disconnected", error=repr(error))
        try:
            self._shut()
        except Exception as failure:  # noqa: BLE001 - it is lost in any case
            log.debug("broker.close_failed", error=repr(failure))

    def _deliver(self, queue: str, epoch: int, _channel: Any, method: Any, told: Any, body: bytes) -> None:
        assert self._on_delivery is not None
        self._on_delivery(Delivery(queue, method.routing_key, body, told.headers or {}, method.delivery_tag, epoch))

    def _answer(self, what: Callable[[BlockingChannel], T], done: Future[T]) -> None:
        assert self._channel is not None
        try:
            answer = what(self._channel)
        except UnroutableError as error:
            done.set_exception(error)
            topology.declare(self._channel)  # somebody deleted its queue
        except (NackError, ValueError) as error:
            done.set_exception(error)  # this message's trouble, not the connection's
        except Exception as error:
            done.set_exception(error)
            raise
        else:
            done.set_result(answer)

    @staticmethod
    def _publish(publications: Sequence[Publication], channel: BlockingChannel) -> None:
        for one in publications:
            channel.basic_publish(
                one.exchange,
                one.key,
                one.body,
                pika.BasicProperties(delivery_mode=2, content_type="application/json", headers=dict(one.headers)),
                mandatory=True,
            )


def _depth(channel: BlockingChannel, queue: str) -> int:
    return int(channel.queue_declare(queue, passive=True).method.message_count)
