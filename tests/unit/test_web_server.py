"""How the API's sockets are set."""

from __future__ import annotations

import socket

from starlette.applications import Starlette

from common.settings import Settings
from deploy.local.state import free_port
from router.web.server import make_server


def test_an_answers_body_does_not_wait_until_its_head_is_acknowledged() -> None:
    _, listener = make_server(Starlette(), Settings(api_port=free_port()))
    listener.listen()
    with listener, socket.create_connection(listener.getsockname()), listener.accept()[0] as accepted:
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
