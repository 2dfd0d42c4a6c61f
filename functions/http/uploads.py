"""POST /uploads: announce a document and get a URL to put it to. No byte of it passes through here."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import msgspec

from common import access, uploads
from common.access import Role
from common.errors import RequestError, TooLarge
from common.filenames import clean_filename, guess_type
from common.http import Call

# Deeper than any description needs; all that reads JSON, here and at the clients, gets through it.
_METADATA_LEVELS = 32


class UploadRequest(msgspec.Struct):
    filename: Annotated[str, msgspec.Meta(min_length=1, max_length=1024)]
    size: Annotated[int, msgspec.Meta(ge=0)]
    content_type: (
        Annotated[str, msgspec.Meta(max_length=255, pattern=r"(?a)^[\w.+-]+/[\w.+-]+(; ?[\w-]+=[\w.+-]+)*\Z")] | None
    ) = None
    metadata: dict[str, Any] = {}
    knowledge_base_id: Annotated[str, msgspec.Meta(max_length=200)] | None = None


class UploadTicket(msgspec.Struct, kw_only=True, frozen=True):
    document_id: str
    task_id: str
    method: str
    key: str
    url: str
    headers: dict[str, str]
    expires_at: datetime


def create_upload(call: Call, body: UploadRequest) -> UploadTicket:
    """Announce a document, and get a URL to put its bytes to."""
    settings = call.services.settings
    if body.size > settings.max_document_bytes:
        raise TooLarge(f"The file has {body.size:,} bytes; this server takes up to {settings.max_document_bytes:,}.")
    if not _is_shallow(body.metadata, _METADATA_LEVELS):
        raise RequestError(f"metadata may be nested {_METADATA_LEVELS} levels deep.", code="INVALID_BODY")
    filename = clean_filename(body.filename)
    content_type = body.content_type or guess_type(filename)
    with call.services.database.transaction() as connection:
        knowledge_base = access.find_base(connection, call.caller, body.knowledge_base_id, Role.EDITOR)
        announced = uploads.announce(
            connection,
            call.pipelines["DOCUMENT_UPLOAD"],
            caller=call.caller,
            bucket=call.services.objects.bucket,
            filename=filename,
            size=body.size,
            content_type=content_type,
            metadata=body.metadata,
            knowledge_base_id=knowledge_base,
            expires_seconds=settings.upload_url_seconds,
        )
    seconds = settings.upload_url_seconds
    url, headers = call.services.presigner.put(
        announced.key, size=body.size, content_type=content_type, seconds=seconds
    )
    return UploadTicket(
        document_id=announced.document_id,
        task_id=announced.task_id,
        method="PUT",
        key=announced.key,
        url=url,
        headers=headers,
        expires_at=datetime.now(UTC) + timedelta(seconds=seconds),
    )


def _is_shallow(value: object, levels: int) -> bool:
    if not isinstance(value, dict | list):
        return True
    inner = value.values() if isinstance(value, dict) else value
    return levels > 0 and all(_is_shallow(one, levels - 1) for one in inner)
