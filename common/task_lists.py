"""Many tasks at once: those that fit a filter, newest first, page by page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, text

from common import paging
from common.status import Status
from common.task_views import TaskView, read_tasks


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskFilter:
    """`bases`: the knowledge bases whose tasks may be shown; None: all. Of the others, None does not narrow."""

    bases: Sequence[str] | None
    statuses: Sequence[Status] | None = None
    type: str | None = None
    document_id: str | None = None
    knowledge_base_id: str | None = None
    created_by: str | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None


def page(
    connection: Connection, wanted: TaskFilter, *, cursor: str | None, limit: int
) -> tuple[list[TaskView], str | None]:
    """The page that begins at `cursor`, and the cursor of the next one."""
    values = {
        "bases": None if wanted.bases is None else list(wanted.bases),
        "statuses": None if wanted.statuses is None else list(wanted.statuses),
        "type": wanted.type,
        "document": wanted.document_id,
        "base": wanted.knowledge_base_id,
        "user": wanted.created_by,
        "since": wanted.created_after,
        "until": wanted.created_before,
        "limit": limit + 1,
    }
    rows = connection.execute(_PAGE, values | paging.after(cursor)).mappings().all()
    shown, following = paging.cut(rows, limit)
    ids = [row["id"] for row in shown]
    tasks = read_tasks(connection, ids)
    return [tasks[one] for one in ids if one in tasks], following


_PAGE = text("""
    SELECT id, created_at FROM tasks
    WHERE (CAST(:bases AS text[]) IS NULL OR knowledge_base_id = ANY(:bases))
        AND (CAST(:base AS text) IS NULL OR knowledge_base_id = :base)
        AND (CAST(:statuses AS text[]) IS NULL OR status = ANY(:statuses))
        AND (CAST(:type AS text) IS NULL OR type = :type)
        AND (CAST(:document AS text) IS NULL OR document_id = :document)
        AND (CAST(:user AS text) IS NULL OR created_by = :user)
        AND (CAST(:since AS timestamptz) IS NULL OR created_at >= :since)
        AND (CAST(:until AS timestamptz) IS NULL OR created_at < :until)
        AND (CAST(:after_time AS timestamptz) IS NULL OR (created_at, id) < (:after_time, :after_id))
    ORDER BY created_at DESC, id DESC LIMIT :limit
""")
