"""`brigade up`, `api`, `worker`, `scheduler` and `migrate`: what runs. Imports are late: other commands are quick."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Annotated

import typer

from deploy.cli.configuration import settings
from deploy.cli.output import JsonOption, emit, err

_SWITCH_SECONDS = 0.0005  # a sixth more POST /uploads a second than with Python's 5 ms


@contextmanager
def _loading() -> Iterator[None]:
    """To look for garbage while modules load takes a sixth of a start: there is none, and what they are made of stays,
    so that it is not looked through later either."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


NewModelOption = Annotated[
    bool,
    typer.Option("--new-model", help="Process all documents again with the model that BRIGADE_MODEL_DIR names now."),
]


def up(
    demo: Annotated[bool, typer.Option("--demo/--no-demo", help="Show a sample document going through.")] = True,
    new_model: NewModelOption = False,
    json: JsonOption = False,
) -> None:
    """Start everything on this machine, show a sample going through, and stay until Ctrl-C."""
    with _loading():
        from deploy.local.stack import up as run

    raise typer.Exit(run(demo=demo, json=json, new_model=new_model))


def api() -> None:
    """Run the HTTP side: uploads, status, search, the store's webhook."""
    with _loading():
        from router.app import create_app
        from router.web.server import make_server

    config = settings()
    # Each word from Postgres wakes a thread, which waits for the event loop to let go: 5 ms, unless told otherwise.
    sys.setswitchinterval(_SWITCH_SECONDS)
    server, listener = make_server(create_app(config), config)
    with suppress(KeyboardInterrupt):
        server.run(sockets=[listener])
    if not server.started:
        raise typer.Exit(1)


def worker(
    functions: Annotated[str, typer.Option(metavar="A,B", help="Only these functions; all if left out.")] = "",
) -> None:
    """Run steps from the queues."""
    with _loading():
        from router.worker import main

    main(settings(), [name.strip() for name in functions.split(",") if name.strip()] or None)


def scheduler() -> None:
    """Run what happens by the clock: unsent messages, lost leases."""
    with _loading():
        from router.scheduler import main

    main(settings())


def migrate(new_model: NewModelOption = False, json: JsonOption = False) -> None:
    """Prepare the servers: tables, an admin's key, bucket, notification rules, collection, queues. May be repeated."""
    with _loading():
        from deploy.migrate import prepare

    made = prepare(settings(), new_model=new_model)
    if json:
        emit({"status": "prepared", "api_key": made})
        return
    err.print("Everything is prepared.")
    if made:
        err.print("An API key was made; it is shown this once:")
        typer.echo(made)
