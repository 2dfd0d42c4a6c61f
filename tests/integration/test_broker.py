"""PikaBroker on a real RabbitMQ: what it confirms is there, and it comes back whatever happens to its connection."""

from __future__ import annotations

import gc
import queue
import socket
import threading
import warnings
from collections.abc import Iterator
from contextlib import closing

import pika
import pytest

from common.errors import Unavailable
from deploy.local.servers import LocalServers
from router import topology
from router.broker import Delivery, PikaBroker, Publication
from tests.processes import wait_until

QUEUE = topology.step_queue("REMOVE")


@pytest.fixture
def received() -> queue.Queue[Delivery]:
    return queue.Queue()


@pytest.fixture
def broker(servers: LocalServers, received: queue.Queue[Delivery]) -> Iterator[PikaBroker]:
    def receive(delivery: Delivery) -> None:
        # A scheduler that other tests share is alive, and sends what they left undone again whenever it likes.
        if delivery.body.startswith(b"{"):
            made.ack(delivery)
        else:
            received.put(delivery)

    made = PikaBroker(servers.rabbitmq.url, timeout_seconds=10, prefetch={QUEUE: 5}, on_delivery=receive)
    made.start()
    assert made.wait_connected(15)
    yield made
    made.close()


def to_remove(body: bytes) -> Publication:
    return Publication(topology.STEPS, "REMOVE", body)


def test_what_is_published_is_delivered_and_what_is_not_acked_comes_again(
    broker: PikaBroker, received: queue.Queue[Delivery]
) -> None:
    broker.publish([to_remove(b"one"), to_remove(b"two")])
    first, second = received.get(timeout=10), received.get(timeout=10)
    assert [first.body, second.body] == [b"one", b"two"]
    broker.ack(first)
    broker.requeue(second)
    again = received.get(timeout=10)
    assert again.body == b"two"
    broker.ack(again)


def test_what_no_queue_takes_is_not_confirmed(broker: PikaBroker) -> None:
    with pytest.raises(Unavailable):
        broker.publish([Publication(topology.STEPS, "NO_SUCH_STEP", b"{}")])
    broker.publish([Publication(topology.DEAD, "", b"{}")])  # the connection has not suffered


def test_a_queue_that_somebody_deleted_is_made_again_and_consumed(
    broker: PikaBroker, received: queue.Queue[Delivery], servers: LocalServers
) -> None:
    with closing(pika.BlockingConnection(pika.URLParameters(servers.rabbitmq.url))) as somebody:
        somebody.channel().queue_delete(QUEUE)
    wait_until(lambda: _published(broker), seconds=20, what="the queue is there again")
    again = received.get(timeout=20)
    assert again.body == b"again"
    broker.ack(again)


def _published(broker: PikaBroker) -> bool:
    try:
        broker.publish([to_remove(b"again")])
    except Unavailable:
        return False
    return True


def test_a_publisher_alone_makes_a_deleted_queue_again(servers: LocalServers) -> None:
    publisher = PikaBroker(servers.rabbitmq.url, timeout_seconds=10)
    publisher.start()
    assert publisher.wait_connected(15)
    try:
        with closing(pika.BlockingConnection(pika.URLParameters(servers.rabbitmq.url))) as somebody:
            somebody.channel().queue_delete(QUEUE)
        with pytest.raises(Unavailable):
            publisher.publish([to_remove(b"one")])
        publisher.publish([to_remove(b"two")])
        with closing(pika.BlockingConnection(pika.URLParameters(servers.rabbitmq.url))) as somebody:
            somebody.channel().queue_purge(QUEUE)
    finally:
        publisher.close()


def test_a_message_that_cannot_be_encoded_costs_only_itself(broker: PikaBroker) -> None:
    with pytest.raises(UnicodeEncodeError):
        broker.publish([Publication(topology.DEAD, "", b"{}", {"brigade-reason": "\ud800"})])
    broker.publish([Publication(topology.DEAD, "", b"{}")])


def test_deliveries_of_a_lost_connection_come_again_and_their_old_selves_are_known(
    broker: PikaBroker, received: queue.Queue[Delivery]
) -> None:
    broker.publish([to_remove(b"held")])
    old = received.get(timeout=10)
    assert broker.is_current(old)
    connection = broker._connection
    assert connection is not None
    connection.add_callback_threadsafe(lambda: connection._impl._transport.abort())
    again = received.get(timeout=20)
    assert again.body == b"held"
    assert not broker.is_current(old)
    broker.ack(old)  # settles nothing
    broker.ack(again)


# pika leaves the sockets that wake its loop to the collector when a handshake fails; ours collects them below.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_server_that_accepts_and_says_nothing_does_not_end_the_connection_thread() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        broker = PikaBroker(f"amqp://127.0.0.1:{port}", timeout_seconds=0.3)
        broker.start()
        silent.settimeout(10)
        held = [silent.accept()[0] for _ in range(3)]  # it gives up and comes back
        assert any(thread.name == "broker" and thread.is_alive() for thread in threading.enumerate())
        broker.close()
        for connection in held:
            connection.close()
    with warnings.catch_warnings(action="ignore", category=ResourceWarning):
        gc.collect()
