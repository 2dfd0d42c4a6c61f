"""POST /documents/upload: a document in a form, for clients that cannot PUT. Its bytes pass through here."""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
import structlog
from sqlalchemy import Connection

from common import access, open_uploads, uploads
from common.access import Role
from common.errors import BrigadeError, Refused, RequestError
from common.filenames import clean_filename, guess_type
from common.http import Call, Reply, decode_body
from common.streamed import StreamedObject
from common.uploads import Announcement, Existing

log = structlog.get_logger()

# What curl and browsers say of what they do not know.
_UNTOLD = "application/octet-stream"
_CONTENT_TYPE = re.compile(r"(?a)[\w.+-]+/[\w.+-]+(; ?[\w-]+=[\w.+-]+)*")


class DocumentForm(msgspec.Struct, kw_only=True, frozen=True):
    """The form's fields beside `file`, which may come before it or after. `metadata` is a JSON object.

    Others are passed over, and so are empty ones: pages send all fields that they have.
    """

    metadata: dict[str, Any] = {}
    knowledge_base_id: Annotated[str, msgspec.Meta(max_length=200)] | None = None
    sha256: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")] | None = None
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

    def begin(self, filename: str, content_type: str, fields: Mapping[str, str]) -> int:
        """The file comes now. Refuses what can be refused by the fields before it. Returns the size of a part."""
        self._filename = clean_filename(filename)
        told = content_type if _CONTENT_TYPE.fullmatch(content_type) else _UNTOLD
        self._content_type = guess_type(self._filename) if told == _UNTOLD else told
        form = decode_form(fields)
        if form.knowledge_base_id is not None:
            with self._call.services.database.transaction() as connection:
                self._base(connection, form)
        self._object = StreamedObject(
            self._call.services.objects,
            uploads.key_of(self._document_id, self._filename),
            self._content_type,
            max_bytes=self._call.services.settings.max_document_bytes,
        )
        return self._object.part_bytes

    def write(self, part: bytes | bytearray) -> None:
        self._object.write(part)

    def finish(self, rest: bytes | bytearray, fields: Mapping[str, str]) -> Reply[UploadReceipt]:
        """All has come, and the fields after the file too. Its rows are there before the object can be seen."""
        form = decode_form(fields)
        self._object.seal(rest)
        if form.sha256 is not None and form.sha256 != self._object.sha256:
            raise Refused(
                f"The file that came has the SHA-256 {self._object.sha256}: send it again.", code="SHA256_MISMATCH"
            )
        with self._call.services.database.transaction() as connection:
            found = self._find_or_announce(connection, form)
        if isinstance(found, Existing):
            self._object.abort()
            message = f"The knowledge base has this file already, as {found.name!r}."
            receipt = UploadReceipt(
                document_id=found.document_id, task_id=found.task_id, message=message, duplicate=True
            )
            return Reply(receipt, 200)
        self._complete(found)
        return Reply(
            UploadReceipt(
                document_id=found.document_id, task_id=found.task_id, message="The file was received; see its task."
            )
        )

    def abort(self) -> None:
        """Leave nothing, wherever it stopped."""
        if hasattr(self, "_object"):
            self._object.abort()

    def _base(self, connection: Connection, form: DocumentForm) -> str:
        return access.find_base(connection, self._call.caller, form.knowledge_base_id, Role.EDITOR)

    def _find_or_announce(self, connection: Connection, form: DocumentForm) -> Existing | Announcement:
        base, sent = self._base(connection, form), self._object
        if not form.allow_duplicate:
            same = uploads.find_same(connection, knowledge_base_id=base, sha256=sent.sha256, size=sent.size)
            if same is not None:
                return same
        return uploads.announce(
            connection,
            self._call.pipelines["DOCUMENT_UPLOAD"],
            caller=self._call.caller,
            bucket=self._call.services.objects.bucket,
            filename=self._filename,
            size=sent.size,
            content_type=self._content_type,
            metadata=form.metadata,
            knowledge_base_id=base,
            sha256=sent.sha256,
            document_id=self._document_id,
            upload_id=sent.upload_id,
            part_size=sent.part_bytes if sent.upload_id else None,
            expires_seconds=self._call.services.settings.upload_url_seconds,
        )

    def _complete(self, announced: Announcement) -> None:
        try:
            self._object.complete()
        except BrigadeError:
            with self._call.services.database.transaction() as connection:
                left = open_uploads.hold(connection, announced.document_id)
                if left is not None and not left.arrived:
                    open_uploads.abort(connection, left)
            raise


def decode_form(fields: Mapping[str, str]) -> DocumentForm:
    """The fields that count, as what they are to be. Raises `RequestError` (INVALID_BODY)."""
    given: dict[str, Any] = {name: value for name, value in fields.items() if value}
    if "metadata" in given:
        given["metadata"] = decode_body(given["metadata"].encode(), dict[str, Any])
    try:
        form = msgspec.convert(given, DocumentForm, strict=False)
    except msgspec.ValidationError as error:
        raise RequestError(f"The form is not what this call takes: {error}", code="INVALID_BODY") from error
    if any("\0" in value for value in fields.values()):
        raise RequestError("The form holds a NUL character, which no text may.", code="INVALID_BODY")
    return form
