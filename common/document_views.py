"""Documents as clients see them: with their newest version, its task, and the version that search shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, RowMapping, text

# `media_type`: what VALIDATE found, None until it has looked.
_VIEW = """
    SELECT document.id, document.name, version.content_type, version.file_size, version.etag, version.sha256,
        document.bucket_name, document.object_key, version.version, document.knowledge_base_id, document.user_id,
        document.parent_id, document.metadata, task.status AS processing_status, task.error_code,
        task.error_message, version.task_id, document.created_at, document.updated_at, judged.media_type,
        shown.version AS shown_version
    FROM documents AS document
        JOIN LATERAL (
            SELECT * FROM document_versions WHERE document_id = document.id ORDER BY version DESC LIMIT 1
        ) AS version ON true
        JOIN tasks AS task ON task.id = version.task_id
        LEFT JOIN LATERAL (
            SELECT details ->> 'media_type' AS media_type FROM task_details
            WHERE task_id = version.task_id AND step_name = 'VALIDATE' AND batch = 0 LIMIT 1
        ) AS judged ON true
        LEFT JOIN LATERAL (
            SELECT one.version FROM document_versions AS one JOIN tasks ON tasks.id = one.task_id
            WHERE one.document_id = document.id AND tasks.status = 'COMPLETED' ORDER BY one.version DESC LIMIT 1
        ) AS shown ON true
    WHERE document.deleted_at IS NULL
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """What a list of documents is narrowed to; None: not by this. `bases` is always given: nothing else is shown.

    `name_part`: anywhere in the name, in whatever case. A document is of a kind that has one of `media_types`, or,
    until VALIDATE has looked, a name that ends in one of `suffixes`.
    """

    bases: Sequence[str]
    status: str | None = None
    content_type: str | None = None
    media_types: Sequence[str] | None = None
    suffixes: Sequence[str] = ()
    name_part: str | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None
    user_id: str | None = None
    parent_id: str | None = None


def read_document(connection: Connection, document_id: str) -> RowMapping | None:
    return connection.execute(text(f"{_VIEW} AND document.id = :id"), {"id": document_id}).mappings().one_or_none()


def read_documents(
    connection: Connection, wanted: Filter, *, position: dict[str, Any], limit: int
) -> Sequence[RowMapping]:
    """The newest first, from a position of common/paging.py on; one more than `limit`, if there are as many."""
    conditions = [condition for name, condition in _CONDITIONS.items() if getattr(wanted, name) is not None]
    rows = connection.execute(
        text(f"{_VIEW} {' '.join(conditions)} ORDER BY document.created_at DESC, document.id DESC LIMIT :limit"),
        {
            **position,
            "limit": limit + 1,
            "bases": list(wanted.bases),
            "status": wanted.status,
            "content_type": wanted.content_type,
            "media_types": list(wanted.media_types or ()),
            "endings": [f"%{_escaped(suffix)}" for suffix in wanted.suffixes],
            "part": f"%{_escaped(wanted.name_part or '')}%",
            "after": wanted.created_after,
            "before": wanted.created_before,
            "user": wanted.user_id,
            "parent": wanted.parent_id,
        },
    )
    return rows.mappings().all()


# By the filter's field; only those that are set become part of the statement, so that each is planned for itself.
_CONDITIONS = {
    "bases": """
        AND document.knowledge_base_id = ANY(:bases)
        AND (CAST(:after_time AS timestamptz) IS NULL
             OR (document.created_at, document.id) < (:after_time, :after_id))
    """,
    "status": "AND task.status = :status",
    "content_type": "AND version.content_type = :content_type",
    "media_types": """
        AND (judged.media_type = ANY(:media_types)
             OR judged.media_type IS NULL AND document.name ILIKE ANY(:endings ::text[]))
    """,
    "name_part": "AND document.name ILIKE :part",
    "created_after": "AND document.created_at >= :after",
    "created_before": "AND document.created_at < :before",
    "user_id": "AND document.user_id = :user",
    "parent_id": "AND document.parent_id = :parent",
}


def _escaped(part: str) -> str:
    """Without the meaning that LIKE gives to some characters."""
    return part.replace("\\", "\\\\").replace("%", r"\%").replace("_", r"\_")


@dataclass(frozen=True, slots=True)
class VersionRow:
    """A version as its bytes are looked for. `etag` None: they have not arrived."""

    document_id: str
    version: int
    task_id: str
    name: str
    bucket: str
    key: str
    etag: str | None
    store_version_id: str | None
    content_type: str | None
    status: str
    error_message: str | None


def read_version(
    connection: Connection, document_id: str, version: int | None, *, shown: bool = False
) -> VersionRow | None:
    """This version, or else the newest; `shown`: or else the one that search shows, if there is one."""
    row = connection.execute(
        text("""
            SELECT document.id, version.version, version.task_id, document.name, document.bucket_name,
                document.object_key, version.etag, version.store_version_id, version.content_type, task.status,
                task.error_message
            FROM documents AS document
                JOIN document_versions AS version ON version.document_id = document.id
                JOIN tasks AS task ON task.id = version.task_id
            WHERE document.id = :id AND document.deleted_at IS NULL
                AND (CAST(:version AS int) IS NULL OR version.version = :version)
            ORDER BY CASE WHEN :shown THEN task.status = 'COMPLETED' END DESC, version.version DESC LIMIT 1
        """),
        {"id": document_id, "version": version, "shown": shown},
    ).one_or_none()
    return None if row is None else VersionRow(*row)
