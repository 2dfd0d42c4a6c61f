from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from common.errors import ConfigurationError
from deploy.local import api_port
from deploy.local.state import is_free


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    monkeypatch.setattr(api_port, "_PATIENCE_SECONDS", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def test_a_forced_port_is_taken() -> None:
    port = free_port()
    assert api_port.choose({"BRIGADE_API_PORT": str(port)}, {}) == port


def test_a_forced_port_that_another_has_is_an_error_that_names_it(taken: int) -> None:
    with pytest.raises(ConfigurationError, match=f"BRIGADE_API_PORT={taken}: this port is taken"):
        api_port.choose({"BRIGADE_API_PORT": str(taken)}, {})


@pytest.mark.parametrize("wrong", ["0", "-1", "65536", "http", "80 80"])
def test_a_forced_port_that_is_none_is_an_error(wrong: str) -> None:
    with pytest.raises(ConfigurationError, match="from 1 to 65535"):
        api_port.choose({"BRIGADE_API_PORT": wrong}, {})


def test_the_port_of_the_last_run_is_taken_again() -> None:
    port = free_port()
    assert api_port.choose({}, {"BRIGADE_URL": f"http://127.0.0.1:{port}"}) == port


def test_if_another_has_it_by_now_a_free_one_is_found(taken: int) -> None:
    port = api_port.choose({}, {"BRIGADE_URL": f"http://127.0.0.1:{taken}"})
    assert port != taken
    assert is_free(port)


def test_a_held_port_is_free_for_nobody_else() -> None:
    port = free_port()
    with api_port.hold(port):
        assert not is_free(port)
    assert is_free(port)


def test_a_held_port_refuses_connections_at_once() -> None:
    port = free_port()
    with api_port.hold(port), pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=5)
