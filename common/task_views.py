"""Tasks as clients see them: the contract's shape, read for one or many at a time."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Connection, text

from common import estimates, waiting
from common.estimates import Measured, Unfinished
from common.waiting import Facts


class StepView(msgspec.Struct, kw_only=True, frozen=True):
    """`progress` is 0..100; `attempt`: runs begun."""

    step_name: str
    step_order: int
    status: str
    progress: float
    details: dict[str, Any]
    error_code: str | None
    error_message: str | None
    attempt: int
    started_at: datetime | None
    completed_at: datetime | None


class TaskView(msgspec.Struct, kw_only=True, frozen=True):
    """`overall_progress` is the steps' progress by weight, 0..100.

    `waiting_for`: why it does not move, in words; null: it does, or has ended. `estimated_completion_time`: from what
    such steps took here lately; null: nothing was measured, or it waits for what nobody can foresee.
    """

    task_id: str
    document_id: str
    version: int
    knowledge_base_id: str
    type: str
    status: str
    overall_progress: float
    error_code: str | None
    error_message: str | None
    created_at: datetime
    started_at: datetime | None
    completed_at: datetime | None
    estimated_completion_time: datetime | None = None
    waiting_for: str | None = None
    created_by: str
    task_details: list[StepView]


def read_task(connection: Connection, task_id: str) -> TaskView | None:
    return read_tasks(connection, [task_id]).get(task_id)


def read_tasks(connection: Connection, task_ids: Iterable[str]) -> dict[str, TaskView]:
    """These tasks by id; those that do not exist are left out."""
    ids = list(task_ids)
    tasks = connection.execute(
        text("""
            SELECT id AS task_id, document_id, version, knowledge_base_id, type, status, error_code, error_message,
                created_at, started_at, completed_at, created_by
            FROM tasks WHERE id = ANY(:ids)
        """),
        {"ids": ids},
    ).mappings()
    steps = connection.execute(
        text("""
            SELECT task_id, step_name, step_order, status, progress, details, error_code, error_message, attempt,
                weight, started_at, completed_at
            FROM task_details WHERE task_id = ANY(:ids) AND batch = 0 ORDER BY task_id, step_order
        """),
        {"ids": ids},
    ).mappings()
    of_task: dict[str, list[dict[str, Any]]] = {}
    for step in steps:
        row = dict(step)
        of_task.setdefault(row.pop("task_id"), []).append(row)
    found = [dict(task) for task in tasks]
    for task in found:
        task.update(_with_steps(of_task.get(task["task_id"], [])))
    _foresee(connection, found)
    return {task["task_id"]: TaskView(**task) for task in found}


def _with_steps(steps: list[dict[str, Any]]) -> dict[str, Any]:
    weights = [step.pop("weight") for step in steps]
    done = sum(weight * step["progress"] for weight, step in zip(weights, steps, strict=True))
    return {
        "overall_progress": round(done / (sum(weights) or 1), 1),
        "task_details": [StepView(**step) for step in steps],
    }


def _foresee(connection: Connection, tasks: list[dict[str, Any]]) -> None:
    """Tell of those that have not ended what they wait for, and when they will."""
    moving = [task for task in tasks if task["status"] in ("PENDING", "RUNNING")]
    if not moving:
        return
    known = waiting.read(connection, [task["task_id"] for task in moving])
    for task in moving:
        # It may have ended, and gone, between the two statements.
        if facts := known.get(task["task_id"]):
            wait = waiting.why(facts)
            task["waiting_for"] = wait.sentence if wait else None
            if task["status"] == "RUNNING" and (wait is None or wait.foreseeable):
                task["estimated_completion_time"] = _estimate(estimates.measured(connection), task, facts)


def _estimate(measured: Measured, task: dict[str, Any], facts: Facts) -> datetime | None:
    steps: list[StepView] = task["task_details"]
    unfinished = [
        Unfinished(step.step_name, step.progress, step.started_at)
        for step in steps
        if step.status in ("PENDING", "RUNNING")
    ]
    return estimates.completion(measured, unfinished, facts)
