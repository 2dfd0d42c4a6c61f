"""What clients say of a file that they will upload, and what of that is refused before anything is written down."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import msgspec

from common.errors import Refused, RequestError, TooLarge
from common.filenames import clean_filename, guess_type
from common.settings import Settings
from common.untrusted import is_shallow
from common.uploads import Upload

# S3's limit for an object in one request.
_MAX_PUT_BYTES = 5 << 30
# Deeper than any description needs; all that reads JSON, here and at the clients, gets through it.
_METADATA_LEVELS = 32
_BATCH = 1000


class UploadRequest(msgspec.Struct, kw_only=True):
    """`size` in bytes. `sha256`, in hex: what arrives is compared with it."""

    filename: Annotated[str, msgspec.Meta(min_length=1, max_length=1024)]
    size: Annotated[int, msgspec.Meta(ge=0)]
    content_type: (
        Annotated[str, msgspec.Meta(max_length=255, pattern=r"(?a)^[\w.+-]+/[\w.+-]+(; ?[\w-]+=[\w.+-]+)*\Z")] | None
    ) = None
    sha256: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-fA-F]{64}\Z")] | None = None
    metadata: dict[str, Any] = {}
    knowledge_base_id: Annotated[str, msgspec.Meta(max_length=200)] | None = None
    method: Literal["put", "post", "multipart"] | None = None
    allow_duplicate: bool = False


class UploadBatch(msgspec.Struct):
    files: Annotated[list[UploadRequest], msgspec.Meta(min_length=1, max_length=_BATCH)]


@dataclass(frozen=True, slots=True)
class File:
    """A request that is fit. Its upload's knowledge base is still the one that the client named; empty: none."""

    upload: Upload
    method: str
    allow_duplicate: bool


def checked(settings: Settings, request: UploadRequest) -> File:
    if request.size > settings.max_document_bytes:
        raise TooLarge(f"The file has {request.size:,} bytes; this server takes up to {settings.max_document_bytes:,}.")
    check_metadata(settings, request.metadata)
    method = request.method or (
        "put" if request.size <= min(settings.upload_put_bytes, _MAX_PUT_BYTES) else "multipart"
    )
    if method != "multipart" and request.size > _MAX_PUT_BYTES:
        raise Refused("A file of more than 5 GiB needs the method multipart.", code="METHOD_UNFIT")
    filename = clean_filename(request.filename)
    upload = Upload(
        filename=filename,
        size=request.size,
        content_type=request.content_type or guess_type(filename),
        knowledge_base_id=request.knowledge_base_id or "",
        expires_seconds=settings.upload_url_seconds + settings.upload_grace_seconds,
        metadata=request.metadata,
        sha256=request.sha256.lower() if request.sha256 else None,
    )
    return File(upload, method, request.allow_duplicate)


def check_metadata(settings: Settings, metadata: dict[str, Any]) -> None:
    """Raise `RequestError` for what is nested too deep, `Refused` (METADATA_TOO_LARGE) for what is too much."""
    if not is_shallow(metadata, _METADATA_LEVELS):
        raise RequestError(f"metadata may be nested {_METADATA_LEVELS} levels deep.", code="INVALID_BODY")
    size, most = len(msgspec.json.encode(metadata)), settings.max_metadata_bytes
    if size > most:
        raise Refused(f"metadata has {size:,} bytes; it may have {most:,}.", code="METADATA_TOO_LARGE")
