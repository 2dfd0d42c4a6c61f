"""What the fault tests break connections with: a fault of theirs that broke nothing would prove nothing."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from deploy.local.state import free_port
from tests.chaos.courier import Courier
from tests.chaos.proxy import DOWN, UP, Network, Proxy
from tests.processes import wait_until


class Echo:
    """A server that sends back what it is sent."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._connections: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._connections.append(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            while piece := connection.recv(1000):
                connection.sendall(piece)
        except OSError:
            pass

    def close(self) -> None:
        for one in (self._listener, *self._connections):
            one.close()


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    echo, network = Echo(), Network()
    yield network.proxy(echo.port)
    network.close()
    echo.close()


@pytest.fixture
def client(proxy: Proxy) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=30) as connection:
        assert _echoed(connection)
        yield connection


def _echoed(connection: socket.socket) -> bool:
    try:
        connection.sendall(b"hello")
        return connection.recv(1000) == b"hello"
    except ConnectionError:
        return False


def _passes(proxy: Proxy) -> bool:
    """Whether a new connection does. One that is reset may be so while it is being made or after."""
    try:
        with socket.create_connection(("127.0.0.1", proxy.port), timeout=30) as another:
            return _echoed(another)
    except ConnectionResetError:
        return False


def test_what_is_cut_is_reset_and_what_is_new_is_too_until_it_heals(proxy: Proxy, client: socket.socket) -> None:
    proxy.cut()
    with pytest.raises(ConnectionResetError):
        client.recv(1000)
    assert not _passes(proxy)
    proxy.heal()
    assert _passes(proxy)


@pytest.mark.parametrize("direction", [UP, DOWN])
def test_a_black_hole_swallows_without_a_word_and_what_was_sent_arrives_when_it_ends(
    proxy: Proxy, client: socket.socket, direction: str
) -> None:
    proxy.hold([direction])
    client.sendall(b"hello")
    client.settimeout(0.2)
    with pytest.raises(TimeoutError):
        client.recv(1000)
    proxy.heal()
    client.settimeout(30)
    assert client.recv(1000) == b"hello"


def test_a_delay_delays(proxy: Proxy, client: socket.socket) -> None:
    proxy.delay(0.1)
    began = time.monotonic()
    assert _echoed(client)
    assert time.monotonic() - began >= 0.2


class Webhook:
    """Takes what the courier hands on; refuses while `status` says so."""

    def __init__(self) -> None:
        self.taken: list[bytes] = []
        self.status = 200
        here = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                here.taken.append(self.rfile.read(int(self.headers["Content-Length"])))
                self.send_response(here.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Nobody reads it."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def webhook() -> Iterator[Webhook]:
    webhook = Webhook()
    yield webhook
    webhook.close()


@pytest.fixture
def courier(webhook: Webhook) -> Iterator[Courier]:
    courier = Courier(free_port(), webhook.port, "token", seed=1)
    yield courier
    courier.close()


def body(number: int) -> bytes:
    return json.dumps({"Records": [{"s3": {"object": {"sequencer": f"{number:X}"}}}]}).encode()


def test_a_courier_loses_refuses_doubles_and_shuffles(courier: Courier, webhook: Webhook) -> None:
    answers = {}
    for mode in ("lose", "refuse"):
        courier.mode = mode
        answers[mode] = courier.take(body(1))
    assert (answers, webhook.taken) == ({"lose": 200, "refuse": 503}, [])
    courier.mode = "double"
    courier.take(body(2))
    assert webhook.taken == [body(2)] * 2
    courier.mode = "shuffle"
    webhook.taken.clear()
    for number in range(10):
        assert courier.take(body(number)) == 200
    assert webhook.taken == []
    courier.release()
    assert sorted(webhook.taken) == [body(number) for number in range(10)] != webhook.taken


def test_a_courier_tries_what_it_answered_for_until_it_is_taken(courier: Courier, webhook: Webhook) -> None:
    courier.mode, webhook.status = "shuffle", 503
    courier.take(body(1))
    releasing = threading.Thread(target=courier.release)
    releasing.start()
    wait_until(lambda: len(webhook.taken) > 1, seconds=10, what="a second try")
    webhook.status = 200
    releasing.join(timeout=10)
    assert not releasing.is_alive()


def test_a_store_whose_clock_is_slow_tells_earlier_sequencers(courier: Courier, webhook: Webhook) -> None:
    courier.mode = "back"
    courier.take(body(700_000_000_000))
    assert webhook.taken == [body(100_000_000_000)]
