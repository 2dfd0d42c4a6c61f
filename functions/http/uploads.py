"""POST /uploads and /uploads/batch: announce documents and get URLs to put them to. No byte passes through here."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from sqlalchemy import Connection

from common import access, open_uploads, uploads
from common.access import Role
from common.errors import RequestError
from common.http import Call, Reply
from common.multipart import Multipart, UploadGone, part_size
from common.open_uploads import OpenUpload
from common.uploads import Announcement, Content
from functions.http.parts import missing, signed_at_first
from functions.http.upload_requests import File, UploadBatch, UploadRequest, checked
from functions.http.upload_tickets import UploadTicket, UploadTickets, duplicate, multipart_ticket, ticket

# Multipart uploads of a batch that the store is asked to begin at once.
_BEGUN_AT_ONCE = 8


def create_upload(call: Call, body: UploadRequest) -> Reply[UploadTicket]:
    """Announce a document, and get a URL to put its bytes to. 200 if it is there already, or is gone on with."""
    (ticket,) = _tickets(call, [checked(call.services.settings, body)])
    return Reply(ticket, 200 if ticket.duplicate or ticket.resumed else 201)


def create_uploads(call: Call, body: UploadBatch) -> UploadTickets:
    """Announce many documents: all of them, or, if one is refused, none."""
    files = []
    for index, request in enumerate(body.files):
        try:
            files.append(checked(call.services.settings, request))
        except RequestError as error:
            error.message = f"files[{index}]: {error.message}"
            error.details["index"] = index
            raise
    return UploadTickets(_tickets(call, files))


def _tickets(call: Call, files: Sequence[File]) -> list[UploadTicket]:
    """What is simple takes one transaction; multipart uploads ask the store first, and outside of any."""
    known: dict[int, UploadTicket] = {}
    resumable: dict[int, OpenUpload] = {}
    announced: list[Announcement] | None = None
    urls = signed_at_first(len(files))
    with call.services.database.transaction() as connection:
        files = _in_their_bases(call, connection, files)
        known = _duplicates(connection, files)
        if any(file.method == "multipart" for file in files):
            resumable = _resumable(call, connection, files, known)
        else:
            fresh = [file for index, file in enumerate(files) if index not in known]
            announced = _announce(call, connection, fresh)
    if announced is None:
        known |= _resumed(call, resumable, urls=urls)
        fresh = _begun(call, [file for index, file in enumerate(files) if index not in known])
        with call.services.database.transaction() as connection:
            announced = _announce(call, connection, fresh)
    made = iter([ticket(call.services, file, one, urls=urls) for file, one in zip(fresh, announced, strict=True)])
    return [known[index] if index in known else next(made) for index in range(len(files))]


def _in_their_bases(call: Call, connection: Connection, files: Sequence[File]) -> list[File]:
    named = {file.upload.knowledge_base_id for file in files}
    bases = {name: access.find_base(connection, call.caller, name or None, Role.EDITOR) for name in named}
    return [
        replace(file, upload=replace(file.upload, knowledge_base_id=bases[file.upload.knowledge_base_id]))
        for file in files
    ]


def _duplicates(connection: Connection, files: Sequence[File]) -> dict[int, UploadTicket]:
    """Tickets of files that are there already, by their place."""
    contents = {
        index: Content(file.upload.knowledge_base_id, file.upload.sha256, file.upload.size)
        for index, file in enumerate(files)
        if file.upload.sha256 and not file.allow_duplicate
    }
    same = uploads.find_all_same(connection, list(set(contents.values())))
    return {index: duplicate(same[content]) for index, content in contents.items() if content in same}


def _resumable(
    call: Call, connection: Connection, files: Sequence[File], known: Mapping[int, UploadTicket]
) -> dict[int, OpenUpload]:
    places = [
        index
        for index, file in enumerate(files)
        if file.method == "multipart" and file.upload.sha256 and index not in known
    ]
    if not places:
        return {}
    found = open_uploads.find_resumable(connection, call.caller.user_id, [files[index].upload for index in places])
    open_uploads.prolong(
        connection,
        [upload.document_id for upload in found.values()],
        seconds=call.services.settings.upload_multipart_seconds,
    )
    return {places[place]: upload for place, upload in found.items()}


def _resumed(call: Call, resumable: Mapping[int, OpenUpload], *, urls: int) -> dict[int, UploadTicket]:
    """Tickets for what is left of these uploads; none for one that the store knows no more."""
    tickets = {}
    for index, upload in resumable.items():
        try:
            left = missing(call.services, upload)
        except UploadGone:
            continue
        tickets[index] = multipart_ticket(call.services, upload, left, urls=urls, resumed=True)
    return tickets


def _begun(call: Call, files: Sequence[File]) -> list[File]:
    """With the store's id, and under which document, where they are multipart uploads.

    One that is not announced in the end is found and dropped by functions/schedule/expire.py.
    """
    settings, multipart = call.services.settings, Multipart(call.services.objects)

    def begin(file: File) -> File:
        if file.method != "multipart":
            return file
        document_id = str(uuid.uuid4())
        key = uploads.key_of(document_id, file.upload.filename)
        upload = replace(
            file.upload,
            document_id=document_id,
            upload_id=multipart.begin(key, file.upload.content_type),
            part_size=part_size(file.upload.size, settings.upload_part_bytes),
            expires_seconds=settings.upload_multipart_seconds,
        )
        return replace(file, upload=upload)

    if len(files) == 1:
        return [begin(files[0])]
    with ThreadPoolExecutor(_BEGUN_AT_ONCE) as threads:
        return list(threads.map(begin, files))


def _announce(call: Call, connection: Connection, files: Sequence[File]) -> list[Announcement]:
    return uploads.announce_all(
        connection,
        call.pipelines["DOCUMENT_UPLOAD"],
        [file.upload for file in files],
        caller=call.caller,
        bucket=call.services.objects.bucket,
    )
