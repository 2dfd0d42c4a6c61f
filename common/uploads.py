"""Uploads announced: documents whose object is still to come, and whether their bytes are here already.

All take an open transaction. What happens to an announced upload later is common/open_uploads.py; what its arrival
means, common/documents.py.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from sqlalchemy import Connection, text

from common.pipelines import Pipeline
from common.principal import Principal
from common.steps import as_json


@dataclass(frozen=True, slots=True)
class Upload:
    """What a client announces. `size` and `part_size` in bytes; `upload_id`: the store's, of a multipart upload.

    `expires_seconds`: how long its object is waited for.
    """

    filename: str
    size: int
    content_type: str
    knowledge_base_id: str
    expires_seconds: float
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


class Content(NamedTuple):
    """Bytes in a knowledge base, by what they are."""

    knowledge_base_id: str
    sha256: str
    size: int


@dataclass(frozen=True, slots=True)
class Existing:
    """A document that holds these bytes. `task_id`: of its newest version."""

    document_id: str
    task_id: str
    key: str
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
        filename=filename,
        size=size,
        content_type=content_type,
        knowledge_base_id=knowledge_base_id,
        expires_seconds=expires_seconds,
        metadata=metadata,
        sha256=sha256,
        document_id=document_id,
        upload_id=upload_id,
        part_size=part_size,
    )
    (announced,) = announce_all(connection, pipeline, [upload], caller=caller, bucket=bucket)
    return announced


def announce_all(
    connection: Connection, pipeline: Pipeline, files: Sequence[Upload], *, caller: Principal, bucket: str
) -> list[Announcement]:
    """As `announce`, for many: one statement makes documents, versions, tasks, their steps and the audit entries."""
    announced = [_named(upload) for upload in files]
    connection.exec_driver_sql(  # psycopg2's own parameters: SQLAlchemy's cost as much as all the rest of it
        _ANNOUNCE,
        {
            "files": as_json({"files": [_row(*pair) for pair in zip(files, announced, strict=True)]}),
            "bucket": bucket,
            "user": caller.user_id,
            "credential": caller.credential,
            "type": pipeline.name,
            "names": [step.name for step in pipeline.steps],
            "weights": [step.weight for step in pipeline.steps],
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
        "seconds": upload.expires_seconds,
        "metadata": upload.metadata,
        "sha256": upload.sha256,
        "upload_id": upload.upload_id,
        "part_size": upload.part_size,
    }


# Foreign keys are checked when the statement ends, so the order of its parts does not matter.
_ANNOUNCE = """
    WITH file AS MATERIALIZED (
        SELECT * FROM jsonb_to_recordset(CAST(%(files)s AS jsonb) -> 'files') AS file (
            document text, task text, key text, name text, size bigint, content_type text, base text, seconds float,
            metadata jsonb, sha256 text, upload_id text, part_size bigint)),
    document AS (
        INSERT INTO documents (id, name, bucket_name, object_key, knowledge_base_id, user_id, metadata)
        SELECT document, name, %(bucket)s, key, base, %(user)s, metadata FROM file),
    version AS (
        INSERT INTO document_versions (document_id, version, task_id, file_size, content_type, sha256, upload_id,
            part_size, expires_at)
        SELECT document, 1, task, size, content_type, sha256, upload_id, part_size,
            now() + seconds * interval '1 second' FROM file),
    task AS (
        INSERT INTO tasks (id, type, document_id, version, knowledge_base_id, created_by)
        SELECT task, %(type)s, document, 1, base, %(user)s FROM file),
    audited AS (
        INSERT INTO audit_log (user_id, credential, action, subject, details)
        SELECT %(user)s, %(credential)s, 'upload.create', document, jsonb_build_object('size', size) FROM file)
    INSERT INTO task_details (task_id, step_order, step_name, lane, weight)
    SELECT file.task, step.ordinality, step.name, file.base, step.weight
    FROM file, unnest(%(names)s ::text[], %(weights)s ::int[]) WITH ORDINALITY AS step (name, weight, ordinality)
"""


def find_same(connection: Connection, *, knowledge_base_id: str, sha256: str, size: int) -> Existing | None:
    """The document of this base whose newest version holds these bytes, as VALIDATE has seen; None: there is none.

    Its task has not failed or been cancelled. Of several the one that was first.
    """
    content = Content(knowledge_base_id, sha256, size)
    return find_all_same(connection, [content]).get(content)


def find_all_same(connection: Connection, contents: Sequence[Content]) -> dict[Content, Existing]:
    """As `find_same`, for many: those that are there."""
    if not contents:
        return {}
    rows = connection.execute(
        text("""
            SELECT DISTINCT ON (wanted.base, wanted.sha256, wanted.size) wanted.base, wanted.sha256, wanted.size,
                document.id, version.task_id, document.object_key, document.name, version.version
            FROM unnest(:bases ::text[], :sha256s ::text[], :sizes ::bigint[]) AS wanted (base, sha256, size)
                JOIN document_versions AS version
                    ON (version.sha256, version.file_size) = (wanted.sha256, wanted.size)
                JOIN documents AS document ON document.id = version.document_id
                JOIN tasks AS task ON task.id = version.task_id
            WHERE document.knowledge_base_id = wanted.base AND document.deleted_at IS NULL
                AND task.status IN ('RUNNING', 'COMPLETED')
                -- A client's word is not enough.
                AND EXISTS (
                    SELECT 1 FROM tasks AS checked JOIN task_details AS step ON step.task_id = checked.id
                    WHERE (checked.document_id, checked.version) = (version.document_id, version.version)
                        AND step.step_name = 'VALIDATE' AND step.status = 'COMPLETED')
                AND NOT EXISTS (
                    SELECT 1 FROM document_versions AS newer
                    WHERE newer.document_id = version.document_id AND newer.version > version.version)
            ORDER BY wanted.base, wanted.sha256, wanted.size, document.created_at, document.id
        """),
        {
            "bases": [content.knowledge_base_id for content in contents],
            "sha256s": [content.sha256 for content in contents],
            "sizes": [content.size for content in contents],
        },
    )
    return {
        Content(row.base, row.sha256, row.size): Existing(row.id, row.task_id, row.object_key, row.name, row.version)
        for row in rows
    }


def verify(connection: Connection, *, document_id: str, version: int, sha256: str) -> str | None:
    """Write down the SHA-256 of what arrived, unless another was announced: then that one is returned."""
    announced: str | None = connection.execute(
        text("""
            UPDATE document_versions SET sha256 = coalesce(sha256, :sha256)
            WHERE document_id = :document AND version = :version
            RETURNING nullif(sha256, :sha256)
        """),
        {"document": document_id, "version": version, "sha256": sha256},
    ).scalar_one_or_none()
    return announced
