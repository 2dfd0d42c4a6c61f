"""Documents and their versions: what an arrival, a removal or an announcement means for them.

All take an open transaction and decide under the lock of the key's row in events_seen or documents, so events may
come twice, late, out of order or at once.
"""

from __future__ import annotations

import uuid
from pathlib import PurePosixPath
from typing import Any, Protocol

from sqlalchemy import Connection, Row, text

from common import bindings, members, removals, tasks
from common.errors import Conflict, NotFound
from common.event_log import Decides, is_news
from common.events import ObjectCreated, ObjectRemoved
from common.pipelines import Pipeline
from common.steps import StepRef, as_json

DEFAULT_KNOWLEDGE_BASE = "default"
ADMIN_USER = "admin"


class _Keyed(Protocol):
    @property
    def bucket(self) -> str: ...
    @property
    def key(self) -> str: ...


def arrive(
    connection: Connection, event: ObjectCreated, pipeline: Pipeline, removal: Pipeline, *, decides: Decides = is_news
) -> list[StepRef]:
    """The object is there: a task for its bytes runs. Returns the messages to send; none if nothing is new.

    A key without a document is a drop by another system and gets one. Other bytes than the newest version's make a
    new version, which supersedes tasks of older ones; so does an object that comes after its upload has expired. One
    whose document is being deleted, or is gone with what it was a member of, goes the way of `removal`. `decides`
    whether the event is news.
    """
    if not decides(connection, event):
        return []
    latest = _latest(connection, event)
    if latest is None and removals.follow(connection, event, removal):
        return []  # nobody waits for it: the relay sends its message
    if latest is None:
        document_id, user_id, stays = _drop(connection, event)
        task_id = _new_version(connection, event, pipeline, document_id, 1, user_id)
        if not stays:
            removals.begin(connection, [document_id], removal, user_id=user_id, asked=True)
            return []
    elif latest.etag is None and latest.status != "FAILED":
        _update_version(connection, event, latest)
        task_id = latest.task_id
    elif latest.etag == event.etag and latest.status in ("RUNNING", "COMPLETED"):
        return []  # the same bytes put again
    else:
        _supersede(connection, latest)
        # What was announced is still to be verified if nothing has come of it yet, or other bytes than those.
        announced = latest.etag is None or latest.error_code == "CHECKSUM_MISMATCH"
        sha256 = latest.sha256 if announced else None
        task_id = _new_version(connection, event, pipeline, latest.id, latest.version + 1, latest.user_id, sha256)
    # A task that was cancelled before its object came stays so: start changes only PENDING ones.
    return tasks.start(connection, task_id, pipeline, {"size": event.size, "etag": event.etag})


def depart(
    connection: Connection, event: ObjectRemoved, pipeline: Pipeline, *, decides: Decides = is_news
) -> list[StepRef]:
    """The object was removed: so is its document, with all that was made of it. Returns the messages to send."""
    if not decides(connection, event):
        return []
    latest = _latest(connection, event)
    if latest is None:
        return []
    return removals.begin(connection, [latest.id], pipeline, user_id=latest.user_id, asked=False)


def reprocess(
    connection: Connection, document_id: str, pipeline: Pipeline, *, user_id: str
) -> tuple[str, list[StepRef]]:
    """A version of the same bytes, with a task of its own; returns that and the messages to send.

    It supersedes tasks of older versions. Raises `NotFound`, or `Conflict` if no byte has ever arrived.
    """
    key = connection.execute(
        text("SELECT bucket_name AS bucket, object_key AS key FROM documents WHERE id = :id AND deleted_at IS NULL"),
        {"id": document_id},
    ).one_or_none()
    latest = None if key is None else _latest(connection, key)
    if latest is None or latest.id != document_id:
        raise NotFound(f"There is no document {document_id!r}.")
    if latest.etag is None:
        raise Conflict("The document was never uploaded: there is nothing to process.", code="NOT_UPLOADED")
    _supersede(connection, latest)
    task_id, version = str(uuid.uuid4()), latest.version + 1
    connection.execute(
        text("""
            INSERT INTO document_versions
                (document_id, version, task_id, file_size, content_type, etag, store_version_id, sha256)
            SELECT document_id, :version, :task, file_size, content_type, etag, store_version_id, sha256
            FROM document_versions WHERE (document_id, version) = (:document, :latest)
        """),
        {"document": document_id, "version": version, "latest": latest.version, "task": task_id},
    )
    connection.execute(text("UPDATE documents SET updated_at = now() WHERE id = :id"), {"id": document_id})
    tasks.create(connection, pipeline, task_id=task_id, document_id=document_id, version=version, user_id=user_id)
    return task_id, tasks.start(connection, task_id, pipeline, {"size": latest.file_size, "etag": latest.etag})


def _supersede(connection: Connection, latest: Row[Any]) -> None:
    tasks.cancel(
        connection,
        removals.open_tasks(connection, [latest.id]),
        code="SUPERSEDED",
        message=f"Superseded by version {latest.version + 1} of the document.",
    )


def _latest(connection: Connection, event: _Keyed) -> Row[Any] | None:
    """The newest version of the document under the key, which nobody else changes until the transaction ends."""
    document_id = connection.execute(
        text("""
            SELECT id FROM documents
            WHERE bucket_name = :bucket AND object_key = :key AND deleted_at IS NULL FOR UPDATE
        """),
        {"bucket": event.bucket, "key": event.key},
    ).scalar_one_or_none()
    if document_id is None:
        return None
    # A statement of its own: only that sees what whoever held the lock has written.
    return connection.execute(
        text("""
            SELECT document.id, document.user_id, version.version, version.etag, version.file_size, version.sha256,
                version.task_id, task.status, task.error_code
            FROM documents AS document
                JOIN document_versions AS version ON version.document_id = document.id
                JOIN tasks AS task ON task.id = version.task_id
            WHERE document.id = :id ORDER BY version.version DESC LIMIT 1
        """),
        {"id": document_id},
    ).one_or_none()


def _drop(connection: Connection, event: ObjectCreated) -> tuple[str, str, bool]:
    """A document for a key that has none, its owner, and whether it stays: not if what it was a member of is gone."""
    document_id = str(uuid.uuid4())
    if parent := members.hold_parent(connection, event.bucket, event.key):
        owner, base = parent.user_id, parent.knowledge_base_id
    else:
        found = _announced_by(connection, event) or bindings.of_key(connection, event.bucket, event.key)
        owner, base = found or (ADMIN_USER, DEFAULT_KNOWLEDGE_BASE)
    parent_id = parent.document_id if parent else None
    _insert_document(connection, event, document_id, knowledge_base_id=base, user_id=owner, parent_id=parent_id)
    return document_id, owner, parent is None or parent_id is not None


def _announced_by(connection: Connection, event: ObjectCreated) -> tuple[str, str] | None:
    """Owner and base of the upload that was announced for this key, if its document was deleted before it came.

    Its tasks still know. The owner's default takes the place of a base that was deleted as well, or in which they may
    no longer put anything: a URL outlives its owner's role.
    """
    row = connection.execute(
        text("""
            SELECT task.created_by, CASE
                WHEN base.deleted_at IS NULL AND (owner.is_admin OR base.owner_id = owner.id OR EXISTS (
                    SELECT 1 FROM knowledge_base_members AS member
                    WHERE (member.knowledge_base_id, member.user_id) = (base.id, owner.id) AND member.role <> 'reader'))
                THEN base.id ELSE owner.default_knowledge_base_id END AS base
            FROM tasks AS task
                JOIN users AS owner ON owner.id = task.created_by
                JOIN knowledge_bases AS base ON base.id = task.knowledge_base_id
            WHERE task.document_id = :document AND task.version = 1 AND task.type = 'DOCUMENT_UPLOAD'
            ORDER BY task.created_at LIMIT 1
        """),
        {"document": _announced_id(event.key)},
    ).one_or_none()
    return None if row is None or row.base is None else (row.created_by, row.base)


def _announced_id(key: str) -> str:
    """The document that a key names, if the API announced it: incoming/<document_id>/<filename>."""
    folders = PurePosixPath(key).parts
    return folders[1] if len(folders) == 3 else ""


def _insert_document(
    connection: Connection,
    event: ObjectCreated,
    document_id: str,
    *,
    knowledge_base_id: str,
    user_id: str,
    parent_id: str | None,
) -> None:
    connection.execute(
        text("""
            INSERT INTO documents
                (id, name, bucket_name, object_key, knowledge_base_id, user_id, metadata, parent_id)
            VALUES (:id, :name, :bucket, :key, :knowledge_base, :user, :metadata ::jsonb, :parent)
        """),
        {
            "id": document_id,
            "name": PurePosixPath(event.key).name or event.key,
            "bucket": event.bucket,
            "key": event.key,
            "knowledge_base": knowledge_base_id,
            "user": user_id,
            "metadata": as_json({"path": members.path_of(event.key)} if parent_id else {}),
            "parent": parent_id,
        },
    )


def _new_version(
    connection: Connection,
    event: ObjectCreated,
    pipeline: Pipeline,
    document_id: str,
    version: int,
    user_id: str,
    sha256: str | None = None,
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
        sha256=sha256,
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
    etag: str,
    store_version_id: str | None,
    sha256: str | None,
) -> None:
    connection.execute(
        text("""
            INSERT INTO document_versions
                (document_id, version, task_id, file_size, content_type, etag, store_version_id, sha256)
            VALUES (:document, :version, :task, :size, :type, :etag, :store_version, :sha256)
        """),
        {
            "document": document_id,
            "version": version,
            "task": task_id,
            "size": file_size,
            "type": content_type,
            "etag": etag,
            "store_version": store_version_id,
            "sha256": sha256,
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
