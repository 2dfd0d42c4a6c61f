"""The second half of EXTRACT_TEXT for what has members: each into the bucket, under a key that names its document."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import IO, Any, cast

from common import erasing
from common.context import Context
from common.erasing import KnownBytes
from common.errors import Retryable
from common.filenames import guess_type
from common.findings import Found
from common.members import Room, prefix_of, room, take, unfolded_before
from common.records import Pin
from functions import framing
from functions.extractors import Format
from functions.framing import Framed, Slice

_READ_BYTES = 256 * 1024
_NONE = Room(levels=0, count=0, bytes=0)


def room_for(ctx: Context, kind: Format) -> Room:
    """What the document may unfold to. Asks nobody about those that have no members, and had none."""
    if not kind.has_members and ctx.target.version == 1:
        return _NONE
    settings = ctx.services.settings
    with ctx.services.database.transaction() as connection:
        return room(
            connection,
            ctx.target.document_id,
            levels=settings.max_member_levels,
            count=settings.max_members,
            size=settings.max_members_bytes,
        )


def options(room: Room) -> dict[str, int]:
    """The same for who reads it (functions/extractors/__init__.py)."""
    return {"member_levels": room.levels, "max_members": room.count, "max_members_bytes": room.bytes}


def keep(ctx: Context, frames: Path, told: Mapping[str, Any], room: Room) -> None:
    """Put what is new or changed of the members, and erase those of earlier versions that are no more.

    `frames`: what the jail wrote, none if it has no members any more. A second run finds all there, and puts nothing;
    nor does a new version of the same bytes.
    Raises `Retryable` while an earlier version is still at it, `LeaseLost` where this is no longer the newest.
    """
    services, document_id = ctx.services, ctx.target.document_id
    with services.database.alone(f"members:{document_id}") as ours:
        if not ours:
            raise Retryable("An earlier version of the document is still being taken apart.", code="MEMBERS_BUSY")
        with services.database.transaction() as connection:
            take(
                connection,
                document_id,
                ctx.target.task_id,
                count=told["members"],
                size=told["bytes"],
                most=services.settings.max_members,
                most_bytes=services.settings.max_members_bytes,
            )
            # Processing an archive again must not bring back what somebody deleted of it.
            again = unfolded_before(connection, ctx.target.task_id)
        prefix = prefix_of(document_id)
        there = {one.key: one.found for one in services.objects.listed(ctx.target.bucket, prefix)}
        put, wanted = 0, set()
        with frames.open("rb") as file:
            for framed in framing.read(file, room.count):
                ctx.check_cancelled()
                key = prefix + framed.path
                wanted.add(key)
                if again and key not in there:
                    continue
                if not _is_there(ctx, key, there.get(key), frames, framed):
                    _put(ctx, key, frames, framed)
                    put += 1
        for key in sorted(gone := there.keys() - wanted):
            _erase(ctx, key)
    ctx.note(members_put=put, **({"members_erased": len(gone)} if gone else {}))


def _is_there(ctx: Context, key: str, found: Found | None, frames: Path, framed: Framed) -> bool:
    """Whether the same bytes lie there. An ETag that is no MD5, as of what went in parts, says nothing: then they are
    read."""
    if found is None or found.size != framed.size:
        return False
    digest, sha256 = hashlib.md5(usedforsecurity=False), hashlib.sha256()
    with Slice(frames, framed) as content:
        while piece := content.read(_READ_BYTES):
            digest.update(piece)
            sha256.update(piece)
    if found.etag == digest.hexdigest():
        return True
    if len(found.etag) == 2 * digest.digest_size and "-" not in found.etag:
        return False
    stored = hashlib.sha256()
    for piece in ctx.services.objects.stream(Pin(ctx.target.bucket, key, found.etag, found.size), 0):
        ctx.check_cancelled()
        stored.update(piece)
    return stored.digest() == sha256.digest()


def _put(ctx: Context, key: str, frames: Path, framed: Framed) -> None:
    name = PurePosixPath(key).name
    with Slice(frames, framed) as content:
        ctx.services.objects.put_stream(
            key, cast("IO[bytes]", content), framed.size, bucket=ctx.target.bucket, content_type=guess_type(name)
        )
    ctx.services.failpoints.reach("after_member", "EXTRACT_TEXT")


def _erase(ctx: Context, key: str) -> None:
    """The object, with every version that the bucket keeps: nobody else puts any there."""
    nothing = frozenset[str]()
    known = KnownBytes(ctx.target.bucket, key, nothing, nothing, nothing, live=False, announced=True)
    erasing.erase(ctx.services.objects, known, check=ctx.check_cancelled)
