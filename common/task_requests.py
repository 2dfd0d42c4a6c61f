"""What a person asks of a task: to end it, or to try again what failed.

Both take an open transaction and decide under the lock of the task's row.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Row, text

from common import tasks
from common.errors import Conflict, NotFound
from common.status import Status
from common.steps import StepRef

_DELETE = "DOCUMENT_DELETE"


def cancel(connection: Connection, task_id: str) -> str:
    """A person wants no more of it; returns its status, CANCELLED. Again: the same. `Conflict` if it cannot be."""
    task = _locked(connection, task_id)
    if task.type == _DELETE:
        raise Conflict(
            "The task that deletes a document cannot be cancelled: what it left would be in nobody's sight.",
            code="NOT_CANCELLABLE",
            status=task.status,
        )
    if task.status in (Status.COMPLETED, Status.FAILED):
        raise Conflict(f"The task has ended already: it is {task.status}.", code="TASK_ENDED", status=task.status)
    tasks.cancel(connection, [task_id], code="CANCELLED", message="Cancelled on request.")
    return Status.CANCELLED


def retry(connection: Connection, task_id: str) -> list[StepRef]:
    """A FAILED task goes on at the step that failed; returns the messages to send. `Conflict` if not.

    What earlier steps and batches made is used again; attempts are counted anew.
    """
    _lock_key(connection, task_id)
    task = _locked(connection, task_id)
    if task.status != Status.FAILED:
        raise _not_failed(task.status)
    if refusal := connection.execute(_RETRY_REFUSED, {"task": task_id}).scalar():
        raise Conflict(_REFUSALS[refusal], code=refusal)
    connection.execute(
        text("""
            UPDATE tasks SET status = 'RUNNING', completed_at = NULL, error_code = NULL, error_message = NULL
            WHERE id = :task
        """),
        {"task": task_id},
    )
    ready = connection.execute(
        text("""
            UPDATE task_details
            SET status = CASE WHEN batch = 0 AND batches IS NOT NULL THEN 'RUNNING' ELSE 'PENDING' END,
                attempt = 0, error_code = NULL, error_message = NULL, completed_at = NULL,
                started_at = CASE WHEN batch = 0 AND batches IS NOT NULL THEN now() END,
                not_before = NULL, admitted_at = NULL, published_at = NULL, owner = NULL, lease_until = NULL,
                ready_at = CASE WHEN ready_at IS NOT NULL THEN now() END
            WHERE task_id = :task AND status NOT IN ('COMPLETED', 'SKIPPED')
                AND step_order = (SELECT min(step_order) FROM task_details WHERE task_id = :task AND status = 'FAILED')
            RETURNING task_id, step_order, step_name, batch, lane, ready_at
        """),
        {"task": task_id},
    )
    return [StepRef(*row[:5]) for row in ready if row.ready_at is not None]


_REFUSALS = {
    "NEVER_UPLOADED": "Its object never arrived: upload it again.",
    "DOCUMENT_DELETED": "Its document was deleted meanwhile.",
    "SUPERSEDED": "A newer task of the document took this one's place.",
    "ARTIFACTS_GONE": "What its earlier steps made has been cleared away: reprocess the document.",
}
# Why a task cannot be tried again, as the key of a refusal above; NULL: it can.
REFUSAL = f"""
    CASE
        WHEN NOT EXISTS (SELECT FROM task_details WHERE task_id = task.id AND ready_at IS NOT NULL)
            THEN 'NEVER_UPLOADED'
        WHEN task.tidied_at IS NOT NULL THEN 'ARTIFACTS_GONE'
        WHEN task.type = '{_DELETE}' THEN NULL
        WHEN NOT EXISTS (SELECT FROM documents WHERE id = task.document_id AND deleted_at IS NULL)
            THEN 'DOCUMENT_DELETED'
        WHEN NOT EXISTS (SELECT FROM document_versions
                         WHERE (document_id, version, task_id) = (task.document_id, task.version, task.id))
            OR EXISTS (SELECT FROM document_versions
                       WHERE document_id = task.document_id AND version > task.version AND etag IS NOT NULL)
            THEN 'SUPERSEDED'
        END
"""  # noqa: S608 - of the constant above
_RETRY_REFUSED = text(f"SELECT {REFUSAL} FROM tasks AS task WHERE task.id = :task")  # noqa: S608


def _not_failed(status: str) -> Conflict:
    if status == Status.CANCELLED:
        return Conflict(
            "A cancelled task stays cancelled: POST /documents/{document_id}/reprocess makes a new one.",
            code="TASK_CANCELLED",
            status=status,
        )
    return Conflict(
        f"Only a task that failed can be tried again; this one is {status}.", code="NOT_FAILED", status=status
    )


def _lock_key(connection: Connection, task_id: str) -> None:
    """Nothing arrives for the task's document, nor is it removed, before this transaction ends.

    In the order in which arrivals and removals lock the two.
    """
    document = "SELECT {} FROM documents WHERE id = (SELECT document_id FROM tasks WHERE id = :task)"
    key_of = document.format("bucket_name, object_key")
    for statement in (
        f"SELECT FROM events_seen WHERE (bucket_name, object_key) = ({key_of}) FOR NO KEY UPDATE",
        f"{document.format('')} FOR NO KEY UPDATE",
    ):
        connection.execute(text(statement), {"task": task_id})


def _locked(connection: Connection, task_id: str) -> Row[Any]:
    row = connection.execute(
        text("SELECT type, status FROM tasks WHERE id = :task FOR NO KEY UPDATE"), {"task": task_id}
    ).one_or_none()
    if row is None:
        raise NotFound(f"There is no task {task_id!r}.")
    return row
