"""VALIDATE: pins the object and judges by its content whether it is a document that can be read."""

from __future__ import annotations

import hashlib

from common import uploads
from common.context import Context
from common.errors import Rejected
from common.records import Pin, Source
from functions.ingest.containers import Content
from functions.ingest.types import judge

_HEAD_BYTES = 64 * 1024


def validate(ctx: Context) -> Source:
    """The object pinned, with its type. Reads it once, for its SHA-256, and the directory of a container again.

    Raises `Rejected` with OBJECT_GONE, EMPTY_FILE, FILE_TOO_LARGE, CHECKSUM_MISMATCH, and the codes of `judge`.
    """
    objects, name = ctx.services.objects, ctx.target.name
    pin = objects.pin(ctx.target, ctx.services.settings.max_document_bytes)
    if pin.size == 0:
        raise Rejected(f"{name} is empty: it has no bytes at all.", code="EMPTY_FILE")
    head = objects.read_range(pin, 0, _HEAD_BYTES)
    _verify(ctx, pin, head)
    kind = judge(name, Content(pin.size, head, lambda start, length: objects.read_range(pin, start, length)))
    ctx.note(media_type=kind.media_type, bytes=pin.size)
    return Source(pin=pin, name=name, media_type=kind.media_type)


def _verify(ctx: Context, pin: Pin, head: bytes) -> None:
    digest = hashlib.sha256(head)
    if pin.size > len(head):
        read = len(head)
        for piece in ctx.services.objects.stream(pin, read):
            digest.update(piece)
            read += len(piece)
            ctx.progress(read / pin.size)
            ctx.check_cancelled()
    found = digest.hexdigest()
    with ctx.services.database.transaction() as connection:
        announced = uploads.verify(
            connection, document_id=ctx.target.document_id, version=ctx.target.version, sha256=found
        )
    if announced is not None:
        raise Rejected(
            f"{ctx.target.name} did not arrive as it was announced: its SHA-256 is {found}, and should be {announced}. "
            "Upload it again.",
            code="CHECKSUM_MISMATCH",
        )
