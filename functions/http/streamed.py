"""POST /documents/upload: a document in a form, for clients that cannot PUT. Its bytes pass through here."""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any

import msgspec

from common import access, open_uploads, uploads
from common.access import Role
from common.errors import BrigadeError, Refused, RequestError
from common.http import Call, Reply, decode_body
from common.streamed import StreamedObject
from common.uploads import Announcement, Existing, Upload
from functions.http.upload_requests import UploadRequest, checked

# What curl and browsers say of what they do not know.
_UNTOLD = "application/octet-stream"
_CONTENT_TYPE = re.compile(r"(?a)[\w.+-]+/[\w.+-]+(; ?[\w-]+=[\w.+-]+)*")


class DocumentForm(msgspec.Struct, kw_only=True, frozen=True):
    """The form's fields beside `file`, which may come before it or after. `metadata` is a JSON object.

    Others are passed over, and so are empty ones: pages send all fields that they have.
    """

    metadata: dict[str, Any] = {}
    knowledge_base_id: Annotated[str, msgspec.Meta(max_length=200)] | None = None
    sha256: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-fA-F]{64}\Z")] | None = None
    allow_duplicate: bool = False


class UploadReceipt(msgspec.Struct, kw_only=True, frozen=True):
    """`duplicate`: the base has these bytes already, and nothing was added; the ids are of the document that has."""

    success: bool = True
    document_id: str
    task_id: str
    message: str
    duplicate: bool = False


class DocumentUpload:
    """One upload: `begin`, `write` for each part, `finish` with the rest; or `abort`. One call at a time."""

    form = DocumentForm

    def __init__(self, call: Call) -> None:
        self._call = call
        self._document_id = str(uuid.uuid4())
        self._object: StreamedObject | None = None

    def begin(self, filename: str, content_type: str, fields: Mapping[str, str]) -> int:
        """The file comes now. Refuses what can be refused by the fields before it. Returns the size of a part."""
        self._filename, self._content_type = filename, content_type
        upload = self._checked(decode_form(fields))
        if upload.knowledge_base_id:
            with self._call.services.database.transaction() as connection:
                access.find_base(connection, self._call.caller, upload.knowledge_base_id, Role.EDITOR)
        self._object = StreamedObject(
            self._call.services.objects,
            uploads.key_of(self._document_id, upload.filename),
            upload.content_type,
            max_bytes=self._call.services.settings.max_document_bytes,
        )
        return self._object.part_bytes

    def write(self, part: bytes | bytearray) -> None:
        self._begun.write(part)

    def finish(self, rest: bytes | bytearray, fields: Mapping[str, str]) -> Reply[UploadReceipt]:
        """All has come, the fields after the file too. Rows are there before anybody can see the object."""
        form = decode_form(fields)
        upload, sent = self._checked(form), self._begun
        sent.seal(rest)
        if upload.sha256 not in (None, sent.sha256):
            raise Refused(f"The file that came has the SHA-256 {sent.sha256}: send it again.", code="SHA256_MISMATCH")
        upload = replace(
            upload,
            size=sent.size,
            sha256=sent.sha256,
            document_id=self._document_id,
            upload_id=sent.upload_id,
            part_size=sent.part_bytes if sent.upload_id else None,
        )
        found = self._find_or_announce(upload, allow_duplicate=form.allow_duplicate)
        if isinstance(found, Existing):
            sent.abort()
            return Reply(_receipt(found, f"Your knowledge base has this file already, as {found.name!r}."), 200)
        self._complete(sent, found)
        return Reply(_receipt(found, "The file was received; its task tells what becomes of it."))

    def abort(self) -> None:
        """Leave nothing in the store, wherever it stopped."""
        if self._object is not None:
            self._object.abort()

    @property
    def _begun(self) -> StreamedObject:
        assert self._object is not None, "begin comes first"
        return self._object

    def _checked(self, form: DocumentForm) -> Upload:
        told = self._content_type if _CONTENT_TYPE.fullmatch(self._content_type) else _UNTOLD
        request = UploadRequest(
            filename=self._filename,
            size=0,
            content_type=None if told == _UNTOLD else told,
            sha256=form.sha256,
            metadata=form.metadata,
            knowledge_base_id=form.knowledge_base_id,
        )
        return checked(self._call.services.settings, request).upload

    def _find_or_announce(self, upload: Upload, *, allow_duplicate: bool) -> Existing | Announcement:
        call, named = self._call, upload.knowledge_base_id or None
        with call.services.database.transaction() as connection:
            base = access.find_base(connection, call.caller, named, Role.EDITOR)
            if upload.sha256 and not allow_duplicate:
                same = uploads.find_same(connection, knowledge_base_id=base, sha256=upload.sha256, size=upload.size)
                if same is not None:
                    return same
            (announced,) = uploads.announce_all(
                connection,
                call.pipelines["DOCUMENT_UPLOAD"],
                [replace(upload, knowledge_base_id=base)],
                caller=call.caller,
                bucket=call.services.objects.bucket,
            )
        return announced

    def _complete(self, sent: StreamedObject, announced: Announcement) -> None:
        try:
            sent.complete()
        except BrigadeError:
            with self._call.services.database.transaction() as connection:
                left = open_uploads.hold(connection, announced.document_id)
                if left is not None and not left.arrived:
                    open_uploads.abort(connection, left)
            raise


def decode_form(fields: Mapping[str, str]) -> DocumentForm:
    """The fields that count, as what they are to be. Raises `RequestError` (INVALID_BODY)."""
    given: dict[str, Any] = {name: value for name, value in fields.items() if value}
    if any("\0" in value for value in given.values()):
        raise RequestError("The form holds a NUL character, which no text may.", code="INVALID_BODY")
    if "metadata" in given:
        given["metadata"] = decode_body(given["metadata"].encode(), dict[str, Any])
    try:
        return msgspec.convert(given, DocumentForm, strict=False)
    except msgspec.ValidationError as error:
        raise RequestError(f"The form is not what this call takes: {error}", code="INVALID_BODY") from error


def _receipt(found: Existing | Announcement, message: str) -> UploadReceipt:
    return UploadReceipt(
        document_id=found.document_id,
        task_id=found.task_id,
        message=message,
        duplicate=isinstance(found, Existing),
    )
