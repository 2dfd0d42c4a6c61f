"""`brigade functions`, `queues` and `invoke`: what is there, what waits, and one function by itself."""

from __future__ import annotations

import inspect
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from common.errors import NotFound, Unavailable
from deploy.cli.configuration import settings
from deploy.cli.output import JsonOption, emit, table

if TYPE_CHECKING:
    from common.settings import Settings


def functions(json: JsonOption = False) -> None:
    """List pipelines, their steps and the functions that do them."""
    from router import topology
    from router.table import PIPELINES

    rows = [
        {
            "pipeline": pipeline.name,
            "step": step.name,
            "function": step.function.__name__ if step.function else None,
            "queue": topology.step_queue(step.name) if step.function else None,
            "does": _first_line(step.function),
        }
        for pipeline in PIPELINES.values()
        for step in pipeline.steps
    ]
    _print(rows, json)


def queues(json: JsonOption = False) -> None:
    """List the queues: messages that are ready, who consumes them, and dead letters that wait for somebody.

    Exit code 1 if Postgres, which has the dead letters, does not answer.
    """
    from router import topology

    config = settings()
    found = depths(config, topology.queue_names())
    try:
        dead, missing = _open_letters(config), None
    except Unavailable as error:
        dead, missing = {}, error
    rows = [
        {"queue": name, "ready": ready, "consumers": consumers, "dead": None if missing else dead.pop(name, 0)}
        for name, ready, consumers in found
    ]
    # Of these nobody knows where they were to go.
    rows += [{"queue": name, "ready": None, "consumers": None, "dead": count} for name, count in dead.items()]
    _print(rows, json)
    if missing:
        raise missing


def invoke(
    function: Annotated[str, typer.Argument(metavar="FUNCTION")],
    file: Annotated[str, typer.Argument(metavar="FILE", help="Its input as JSON lines; -: standard input.")],
    json: JsonOption = False,  # noqa: ARG001 its output is JSON lines in any case
) -> None:
    """Run one function on a file of its input, and print its output as JSON lines."""
    from common.services import Services
    from router.invoke import invoke as run
    from router.table import FUNCTIONS

    if function not in FUNCTIONS:
        raise NotFound(f"There is no function {function}. There are: {', '.join(sorted(FUNCTIONS))}.")
    try:
        raw = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except OSError as error:
        raise NotFound(f"{file} cannot be read: {error.strerror}.") from error
    with closing(Services(settings())) as services:
        for line in run(FUNCTIONS[function], raw, services):
            typer.echo(line.rstrip(b"\n"))


def _open_letters(config: Settings) -> dict[str, int]:
    from common import dead_letters
    from common.db import Database

    database = Database(config, connections=1)
    try:
        with database.transaction() as connection:
            return dead_letters.count_open(connection)
    finally:
        database.close()


def depths(config: Settings, names: list[str]) -> list[tuple[str, int | None, int | None]]:
    """Ready messages and consumers of each queue, None where a queue is not declared. Raises `Unavailable`."""
    import pika
    from pika.exceptions import AMQPError, ChannelClosedByBroker

    from router.broker import nodes_of

    nodes = nodes_of(config.amqp_url.get_secret_value(), timeout_seconds=config.server_timeout_seconds)
    found: list[tuple[str, int | None, int | None]] = []
    try:
        with closing(pika.BlockingConnection(nodes)) as connection:
            for name in names:
                try:
                    # A channel each: RabbitMQ closes the channel that asked for a queue that is not there.
                    with connection.channel() as channel:
                        told = channel.queue_declare(name, passive=True).method
                    found.append((name, told.message_count, told.consumer_count))
                except ChannelClosedByBroker:
                    found.append((name, None, None))
    except (AMQPError, OSError) as error:
        at = ", ".join(f"{node.host}:{node.port}" for node in nodes)
        raise Unavailable(f"RabbitMQ does not answer at {at}: {error or type(error).__name__}.") from error
    return found


def _first_line(function: Any) -> str:
    return (inspect.getdoc(function) or "").partition("\n")[0] if function else ""


def _print(rows: list[dict[str, Any]], json: bool) -> None:
    if json:
        emit(rows)
    else:
        table(list(rows[0]) if rows else [], [list(row.values()) for row in rows])
