"""`brigade upload`, `status` and `search`: what a user of the API does."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from common.errors import ConfigurationError
from deploy.cli.configuration import connect
from deploy.cli.output import JsonOption, complain, emit, err, out, table
from deploy.cli.passages import show
from deploy.cli.progress import TaskView, document_bars, now
from deploy.cli.uploads import Outcome, Uploads, files_in
from deploy.client import Task


class Mode(StrEnum):
    HYBRID = "hybrid"
    DENSE = "dense"
    KEYWORD = "keyword"


def upload(
    paths: Annotated[
        list[Path], typer.Argument(metavar="FILE|DIR…", exists=True, help="Files, or directories of them.")
    ],
    wait: Annotated[bool, typer.Option("--wait", help="Stay until each can be searched, or has failed.")] = False,
    kb: Annotated[str | None, typer.Option("--kb", metavar="NAME", help="The knowledge base to put them in.")] = None,
    json: JsonOption = False,
) -> None:
    """Upload files; with --json one line for each, as it is done."""
    files = files_in(paths)
    if not files:
        raise ConfigurationError("There is no file to upload in there.")

    def on_end(outcome: Outcome) -> None:
        if json:
            emit(outcome)
        else:
            _print_outcome(outcome)

    with connect() as client, document_bars(err) as bars:
        well = Uploads(client, bars, on_end, kb).run(files, wait=wait)
    if not well:
        raise typer.Exit(1)


def status(
    task_id: Annotated[str, typer.Argument(metavar="TASK")],
    wait: Annotated[bool, typer.Option("--wait", help="Stay until it has ended, showing its steps.")] = False,
    json: JsonOption = False,
) -> None:
    """Show how far a task is. Exit code 1 if it failed or was cancelled."""
    with connect() as client:
        task = client.task(task_id)
        if wait and not task.ended:
            with TaskView(err) as view:
                for task in client.watch(task_id):
                    view.show(task)
    if json:
        emit(task)
    else:
        _print_task(task)
    if task.ended and task.status != "COMPLETED":
        complain(task.reason)
        raise typer.Exit(1)


def search(
    query: Annotated[str, typer.Argument(help="A question, or words, in any language the model knows.")],
    top_k: Annotated[int, typer.Option("--top-k", min=1, help="How many passages.")] = 5,
    mode: Annotated[
        Mode, typer.Option("--mode", help="By meaning and words, by meaning only, by words only.")
    ] = Mode.HYBRID,
    json: JsonOption = False,
) -> None:
    """Find passages."""
    with connect() as client:
        answer = client.search(query, top_k=top_k, mode=mode)
    if json:
        emit(answer)
        return
    show(out, query, answer.hits)
    err.print(Text(f"{len(answer.hits)} passages in {answer.took_ms:.0f} ms", "dim"))


def _print_outcome(outcome: Outcome) -> None:
    name = Path(outcome.file).name
    if outcome.error:
        complain(f"{name}: {outcome.error}")
        return
    said = "can be searched" if outcome.status else f"uploaded; brigade status --wait {outcome.task_id}"
    out.print(Text.assemble(("✓ ", "green"), name, (f"  {said}", "dim")), soft_wrap=True)


def _print_task(task: Task) -> None:
    rows = [(s.step_name, s.status, round(s.progress), now(s)) for s in task.task_details]
    table(["step", "status", "%", ""], [*rows, ("overall", task.status, round(task.overall_progress), "")])
