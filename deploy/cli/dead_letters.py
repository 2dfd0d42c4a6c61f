"""`brigade dead-letters`, `redrive` and `forget`: what was given up on, for who has an admin's key."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import msgspec
import typer

from deploy.cli.configuration import connect
from deploy.cli.output import JsonOption, complain, emit, out, plain
from deploy.client import DeadLetter, LetterInput, Redrive, WholeDeadLetter

QueueOption = Annotated[str | None, typer.Option("--queue", metavar="QUEUE", help="Only those of this queue.")]
CodeOption = Annotated[str | None, typer.Option("--code", metavar="CODE", help="Only those with this code.")]


class State(StrEnum):
    OPEN = "open"
    REDRIVEN = "redriven"
    RESOLVED = "resolved"


def dead_letters(
    letter_id: Annotated[str | None, typer.Argument(metavar="[ID]", help="Show this one whole.")] = None,
    queue: QueueOption = None,
    code: CodeOption = None,
    state: Annotated[State | None, typer.Option("--state", help="Only those; open ones need somebody.")] = None,
    json: JsonOption = False,
) -> None:
    """List the messages that were given up on, or show one with its body and what its function was given."""
    with connect() as client:
        if letter_id is not None:
            whole = client.dead_letters.get(letter_id)
            emit(whole) if json else _show(whole)
            return
        found = list(client.dead_letters.list(queue=queue, code=code, state=state and state.value))
    if json:
        emit(found)
        return
    for one in found:
        _print(one)


def redrive(
    letter_ids: Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="These letters.")] = None,
    queue: QueueOption = None,
    code: CodeOption = None,
    everything: Annotated[bool, typer.Option("--all", help="All that are open.")] = False,
    json: JsonOption = False,
) -> None:
    """Send dead letters again: failed tasks go on, notifications are taken in anew. Twice is as once.

    Exit code 1 if one of them cannot be.
    """
    if [bool(letter_ids), bool(queue or code), everything].count(True) != 1:
        raise typer.BadParameter("Name letters, or a --queue, a --code or both, or say --all.")
    with connect() as client:
        letters = client.dead_letters
        made = letters.redrive_these(letter_ids) if letter_ids else letters.redrive_all(queue=queue, code=code)
    if json:
        emit(made)
    else:
        _tell(made)
    if any(not one.was_done for one in made.skipped):
        raise typer.Exit(1)


def forget(
    letter_ids: Annotated[list[str], typer.Argument(metavar="ID...")],
    json: JsonOption = False,
) -> None:
    """Give dead letters up for good. Tasks that failed stay so."""
    with connect() as client:
        for letter_id in letter_ids:
            client.dead_letters.forget(letter_id)
            if json:
                emit({"id": letter_id, "forgotten": True})
            else:
                _say(f"{letter_id} is forgotten")


def _tell(made: Redrive) -> None:
    _say(f"{made.redriven} sent again, {made.left} still open")
    for one in made.skipped:
        if one.was_done:
            _say(f"{one.id}: {one.reason}")
        else:
            complain(f"{one.id}: {plain(one.reason)} ({one.code})")


def _print(one: DeadLetter) -> None:
    """Not as a table: a reason is long, and an id must come whole, to be given to `redrive`."""
    document = f", of {plain(one.document_name)}" if one.document_name else ""
    times = f", {one.times} times" if one.times > 1 else ""
    _say(f"{one.id}  {one.state}, {one.code} in {_where(one)}{document}, {_when(one)}{times}")
    _say(f"    {plain(one.reason)}")


def _show(one: WholeDeadLetter) -> None:
    facts = {
        "id": one.id,
        "state": one.state,
        "queue": _where(one),
        "code": one.code,
        "reason": plain(one.reason),
        "died": _when(one)
        + (f", {one.times} times, last {one.last_died_at:%Y-%m-%d %H:%M:%S}" if one.times > 1 else ""),
        "redriven": one.redriven_at and f"{one.redriven_at:%Y-%m-%d %H:%M:%S} by {one.redriven_by}",
        "document": one.document_id and f"{plain(one.document_name or '')} ({one.document_id})",
        "task": one.task_id and f"{plain(one.task_id)}, {plain(one.step_name or '')}",
        "input": _input(one.input),
        "body": f"{one.size:,} bytes, as {one.body_format}" + ("" if one.complete else ", of which the beginning"),
    }
    for name, told in facts.items():
        if told:
            _say(f"{name:9} {told}")
    body = msgspec.json.format(msgspec.json.encode(one.body)).decode() if one.body_format == "json" else one.body
    for line in body.splitlines():
        _say(plain(line))


def _input(given: LetterInput) -> str:
    size = "of unknown size" if given.size is None else f"of {given.size:,} bytes"
    match given.kind:
        case "body":
            return "the body"
        case "object":
            return f"the document, {size}"
        case _:
            share = "" if given.last is None else f", of it bytes {given.first:,} to {given.last:,}"
            return f"what {given.step_name} made, {size}{share}"


def _where(one: DeadLetter) -> str:
    return one.queue or "unknown"


def _when(one: DeadLetter) -> str:
    return f"{one.died_at:%Y-%m-%d %H:%M:%S}"


def _say(sentence: str) -> None:
    out.print(sentence, highlight=False, markup=False, soft_wrap=True)
