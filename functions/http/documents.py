"""GET /documents/{id}: what is known of a document and its newest version."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import text

from common.errors import NotFound
from common.http import Call


class DocumentView(msgspec.Struct, kw_only=True, frozen=True):
    id: str
    name: str
    content_type: str | None
    file_size: int | None
    etag: str | None
    bucket_name: str
    object_key: str
    version: int
    knowledge_base_id: str
    user_id: str
    metadata: dict[str, Any]
    processing_status: str
    task_id: str
    created_at: datetime
    updated_at: datetime


def get_document(call: Call) -> DocumentView:
    """A document and its newest version."""
    document_id = call.path["document_id"]
    with call.services.database.transaction() as connection:
        row = (
            connection.execute(
                text("""
                    SELECT document.id, document.name, version.content_type, version.file_size, version.etag,
                        document.bucket_name, document.object_key, version.version, document.knowledge_base_id,
                        document.user_id, document.metadata, task.status AS processing_status, version.task_id,
                        document.created_at, document.updated_at
                    FROM documents AS document
                        JOIN document_versions AS version ON version.document_id = document.id
                        JOIN tasks AS task ON task.id = version.task_id
                    WHERE document.id = :id AND document.deleted_at IS NULL
                    ORDER BY version.version DESC LIMIT 1
                """),
                {"id": document_id},
            )
            .mappings()
            .one_or_none()
        )
    if row is None:
        raise NotFound(f"There is no document {document_id!r}.")
    return DocumentView(**row)
