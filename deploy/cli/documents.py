"""`brigade upload`, `documents`, `download` and `delete`: what a user of the API does."""

from __future__ import annotations

from enum import StrEnum
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.filesize import decimal
from rich.text import Text

from common.errors import BrigadeError, ConfigurationError, Conflict
from common.filenames import clean_filename
from deploy.cli.configuration import connect
from deploy.cli.output import JsonOption, complain, emit, err, out, table
from deploy.cli.progress import document_bars, short
from deploy.cli.uploads import Outcome, Uploads, files_in
from deploy.client import Document

BaseOption = Annotated[str | None, typer.Option("--kb", metavar="NAME", help="A knowledge base: its name or its id.")]


# Enough to tell one document from another.
_ID_CHARACTERS = 8


class State(StrEnum):
    PENDING = "pending"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


def upload(
    paths: Annotated[
        list[Path], typer.Argument(metavar="FILE|DIR…", exists=True, help="Files, or directories of them.")
    ],
    wait: Annotated[bool, typer.Option("--wait", help="Stay until each can be searched, or has failed.")] = False,
    kb: BaseOption = None,
    again: Annotated[bool, typer.Option("--again", help="Send files too that are there already.")] = False,
    metadata: Annotated[
        str | None, typer.Option("--metadata", metavar="JSON", help="An object, kept with each document.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Upload files; with --json one line for each, as it is done.

    Called again after a break it goes on where it was: what has arrived is not sent again.
    """
    files = files_in(paths)
    if not files:
        raise ConfigurationError("There is no file to upload in there.")
    described = _object(metadata)

    def on_end(outcome: Outcome) -> None:
        if json:
            emit(outcome)
        else:
            _print_outcome(outcome)

    with connect() as client, document_bars(err) as bars:
        uploads = Uploads(client, bars, on_end, knowledge_base=kb, metadata=described, again=again)
        well = uploads.run(files, wait=wait)
    if not well:
        raise typer.Exit(1)


def documents(
    kb: BaseOption = None,
    status: Annotated[State | None, typer.Option("--status", help="Only those in this state.")] = None,
    q: Annotated[str | None, typer.Option("--q", metavar="WORD", help="Only those with this in their name.")] = None,
    parent: Annotated[
        str | None, typer.Option("--parent", metavar="DOCUMENT", help="Only what this archive or e-mail held.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="How many at most.")] = 50,
    json: JsonOption = False,
) -> None:
    """List documents, the newest first."""
    with connect() as client:
        found = client.documents.list(knowledge_base=kb, status=status and status.name, q=q, parent_id=parent)
        shown = list(islice(found, limit))
        more = next(found, None) is not None
    if json:
        emit(shown)
        return
    rows = [(d.id, d.processing_status, d.file_type, _size(d), _name(d, parent)) for d in shown]
    table(["document", "status", "type", "size", "name"], rows)
    if more:
        err.print(Text("There are more: see --limit, --q, --status, --kb, --parent.", "dim"))


def download(
    document_id: Annotated[str, typer.Argument(metavar="DOCUMENT")],
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE", help="Save it as this; else by its own name.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Save a document's file."""
    with connect() as client:
        link = client.documents.link(document_id)
        # A name of somebody else's making: no path, no hidden file, and nothing of ours is overwritten.
        path = output or Path(clean_filename(link.document_name).lstrip(".") or document_id)
        if not output and path.exists():
            raise Conflict(f"{path} is there already: name another file with -o.")
        total = client.documents.get(document_id).file_size
        try:
            with document_bars(err) as bars:
                bar = bars.add_task(short(path.name), total=total, bytes=True, now="receiving")
                client.documents.save(link, path, lambda count: bars.advance(bar, count))
        except OSError as error:
            raise Conflict(f"{path} cannot be written: {error.strerror}.") from error
    if json:
        emit({"document_id": document_id, "version": link.version, "file": str(path)})
    else:
        out.print(Text.assemble(("✓ ", "green"), str(path)), soft_wrap=True)


def delete(
    document_ids: Annotated[list[str], typer.Argument(metavar="DOCUMENT…")],
    wait: Annotated[bool, typer.Option("--wait", help="Stay until nothing is left of them.")] = False,
    json: JsonOption = False,
) -> None:
    """Delete documents everywhere; with --json one line for each. They are out of sight at once."""
    well = True
    with connect() as client:
        begun: dict[str, str] = {}
        for document_id in dict.fromkeys(document_ids):
            try:
                begun[client.documents.delete(document_id).task_id] = document_id
            except BrigadeError as error:
                complain(f"{document_id}: {error.message}")
                well = False
        if not wait:
            for task_id, document_id in begun.items():
                _print_deletion(document_id, task_id, None, json)
        elif begun:
            for task in client.watch(*begun):
                if task.ended:
                    _print_deletion(begun[task.task_id], task.task_id, task.status, json)
                    if task.status != "COMPLETED":
                        complain(f"{begun[task.task_id]}: {task.reason}")
                        well = False
    if not well:
        raise typer.Exit(1)


def _object(metadata: str | None) -> dict[str, Any] | None:
    if metadata is None:
        return None
    try:
        return msgspec.json.decode(metadata, type=dict[str, Any])
    except msgspec.MsgspecError as error:
        raise typer.BadParameter(f"--metadata is no JSON object: {error}.") from error


def _size(document: Document) -> str:
    return "" if document.file_size is None else decimal(document.file_size)


def _name(document: Document, asked: str | None) -> str:
    """With the beginning of what it was in, unless that was asked for: --json has all of it."""
    if document.parent_id in (None, asked):
        return document.name
    return f"{document.name}\nin {document.parent_id[:_ID_CHARACTERS]}"


def _print_outcome(outcome: Outcome) -> None:
    name = Path(outcome.file).name
    if outcome.error:
        complain(f"{name}: {outcome.error}")
        return
    if outcome.duplicate:
        said = f"is there already, as {outcome.document_id}; --again uploads it all the same"
    else:
        said = "can be searched" if outcome.status else f"uploaded; brigade status --wait {outcome.task_id}"
    out.print(Text.assemble(("✓ ", "green"), name, (f"  {said}", "dim")), soft_wrap=True)


def _print_deletion(document_id: str, task_id: str, status: str | None, json: bool) -> None:
    if json:
        emit({"document_id": document_id, "task_id": task_id, "status": status})
    elif status in (None, "COMPLETED"):
        said = "is deleted" if status else f"is being deleted; brigade status --wait {task_id}"
        out.print(Text.assemble(("✓ ", "green"), document_id, (f"  {said}", "dim")), soft_wrap=True)
