"""Answers to announcements: where to send the bytes."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import msgspec
from msgspec import UNSET, UnsetType

from common.open_uploads import OpenUpload
from common.services import Services
from common.uploads import Announcement, Existing
from functions.http.parts import PartUrl, sign
from functions.http.upload_requests import File


class UploadTicket(msgspec.Struct, kw_only=True, frozen=True, omit_defaults=True):
    """Where to send the bytes. What is there depends on `method`.

    PUT: send them to `url` with exactly `headers`. POST: send a form of `fields`, and then `file`, to `url`.
    MULTIPART: PUT `part_size` bytes to the URL of each part, ask for more URLs, then complete. No method: a
    `duplicate`; the document that holds these bytes already is the one that is named.
    """

    document_id: str
    task_id: str
    key: str
    method: str | UnsetType = UNSET
    url: str | UnsetType = UNSET
    headers: dict[str, str] | UnsetType = UNSET
    fields: dict[str, str] | UnsetType = UNSET
    upload_id: str | UnsetType = UNSET
    part_size: int | UnsetType = UNSET
    parts: list[PartUrl] | UnsetType = UNSET
    expires_at: datetime | UnsetType = UNSET
    resumed: bool = False
    duplicate: bool = False
    name: str | UnsetType = UNSET
    version: int | UnsetType = UNSET


class UploadTickets(msgspec.Struct, frozen=True):
    items: list[UploadTicket]


def duplicate(existing: Existing) -> UploadTicket:
    return UploadTicket(
        document_id=existing.document_id,
        task_id=existing.task_id,
        key=existing.key,
        duplicate=True,
        name=existing.name,
        version=existing.version,
    )


def ticket(services: Services, file: File, announced: Announcement, *, urls: int) -> UploadTicket:
    """`urls`: how many parts are signed, if it has parts."""
    upload, seconds = file.upload, services.settings.upload_url_seconds
    if upload.upload_id and upload.part_size:
        opened = OpenUpload(
            document_id=announced.document_id,
            task_id=announced.task_id,
            bucket=services.objects.bucket,
            key=announced.key,
            size=upload.size,
            upload_id=upload.upload_id,
            part_size=upload.part_size,
        )
        return multipart_ticket(services, opened, list(opened.part_sizes), urls=urls, resumed=False)
    presigner = services.presigner
    fields: dict[str, str] | UnsetType = UNSET
    headers: dict[str, str] | UnsetType = UNSET
    if file.method == "post":
        url, fields = presigner.post(announced.key, size=upload.size, content_type=upload.content_type, seconds=seconds)
    else:
        url, headers = presigner.put(announced.key, size=upload.size, content_type=upload.content_type, seconds=seconds)
    return UploadTicket(
        document_id=announced.document_id,
        task_id=announced.task_id,
        key=announced.key,
        method=file.method.upper(),
        url=url,
        headers=headers,
        fields=fields,
        expires_at=datetime.now(UTC) + timedelta(seconds=seconds),
    )


def multipart_ticket(
    services: Services, upload: OpenUpload, left: Sequence[int], *, urls: int, resumed: bool
) -> UploadTicket:
    signed = sign(services, upload, left, at_most=urls)
    return UploadTicket(
        document_id=upload.document_id,
        task_id=upload.task_id,
        key=upload.key,
        method="MULTIPART",
        upload_id=upload.upload_id or UNSET,
        part_size=upload.part_size or UNSET,
        parts=signed.parts,
        expires_at=signed.expires_at,
        resumed=resumed,
    )
