"""How uvicorn serves the API."""

from __future__ import annotations

import socket
from functools import partial
from typing import Any, cast

import uvicorn
from starlette.types import ASGIApp

from common.settings import Settings
from router.web.heads import PunctualProtocol

_GRACE_SECONDS = 4
_MOST_SOCKET_BYTES = 16 * 1024  # commands have 20, a token a few thousand


def make_server(app: ASGIApp, settings: Settings) -> tuple[uvicorn.Server, socket.socket]:
    """The server, and the socket for its `run(sockets=…)`: bound already. Ends the process if the port is taken."""
    config = uvicorn.Config(
        app,
        host=settings.api_host,
        port=settings.api_port,
        http=cast("Any", partial(PunctualProtocol, head_seconds=settings.request_seconds)),
        log_config=None,
        # At INFO it logs the addresses of WebSockets, which can hold tokens.
        log_level="warning",
        access_log=False,
        server_header=False,
        # Believed from nobody else: an address is what wrong credentials are counted by.
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=settings.trusted_proxies,
        timeout_graceful_shutdown=_GRACE_SECONDS,
        ws="websockets-sansio",
        ws_max_size=_MOST_SOCKET_BYTES,
        ws_ping_interval=settings.stream_ping_seconds,
        ws_ping_timeout=settings.stream_ping_seconds,
        ws_per_message_deflate=False,  # a zlib state each way for each socket is more than all the rest of it
    )
    listener = config.bind_socket()
    # asyncio does so only for sockets of its own making; else an answer's body waits 40 ms for its head to be acked.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        # A client that was dropped for taking nothing still has bytes under way: Linux would keep them for ever.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(1000 * settings.stream_send_seconds))
    return uvicorn.Server(config), listener
