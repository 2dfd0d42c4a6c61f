"""What is between the announcement of a multipart upload and its end: sign parts, list what arrived, finish, abort."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from threading import Semaphore
from typing import Annotated

import msgspec

from common import audit, open_uploads
from common.errors import Conflict, NotFound, Refused, TooMany
from common.http import Call
from common.multipart import MAX_PARTS, Multipart, Part, UploadGone
from common.open_uploads import OpenUpload
from common.services import Services

# The rest of an upload's parts are signed when they are asked for: most fail or end long before.
_SIGNED_AT_FIRST = 100
_SIGNED_AT_ONCE = 1000
# Each holds a connection to Postgres, of which there are few, while the store is at it, which may take long.
_FINISHED_AT_ONCE = Semaphore(3)

Number = Annotated[int, msgspec.Meta(ge=1, le=MAX_PARTS)]


class PartUrl(msgspec.Struct, frozen=True):
    """PUT exactly `size` bytes to `url`."""

    number: int
    url: str
    size: int


class PartUrls(msgspec.Struct, frozen=True):
    parts: list[PartUrl]
    expires_at: datetime


class SignRequest(msgspec.Struct):
    numbers: Annotated[list[Number], msgspec.Meta(min_length=1, max_length=_SIGNED_AT_ONCE)]


class PartView(msgspec.Struct, frozen=True):
    """A part that the store has."""

    number: int
    size: int
    etag: str


class UploadProgress(msgspec.Struct, kw_only=True, frozen=True):
    """`parts` have arrived, `missing` are the numbers of those that have not. `completed`: the upload is finished."""

    document_id: str
    task_id: str
    key: str
    size: int
    completed: bool
    upload_id: str | None
    part_size: int | None
    parts: list[PartView]
    missing: list[int]


class SentPart(msgspec.Struct):
    number: Number
    etag: Annotated[str, msgspec.Meta(max_length=200)]


class CompleteRequest(msgspec.Struct):
    """`parts`: what the client believes to have sent; left out: whatever has arrived."""

    parts: Annotated[list[SentPart], msgspec.Meta(max_length=MAX_PARTS)] | None = None


class UploadEnd(msgspec.Struct, frozen=True):
    document_id: str
    task_id: str
    key: str
    size: int


def list_parts(call: Call) -> UploadProgress:
    """What has arrived of a multipart upload, and what has not: to go on with it after a break."""
    upload = _upload(call)
    arrived = [] if upload.arrived else _arrived(call.services, upload)
    completed = arrived is None or upload.arrived
    return UploadProgress(
        document_id=upload.document_id,
        task_id=upload.task_id,
        key=upload.key,
        size=upload.size,
        completed=completed,
        upload_id=upload.upload_id,
        part_size=upload.part_size,
        parts=[PartView(part.number, part.size, part.etag) for part in arrived or []],
        missing=[] if completed else _missing(upload, arrived or []),
    )


def sign_parts(call: Call, body: SignRequest) -> PartUrls:
    """Fresh URLs for these parts; the upload is waited for so much longer."""
    upload = _upload(call)
    _demand_open(upload)
    if wrong := [number for number in body.numbers if number not in upload.part_sizes]:
        raise Refused(
            f"This upload has the parts 1 to {len(upload.part_sizes)}, and no {wrong[0]}.", code="NO_SUCH_PART"
        )
    with call.services.database.transaction() as connection:
        seconds = call.services.settings.upload_multipart_seconds
        open_uploads.prolong(connection, [upload.document_id], seconds=seconds)
        audit.record(connection, call.caller, "upload.sign", upload.document_id, parts=len(body.numbers))
    return sign(call.services, upload, body.numbers, at_most=_SIGNED_AT_ONCE)


def complete_upload(call: Call, body: CompleteRequest) -> UploadEnd:
    """Make the object of its parts. Asked again, or by two at once, the answer is the same."""
    upload = _upload(call)
    end = UploadEnd(upload.document_id, upload.task_id, upload.key, upload.size)
    if upload.arrived:
        return end
    arrived = _arrived(call.services, upload)
    if arrived is None:
        return end
    _demand_open(upload)
    _demand_whole(upload, arrived, body.parts)
    # Of two at once a store may refuse both, or worse.
    with _turn(call), call.services.database.exclusive(f"upload:{upload.document_id}") as connection:
        try:
            Multipart(call.services.objects).complete(upload.key, upload.upload_id or "", arrived)
        except UploadGone:
            if not call.services.objects.exists(upload.key):
                raise
            return end  # another was quicker
        audit.record(connection, call.caller, "upload.complete", upload.document_id, parts=len(arrived))
    return end


def abort_upload(call: Call) -> UploadEnd:
    """Give an upload up: what has arrived of it is dropped. To repeat it changes nothing."""
    with call.services.database.transaction() as connection:
        upload = _found(open_uploads.hold(connection, call.path["document_id"]))
        if upload.arrived:
            raise Conflict(
                f"The file has arrived: DELETE /documents/{upload.document_id} takes it away again.",
                code="UPLOAD_COMPLETE",
            )
        if upload.status == "PENDING":
            open_uploads.abort(connection, upload)
            audit.record(connection, call.caller, "upload.abort", upload.document_id)
    if upload.upload_id:
        Multipart(call.services.objects).abort(upload.key, upload.upload_id)
    return UploadEnd(upload.document_id, upload.task_id, upload.key, upload.size)


def signed_at_first(uploads: int) -> int:
    """How many of its parts are signed for each of so many that are announced together: at least one."""
    return max(1, min(_SIGNED_AT_FIRST, _SIGNED_AT_ONCE // uploads))


def sign(services: Services, upload: OpenUpload, numbers: Iterable[int], *, at_most: int) -> PartUrls:
    """URLs for the first of these parts."""
    seconds, sizes = services.settings.upload_url_seconds, upload.part_sizes
    expires_at = datetime.now(UTC) + timedelta(seconds=seconds)
    parts = [
        PartUrl(
            number,
            services.presigner.part(upload.key, upload.upload_id or "", number, size=sizes[number], seconds=seconds),
            sizes[number],
        )
        for number in sorted(set(numbers))[:at_most]
    ]
    return PartUrls(parts, expires_at)


def missing(services: Services, upload: OpenUpload) -> list[int]:
    """Numbers of the parts that have not arrived, or not whole. Raises `UploadGone`."""
    return _missing(upload, Multipart(services.objects).parts(upload.key, upload.upload_id or ""))


def _missing(upload: OpenUpload, arrived: Sequence[Part]) -> list[int]:
    there = {part.number: part.size for part in arrived}
    return [number for number, size in upload.part_sizes.items() if there.get(number) != size]


def _upload(call: Call) -> OpenUpload:
    with call.services.database.transaction() as connection:
        upload = _found(open_uploads.find(connection, call.path["document_id"]))
    if upload.upload_id is None:
        raise Conflict("This is no multipart upload: PUT it to its URL, and it is finished.", code="NOT_MULTIPART")
    return upload


def _found(upload: OpenUpload | None) -> OpenUpload:
    if upload is None:
        raise NotFound("There is no such upload any more: its document was deleted.")
    return upload


def _arrived(services: Services, upload: OpenUpload) -> list[Part] | None:
    """Parts that the store has. None: the object is there, though its notification is still on its way."""
    try:
        return Multipart(services.objects).parts(upload.key, upload.upload_id or "")
    except UploadGone:
        if services.objects.exists(upload.key):
            return None
        _demand_open(upload)
        raise


@contextmanager
def _turn(call: Call) -> Iterator[None]:
    """Raises `TooMany` if none comes in time."""
    if not _FINISHED_AT_ONCE.acquire(timeout=call.services.settings.server_timeout_seconds):
        raise TooMany("Too many uploads are being finished at this moment. Try again in a second.")
    try:
        yield
    finally:
        _FINISHED_AT_ONCE.release()


def _demand_open(upload: OpenUpload) -> None:
    if upload.arrived:
        raise Conflict("This upload is finished: the file has arrived.", code="UPLOAD_COMPLETE")
    if upload.status != "PENDING":
        reason = upload.error_code or upload.status
        raise Conflict(f"This upload has ended ({reason}): announce it again.", code=reason)


def _demand_whole(upload: OpenUpload, arrived: Sequence[Part], sent: Sequence[SentPart] | None) -> None:
    if left := _missing(upload, arrived):
        raise Conflict(
            f"{len(left)} of {len(upload.part_sizes)} parts have not arrived.", code="PARTS_MISSING", missing=left
        )
    if sent is None:
        return
    there = {part.number: part.etag for part in arrived}
    told = {part.number: part.etag.strip('"') for part in sent}
    if wrong := sorted(number for number in told | there if told.get(number) != there.get(number)):
        raise Conflict("What arrived of these parts is not what was sent.", code="PARTS_DIFFER", parts=wrong)
