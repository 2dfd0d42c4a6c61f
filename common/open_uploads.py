"""Announced uploads until their object is there: gone on with, prolonged, aborted, expired.

All take an open transaction. What ends an upload locks its document first, as an arrival does (common/documents.py), so
whichever comes first decides.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, text

from common import tasks
from common.multipart import part_sizes
from common.uploads import Upload

EXPIRED = "UPLOAD_EXPIRED"
ABORTED = "UPLOAD_ABORTED"


@dataclass(frozen=True, slots=True)
class OpenUpload:
    """An upload as it was announced, and what has become of it. `size` and `part_size` in bytes.

    `task_id`, `status` and `error_code` are those of the document's newest version. `arrived`: the object is there.
    """

    document_id: str
    task_id: str
    bucket: str
    key: str
    size: int
    upload_id: str | None
    part_size: int | None
    status: str = "PENDING"
    error_code: str | None = None
    arrived: bool = False
    expires_at: datetime | None = None

    @property
    def part_sizes(self) -> dict[int, int]:
        """By number; none of an upload that is not multipart."""
        return part_sizes(self.size, self.part_size) if self.part_size else {}


def find(connection: Connection, document_id: str) -> OpenUpload | None:
    """The upload that was announced for this document, be it open still or not. None: no such document."""
    row = (
        connection.execute(
            text("""
                SELECT document.id AS document_id, newest.task_id, document.bucket_name AS bucket,
                    document.object_key AS key, announced.file_size AS size, announced.upload_id,
                    announced.part_size, task.status, task.error_code, newest.etag IS NOT NULL AS arrived,
                    newest.expires_at
                FROM documents AS document
                    JOIN document_versions AS announced ON (announced.document_id, announced.version) = (document.id, 1)
                    JOIN document_versions AS newest ON newest.document_id = document.id
                    JOIN tasks AS task ON task.id = newest.task_id
                WHERE document.id = :id AND document.deleted_at IS NULL
                ORDER BY newest.version DESC LIMIT 1
            """),
            {"id": document_id},
        )
        .mappings()
        .one_or_none()
    )
    return None if row is None else OpenUpload(**row)


def hold(connection: Connection, document_id: str) -> OpenUpload | None:
    """As `find`; until the transaction ends, nothing arrives for it."""
    connection.execute(text("SELECT 1 FROM documents WHERE id = :id FOR UPDATE"), {"id": document_id})
    # A statement of its own: only that sees what whoever held the lock has written.
    return find(connection, document_id)


def find_resumable(connection: Connection, user_id: str, files: Sequence[Upload]) -> dict[int, OpenUpload]:
    """For these files, by their place, the multipart uploads that the user began earlier and can go on with."""
    rows = connection.execute(
        text("""
            SELECT DISTINCT ON (wanted.number) wanted.number, version.document_id, version.task_id,
                document.bucket_name AS bucket, document.object_key AS key, version.file_size AS size,
                version.upload_id, version.part_size, task.status, task.error_code, false AS arrived,
                version.expires_at
            FROM unnest(:bases ::text[], :names ::text[], :sha256s ::text[], :sizes ::bigint[])
                    WITH ORDINALITY AS wanted (base, name, sha256, size, number)
                JOIN document_versions AS version
                    ON (version.sha256, version.file_size) = (wanted.sha256, wanted.size)
                    AND version.upload_id IS NOT NULL AND version.etag IS NULL AND version.expires_at > now()
                JOIN documents AS document
                    ON document.id = version.document_id AND document.deleted_at IS NULL
                    AND (document.knowledge_base_id, document.name) = (wanted.base, wanted.name)
                    AND document.user_id = :user
                JOIN tasks AS task ON task.id = version.task_id AND task.status = 'PENDING'
            ORDER BY wanted.number, document.created_at DESC
        """),
        {
            "user": user_id,
            "bases": [file.knowledge_base_id for file in files],
            "names": [file.filename for file in files],
            "sha256s": [file.sha256 for file in files],
            "sizes": [file.size for file in files],
        },
    ).mappings()
    return {row["number"] - 1: OpenUpload(**{k: row[k] for k in row if k != "number"}) for row in rows}


def prolong(connection: Connection, document_ids: Sequence[str], *, seconds: float) -> None:
    """Wait for these uploads so long from now, unless they were to be waited for longer."""
    connection.execute(
        text("""
            UPDATE document_versions SET expires_at = greatest(expires_at, now() + :seconds * interval '1 second')
            WHERE document_id = ANY(:ids) AND etag IS NULL AND expires_at IS NOT NULL
        """),
        {"ids": list(document_ids), "seconds": seconds},
    )


def abort(connection: Connection, upload: OpenUpload) -> None:
    """Nobody will send it: its task is CANCELLED. For an upload that is held, and has not arrived."""
    tasks.cancel(connection, [upload.task_id], code=ABORTED, message="The upload was aborted.")


def expired(connection: Connection, *, limit: int) -> list[OpenUpload]:
    """Those that were waited for long enough, and those ended earlier whose parts nobody needs any more."""
    rows = connection.execute(
        text("""
            SELECT version.document_id, version.task_id, document.bucket_name AS bucket,
                document.object_key AS key, version.file_size AS size, version.upload_id, version.part_size,
                task.status, task.error_code, false AS arrived, version.expires_at
            FROM document_versions AS version
                JOIN documents AS document ON document.id = version.document_id
                JOIN tasks AS task ON task.id = version.task_id
            WHERE version.etag IS NULL AND version.expires_at < now()
            ORDER BY version.expires_at LIMIT :limit
        """),
        {"limit": limit},
    ).mappings()
    return [OpenUpload(**row) for row in rows]


def expire(connection: Connection, upload: OpenUpload) -> bool:
    """Wait no longer: its task, if it has not ended, and the step UPLOAD are FAILED with the reason.

    False: it arrived, or was prolonged, in the meantime.
    """
    hold(connection, upload.document_id)
    given_up = connection.execute(
        text("""
            UPDATE document_versions SET expires_at = NULL
            WHERE task_id = :task AND etag IS NULL AND expires_at < now()
        """),
        {"task": upload.task_id},
    )
    if not given_up.rowcount:
        return False
    reason: dict[str, Any] = {
        "task": upload.task_id,
        "code": EXPIRED,
        "message": "The upload was announced, but the file never came. Upload it again.",
    }
    failed = connection.execute(
        text("""
            UPDATE tasks SET status = 'FAILED', completed_at = now(), error_code = :code, error_message = :message
            WHERE id = :task AND status = 'PENDING'
        """),
        reason,
    )
    if failed.rowcount:
        connection.execute(
            text("""
                UPDATE task_details
                SET status = 'FAILED', completed_at = now(), error_code = :code, error_message = :message
                WHERE (task_id, step_order, batch) = (:task, 1, 0)
            """),
            reason,
        )
    return True


def wanted(connection: Connection, bucket: str, keys: Sequence[str]) -> set[str]:
    """Ids of the store's multipart uploads under these keys that somebody may still go on with."""
    rows = connection.execute(
        text("""
            SELECT version.upload_id
            FROM documents AS document
                JOIN document_versions AS version ON version.document_id = document.id
                JOIN tasks AS task ON task.id = version.task_id
            WHERE document.bucket_name = :bucket AND document.object_key = ANY(:keys)
                AND document.deleted_at IS NULL AND version.etag IS NULL AND task.status = 'PENDING'
        """),
        {"bucket": bucket, "keys": list(keys)},
    )
    return set(rows.scalars())
