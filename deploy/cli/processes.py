"""`brigade up`, `api`, `worker`, `scheduler` and `migrate`: what runs. Imports are late: other commands are quick."""

from __future__ import annotations

import socket
from contextlib import suppress
from typing import Annotated

import typer

from deploy.cli.configuration import settings
from deploy.cli.output import JsonOption, emit, err

_API_GRACE_SECONDS = 4
_MOST_SOCKET_BYTES = 16 * 1024  # commands have 20, a token a few thousand


def up(
    demo: Annotated[bool, typer.Option("--demo/--no-demo", help="Show a sample document going through.")] = True,
    json: JsonOption = False,
) -> None:
    """Start everything on this machine, show a sample going through, and stay until Ctrl-C."""
    from deploy.local.stack import up as run

    raise typer.Exit(run(demo=demo, json=json))


def api() -> None:
    """Run the HTTP side: uploads, status, search, the store's webhook."""
    import uvicorn

    from router.app import create_app

    config = settings()
    serving = uvicorn.Config(
        create_app(config),
        host=config.api_host,
        port=config.api_port,
        log_config=None,
        # At INFO it logs the addresses of WebSockets, which can hold tokens.
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=_API_GRACE_SECONDS,
        ws="websockets-sansio",
        ws_max_size=_MOST_SOCKET_BYTES,
        ws_ping_interval=config.stream_ping_seconds,
        ws_ping_timeout=config.stream_ping_seconds,
        ws_per_message_deflate=False,  # a zlib state each way for each socket is more than all the rest of it
    )
    listener = serving.bind_socket()
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        # What was dropped for taking nothing still has bytes under way, and would otherwise be kept for its sake.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(1000 * config.stream_send_seconds))
    server = uvicorn.Server(serving)
    with suppress(KeyboardInterrupt):
        server.run(sockets=[listener])
    if not server.started:
        raise typer.Exit(1)


def worker(
    functions: Annotated[str, typer.Option(metavar="A,B", help="Only these functions; all if left out.")] = "",
) -> None:
    """Run steps from the queues."""
    from router.worker import main

    main(settings(), [name.strip() for name in functions.split(",") if name.strip()] or None)


def scheduler() -> None:
    """Run what happens by the clock: unsent messages, lost leases."""
    from router.scheduler import main

    main(settings())


def migrate(json: JsonOption = False) -> None:
    """Prepare the servers: tables, an admin's key, bucket, notification rules, collection, queues. May be repeated."""
    from deploy.migrate import prepare

    made = prepare(settings())
    if json:
        emit({"status": "prepared", "api_key": made})
        return
    err.print("Everything is prepared.")
    if made:
        err.print("An API key was made; it is shown this once:")
        typer.echo(made)
