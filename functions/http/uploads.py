"""POST /uploads: announce a document and get a URL to put it to. No byte of it passes through here."""

from __future__ import annotations

import mimetypes
import unicodedata
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import msgspec

from common import documents
from common.errors import NotFound, RequestError, TooLarge
from common.http import Call, Reply

# A path component on most file systems, which some stores keep objects on.
_NAME_BYTES = 255
_UNKNOWN_TYPE = "application/octet-stream"
# Deeper than any description needs; all that reads JSON, here and at the clients, gets through it.
_METADATA_LEVELS = 32


class UploadRequest(msgspec.Struct):
    filename: Annotated[str, msgspec.Meta(min_length=1, max_length=1024)]
    size: Annotated[int, msgspec.Meta(ge=0)]
    content_type: (
        Annotated[str, msgspec.Meta(max_length=255, pattern=r"(?a)^[\w.+-]+/[\w.+-]+(; ?[\w-]+=[\w.+-]+)*\Z")] | None
    ) = None
    metadata: dict[str, Any] = {}
    knowledge_base_id: str = documents.DEFAULT_KNOWLEDGE_BASE


def create_upload(call: Call) -> Reply:
    request = call.decode(UploadRequest)
    settings = call.services.settings
    if request.size > settings.max_document_bytes:
        raise TooLarge(f"The file has {request.size:,} bytes; this server takes up to {settings.max_document_bytes:,}.")
    if not _is_shallow(request.metadata, _METADATA_LEVELS):
        raise RequestError(f"metadata may be nested {_METADATA_LEVELS} levels deep.", code="INVALID_BODY")
    filename = clean_filename(request.filename)
    content_type = request.content_type or mimetypes.guess_type(filename)[0] or _UNKNOWN_TYPE
    with call.services.database.transaction() as connection:
        knowledge_base = documents.find_knowledge_base(connection, request.knowledge_base_id)
        if knowledge_base is None:
            raise NotFound(f"There is no knowledge base {request.knowledge_base_id!r}.")
        announced = documents.announce(
            connection,
            call.pipelines["DOCUMENT_UPLOAD"],
            bucket=call.services.objects.bucket,
            filename=filename,
            size=request.size,
            content_type=content_type,
            metadata=request.metadata,
            knowledge_base_id=knowledge_base,
            user_id=call.caller.user_id,
        )
    seconds = settings.upload_url_seconds
    url, headers = call.services.objects.presign_put(
        announced.key, size=request.size, content_type=content_type, seconds=seconds
    )
    return Reply(
        {
            "document_id": announced.document_id,
            "task_id": announced.task_id,
            "method": "PUT",
            "key": announced.key,
            "url": url,
            "headers": headers,
            "expires_at": datetime.now(UTC) + timedelta(seconds=seconds),
        },
        status=201,
    )


def _is_shallow(value: object, levels: int) -> bool:
    if not isinstance(value, dict | list):
        return True
    inner = value.values() if isinstance(value, dict) else value
    return levels > 0 and all(_is_shallow(one, levels - 1) for one in inner)


def clean_filename(name: str) -> str:
    """The last component of the name, composed (NFC), without control characters, cut to what stores can keep."""
    last = unicodedata.normalize("NFC", name).replace("\\", "/").rstrip("/").rpartition("/")[2]
    clean = "".join(c for c in last if unicodedata.category(c) not in ("Cc", "Cs")).strip()
    if clean in ("", ".", ".."):
        raise RequestError(f"{name!r} is not a file name.", code="INVALID_FILENAME")
    stem, dot, extension = clean.rpartition(".")
    if not stem or len(extension) > 16:
        stem, dot, extension = clean, "", ""
    room = _NAME_BYTES - len((dot + extension).encode())
    return stem.encode()[:room].decode(errors="ignore") + dot + extension
