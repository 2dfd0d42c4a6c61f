"""Uploads: documents whose object is still to come, from their announcement until it is there, expires or is aborted.

All take an open transaction. What an arrival means is common/documents.py.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, text

from common.pipelines import Pipeline
from common.principal import Principal
from common.steps import as_json


@dataclass(frozen=True, slots=True)
class Upload:
    """What a client announces. `size` and `part_size` in bytes; `upload_id`: the store's, of a multipart upload."""

    filename: str
    size: int
    content_type: str
    knowledge_base_id: str
    metadata: Mapping[str, Any] = field(default_factory=dict)
    sha256: str | None = None
    document_id: str | None = None
    upload_id: str | None = None
    part_size: int | None = None


@dataclass(frozen=True, slots=True)
class Announcement:
    document_id: str
    task_id: str
    key: str


@dataclass(frozen=True, slots=True)
class Existing:
    """A document that holds the same bytes. `task_id`: of its newest version."""

    document_id: str
    task_id: str
    name: str
    version: int


def key_of(document_id: str, filename: str) -> str:
    return f"incoming/{document_id}/{filename}"


def announce(
    connection: Connection,
    pipeline: Pipeline,
    *,
    caller: Principal,
    bucket: str,
    filename: str,
    size: int,
    content_type: str,
    metadata: Mapping[str, Any],
    knowledge_base_id: str,
    sha256: str | None = None,
    document_id: str | None = None,
    upload_id: str | None = None,
    part_size: int | None = None,
    expires_seconds: float,
) -> Announcement:
    """A document whose object is still to come, with the task that will wait for it for so many seconds."""
    upload = Upload(
        filename, size, content_type, knowledge_base_id, metadata, sha256, document_id, upload_id, part_size
    )
    (announced,) = announce_all(
        connection, pipeline, [upload], caller=caller, bucket=bucket, expires_seconds=expires_seconds
    )
    return announced


def announce_all(
    connection: Connection,
    pipeline: Pipeline,
    files: Sequence[Upload],
    *,
    caller: Principal,
    bucket: str,
    expires_seconds: float,
) -> list[Announcement]:
    """As `announce`, for many: one statement makes documents, versions, tasks, their steps and the audit entries."""
    announced = [_named(upload) for upload in files]
    connection.execute(
        _ANNOUNCE,
        {
            "files": as_json({"files": [_row(*pair) for pair in zip(files, announced, strict=True)]}),
            "bucket": bucket,
            "user": caller.user_id,
            "credential": caller.credential,
            "type": pipeline.name,
            "names": [step.name for step in pipeline.steps],
            "weights": [step.weight for step in pipeline.steps],
            "seconds": expires_seconds,
        },
    )
    return announced


def _named(upload: Upload) -> Announcement:
    document_id = upload.document_id or str(uuid.uuid4())
    return Announcement(document_id, str(uuid.uuid4()), key_of(document_id, upload.filename))


def _row(upload: Upload, announced: Announcement) -> dict[str, Any]:
    return {
        "document": announced.document_id,
        "task": announced.task_id,
        "key": announced.key,
        "name": upload.filename,
        "size": upload.size,
        "content_type": upload.content_type,
        "base": upload.knowledge_base_id,
        "metadata": upload.metadata,
        "sha256": upload.sha256,
        "upload_id": upload.upload_id,
        "part_size": upload.part_size,
    }


# Foreign keys are checked when the statement ends, so the order of its parts does not matter.
_ANNOUNCE = text("""
    WITH file AS MATERIALIZED (
        SELECT * FROM jsonb_to_recordset(CAST(:files AS jsonb) -> 'files') AS file (
            document text, task text, key text, name text, size bigint, content_type text, base text,
            metadata jsonb, sha256 text, upload_id text, part_size bigint)),
    document AS (
        INSERT INTO documents (id, name, bucket_name, object_key, knowledge_base_id, user_id, metadata)
        SELECT document, name, :bucket, key, base, :user, metadata FROM file),
    version AS (
        INSERT INTO document_versions (document_id, version, task_id, file_size, content_type, sha256, upload_id,
            part_size, expires_at)
        SELECT document, 1, task, size, content_type, sha256, upload_id, part_size,
            now() + :seconds * interval '1 second' FROM file),
    task AS (
        INSERT INTO tasks (id, type, document_id, version, knowledge_base_id, created_by)
        SELECT task, :type, document, 1, base, :user FROM file),
    audited AS (
        INSERT INTO audit_log (user_id, credential, action, subject, details)
        SELECT :user, :credential, 'upload.create', document, jsonb_build_object('size', size) FROM file)
    INSERT INTO task_details (task_id, step_order, step_name, weight)
    SELECT file.task, step.ordinality, step.name, step.weight
    FROM file, unnest(:names ::text[], :weights ::int[]) WITH ORDINALITY AS step (name, weight, ordinality)
""")


def find_same(connection: Connection, *, knowledge_base_id: str, sha256: str, size: int) -> Existing | None:
    """The document of this base whose newest version holds these bytes, as VALIDATE has seen; None: there is none.

    Its task has not failed or been cancelled. Of several the one that was first.
    """
    row = connection.execute(
        text("""
            SELECT document.id, version.task_id, document.name, version.version
            FROM document_versions AS version
                JOIN documents AS document ON document.id = version.document_id
                JOIN tasks AS task ON task.id = version.task_id
            WHERE version.sha256 = :sha256 AND version.file_size = :size
                AND document.knowledge_base_id = :base AND document.deleted_at IS NULL
                AND task.status IN ('RUNNING', 'COMPLETED')
                -- A client's word is not enough.
                AND EXISTS (
                    SELECT 1 FROM tasks AS checked JOIN task_details AS step ON step.task_id = checked.id
                    WHERE (checked.document_id, checked.version) = (version.document_id, version.version)
                        AND step.step_name = 'VALIDATE' AND step.status = 'COMPLETED')
                AND NOT EXISTS (
                    SELECT 1 FROM document_versions AS newer
                    WHERE newer.document_id = version.document_id AND newer.version > version.version)
            ORDER BY document.created_at, document.id LIMIT 1
        """),
        {"sha256": sha256, "size": size, "base": knowledge_base_id},
    ).one_or_none()
    return None if row is None else Existing(row.id, row.task_id, row.name, row.version)
