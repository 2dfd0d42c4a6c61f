"""`brigade status`, `cancel` and `retry`: what becomes of a document on its way."""

from __future__ import annotations

from typing import Annotated

import typer

from deploy.cli.configuration import connect
from deploy.cli.output import JsonOption, complain, emit, err, out, table
from deploy.cli.progress import TaskView, now
from deploy.client import Task, TaskState

TaskArgument = Annotated[str, typer.Argument(metavar="TASK")]


def status(
    task_id: TaskArgument,
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


def cancel(task_id: TaskArgument, json: JsonOption = False) -> None:
    """End a task for good, within seconds also where it runs."""
    with connect() as client:
        _print_state(client.tasks.cancel(task_id), json)


def retry(task_id: TaskArgument, json: JsonOption = False) -> None:
    """Let a failed task go on at the step that failed."""
    with connect() as client:
        _print_state(client.tasks.retry(task_id), json)


def _print_task(task: Task) -> None:
    rows = [(s.step_name, s.status, round(s.progress), now(s)) for s in task.task_details]
    overall = ("overall", task.status, round(task.overall_progress), task.waiting_for or "")
    table(["step", "status", "%", ""], [*rows, overall])


def _print_state(state: TaskState, json: bool) -> None:
    if json:
        emit(state)
    else:
        out.print(f"{state.task_id} is {state.status}", highlight=False, markup=False, soft_wrap=True)
