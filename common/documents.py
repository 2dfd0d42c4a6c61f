"""Documents and their versions: what an arrival, a removal or an announcement means for them.

All take an open transaction and decide under the lock of the key's row in events_seen or documents, so events may
come twice, late, out of order or at once.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

import msgspec
from sqlalchemy import Connection, Row, text

from common import tasks
from common.events import ObjectCreated, ObjectEvent, ObjectRemoved
from common.pipelines import Pipeline
from common.steps import StepRef

DEFAULT_KNOWLEDGE_BASE = "default"
ADMIN_USER = "admin"


def is_news(connection: Connection, event: ObjectEvent) -> bool:
    """Whether this is the latest event of its key: one indexed look, and the lock under which the rest is decided."""
    seen = connection.execute(
        text("""
            INSERT INTO events_seen (bucket_name, object_key, sequencer) VALUES (:bucket, :key, :sequencer)
            ON CONFLICT (bucket_name, object_key) DO UPDATE SET sequencer = excluded.sequencer, seen_at = now()
                WHERE events_seen.sequencer < excluded.sequencer
        """),
        {"bucket": event.bucket, "key": event.key, "sequencer": event.sequencer},
    )
    return bool(seen.rowcount)


def arrive(connection: Connection, event: ObjectCreated, pipeline: Pipeline) -> list[StepRef]:
    """The object is there: a task for its bytes runs. Returns the messages to send; none if nothing is new.

    A key without a document is a drop by another system and gets one. Other bytes than the newest version's make a
    new version, which supersedes tasks of older ones.
    """
    if not is_news(connection, event):
        return []
    latest = _latest(connection, event)
    if latest is None:
        task_id = _new_version(connection, event, pipeline, _drop(connection, event), 1, ADMIN_USER)
    elif latest.etag is None:
        _update_version(connection, event, latest)
        task_id = latest.task_id
    elif latest.etag == event.etag and latest.status in ("RUNNING", "COMPLETED"):
        return []  # the same bytes put again
    else:
        tasks.cancel(
            connection,
            _open_tasks(connection, latest.id),
            code="SUPERSEDED",
            message=f"Superseded by version {latest.version + 1} of the document.",
        )
        task_id = _new_version(connection, event, pipeline, latest.id, latest.version + 1, latest.user_id)
    # A task that was cancelled before its object came stays so: start changes only PENDING ones.
    return tasks.start(connection, task_id, pipeline, {"size": event.size, "etag": event.etag})


def depart(connection: Connection, event: ObjectRemoved, pipeline: Pipeline) -> list[StepRef]:
    """The object was removed: so is its document, with all that was made of it. Returns the messages to send."""
    if not is_news(connection, event):
        return []
    latest = _latest(connection, event)
    return [] if latest is None else remove(connection, latest.id, latest.version, pipeline, user_id=latest.user_id)


def remove(
    connection: Connection, document_id: str, version: int, pipeline: Pipeline, *, user_id: str
) -> list[StepRef]:
    """Take the document out of sight at once, end its tasks, and begin the one that clears up."""
    connection.execute(text("UPDATE documents SET deleted_at = now() WHERE id = :id"), {"id": document_id})
    tasks.cancel(
        connection, _open_tasks(connection, document_id), code="DOCUMENT_DELETED", message="The document was deleted."
    )
    task_id = str(uuid.uuid4())
    tasks.create(connection, pipeline, task_id=task_id, document_id=document_id, version=version, user_id=user_id)
    return tasks.start(connection, task_id, pipeline, {})


def task_ids(connection: Connection, document_id: str) -> list[str]:
    """All tasks that ever worked for the document."""
    return list(connection.execute(text("SELECT id FROM tasks WHERE document_id = :id"), {"id": document_id}).scalars())


def showing(connection: Connection, document_ids: Sequence[str]) -> dict[tuple[str, int], str]:
    """The names of these documents by (id, version), each with the one version that search shows.

    That is the newest whose task is COMPLETED, so what a failed, cancelled or older run left in the index never shows.
    """
    rows = connection.execute(
        text("""
            SELECT DISTINCT ON (document.id) document.id, version.version, document.name
            FROM documents AS document
                JOIN document_versions AS version ON version.document_id = document.id
                JOIN tasks AS task ON task.id = version.task_id AND task.status = 'COMPLETED'
            WHERE document.id = ANY(:ids) AND document.deleted_at IS NULL
            ORDER BY document.id, version.version DESC
        """),
        {"ids": list(document_ids)},
    )
    return {(row.id, row.version): row.name for row in rows}


def forget(connection: Connection, document_id: str) -> None:
    """Delete the rows of a document whose vectors and artifacts are gone. Its tasks stay: they say what was done."""
    connection.execute(text("DELETE FROM documents WHERE id = :id AND deleted_at IS NOT NULL"), {"id": document_id})


def _latest(connection: Connection, event: ObjectEvent) -> Row[Any] | None:
    return connection.execute(
        text("""
            SELECT document.id, document.user_id, version.version, version.etag, version.task_id, task.status
            FROM documents AS document
                JOIN document_versions AS version ON version.document_id = document.id
                JOIN tasks AS task ON task.id = version.task_id
            WHERE document.bucket_name = :bucket AND document.object_key = :key AND document.deleted_at IS NULL
            ORDER BY version.version DESC LIMIT 1
        """),
        {"bucket": event.bucket, "key": event.key},
    ).one_or_none()


def _open_tasks(connection: Connection, document_id: str) -> list[str]:
    """Tasks of the document that have not ended, locked in one order."""
    rows = connection.execute(
        text("""
            SELECT id FROM tasks WHERE document_id = :id AND status IN ('PENDING', 'RUNNING')
            ORDER BY id FOR NO KEY UPDATE
        """),
        {"id": document_id},
    )
    return list(rows.scalars())


def _drop(connection: Connection, event: ObjectCreated) -> str:
    document_id = str(uuid.uuid4())
    name = PurePosixPath(event.key).name or event.key
    _insert_document(connection, document_id, name, event.bucket, event.key, DEFAULT_KNOWLEDGE_BASE, ADMIN_USER, {})
    return document_id


def _insert_document(
    connection: Connection,
    document_id: str,
    name: str,
    bucket: str,
    key: str,
    knowledge_base_id: str,
    user_id: str,
    metadata: Mapping[str, Any],
) -> None:
    connection.execute(
        text("""
            INSERT INTO documents (id, name, bucket_name, object_key, knowledge_base_id, user_id, metadata)
            VALUES (:id, :name, :bucket, :key, :knowledge_base, :user, :metadata ::jsonb)
        """),
        {
            "id": document_id,
            "name": name,
            "bucket": bucket,
            "key": key,
            "knowledge_base": knowledge_base_id,
            "user": user_id,
            "metadata": msgspec.json.encode(metadata).decode(),
        },
    )


def _new_version(
    connection: Connection, event: ObjectCreated, pipeline: Pipeline, document_id: str, version: int, user_id: str
) -> str:
    task_id = str(uuid.uuid4())
    _insert_version(
        connection,
        document_id,
        version,
        task_id,
        file_size=event.size,
        content_type=event.content_type,
        etag=event.etag,
        store_version_id=event.version_id,
    )
    tasks.create(connection, pipeline, task_id=task_id, document_id=document_id, version=version, user_id=user_id)
    return task_id


def _insert_version(
    connection: Connection,
    document_id: str,
    version: int,
    task_id: str,
    *,
    file_size: int,
    content_type: str | None,
    etag: str | None = None,
    store_version_id: str | None = None,
) -> None:
    connection.execute(
        text("""
            INSERT INTO document_versions
                (document_id, version, task_id, file_size, content_type, etag, store_version_id)
            VALUES (:document, :version, :task, :size, :type, :etag, :store_version)
        """),
        {
            "document": document_id,
            "version": version,
            "task": task_id,
            "size": file_size,
            "type": content_type,
            "etag": etag,
            "store_version": store_version_id,
        },
    )
    connection.execute(text("UPDATE documents SET updated_at = now() WHERE id = :id"), {"id": document_id})


def _update_version(connection: Connection, event: ObjectCreated, latest: Row[Any]) -> None:
    """An announced version has arrived: what the store says replaces what the client said."""
    connection.execute(
        text("""
            UPDATE document_versions
            SET etag = :etag, file_size = :size, content_type = coalesce(:type, content_type),
                store_version_id = :store_version
            WHERE document_id = :document AND version = :version
        """),
        {
            "document": latest.id,
            "version": latest.version,
            "etag": event.etag,
            "size": event.size,
            "type": event.content_type,
            "store_version": event.version_id,
        },
    )
