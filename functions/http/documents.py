"""Documents: listed, looked at, described, processed again, deleted. What is in them: contents.py."""

from __future__ import annotations

import unicodedata
from datetime import datetime
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal

import msgspec
from sqlalchemy import RowMapping, text

from common import access, audit, document_views, documents, paging, removals
from common.access import Role
from common.document_views import Filter
from common.errors import NotFound
from common.filenames import clean_filename
from common.http import Call
from functions.extractors import FORMATS
from functions.http.upload_requests import check_metadata

_Text = Annotated[str, msgspec.Meta(min_length=1, max_length=255)]
_Moment = Annotated[datetime, msgspec.Meta(tz=True)]


class DocumentView(msgspec.Struct, kw_only=True, frozen=True):
    """A document and its newest version, whose task `processing_status` and the error are of.

    `file_type`: pdf, docx, xlsx, eml, code and so on, by its content; of what cannot be read, the end of its name.
    `shown_version`: the one that search shows, none before one is complete. `parent_id`: the archive or e-mail that it
    was in.
    """

    id: str
    name: str
    file_type: str | None
    content_type: str | None
    file_size: int | None
    etag: str | None
    sha256: str | None
    bucket_name: str
    object_key: str
    version: int
    shown_version: int | None
    knowledge_base_id: str
    user_id: str
    parent_id: str | None
    metadata: dict[str, Any]
    processing_status: str
    error_code: str | None
    error_message: str | None
    task_id: str
    created_at: datetime
    updated_at: datetime


class DocumentQuery(msgspec.Struct, kw_only=True):
    """`knowledge_base_id`: its id or its name. `q`: anywhere in the name, in whatever case.

    `parent_id`: what this archive or e-mail held. `created_after` itself is in the list, `created_before` is not.
    """

    knowledge_base_id: Annotated[str, msgspec.Meta(min_length=1, max_length=200)] | None = None
    processing_status: Literal["PENDING", "RUNNING", "COMPLETED", "FAILED", "CANCELLED"] | None = None
    file_type: _Text | None = None
    content_type: _Text | None = None
    q: _Text | None = None
    created_after: _Moment | None = None
    created_before: _Moment | None = None
    user_id: _Text | None = None
    parent_id: _Text | None = None
    cursor: paging.Cursor | None = None
    limit: paging.Limit = 50


class DocumentPage(msgspec.Struct, kw_only=True, frozen=True):
    items: list[DocumentView]
    next_cursor: str | None


def list_documents(call: Call, query: DocumentQuery) -> DocumentPage:
    """The documents that the caller may see, the newest first."""
    position = paging.after(query.cursor)
    with call.services.database.transaction() as connection:
        if query.knowledge_base_id is None:
            bases = access.visible_bases(connection, call.caller)
        else:
            bases = [access.find_base(connection, call.caller, query.knowledge_base_id, Role.READER)]
        wanted = Filter(
            bases=bases,
            status=query.processing_status,
            content_type=query.content_type,
            name_part=unicodedata.normalize("NFC", query.q) if query.q else None,
            created_after=query.created_after,
            created_before=query.created_before,
            user_id=query.user_id,
            parent_id=query.parent_id,
            **_of_type(query.file_type),
        )
        rows = document_views.read_documents(connection, wanted, position=position, limit=query.limit)
    shown, following = paging.cut(rows, query.limit)
    return DocumentPage(items=[_view(row) for row in shown], next_cursor=following)


def get_document(call: Call) -> DocumentView:
    """A document and its newest version."""
    with call.services.database.transaction() as connection:
        return _view(document_views.read_document(connection, call.path["document_id"]))


class DocumentChange(msgspec.Struct, kw_only=True):
    """What is left out stays. `metadata` is replaced as a whole."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=1024)] | msgspec.UnsetType = msgspec.UNSET
    metadata: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET


def change_document(call: Call, body: DocumentChange) -> DocumentView:
    """Rename a document, or replace its metadata. The object in the store keeps its key."""
    document_id = call.path["document_id"]
    name = None if body.name is msgspec.UNSET else clean_filename(body.name)
    metadata = None if body.metadata is msgspec.UNSET else body.metadata
    if metadata is not None:
        check_metadata(call.services.settings, metadata)
    with call.services.database.transaction() as connection:
        connection.execute(
            text("""
                UPDATE documents
                SET name = coalesce(:name, name), metadata = coalesce(:metadata ::jsonb, metadata), updated_at = now()
                WHERE id = :id AND deleted_at IS NULL
            """),
            {
                "id": document_id,
                "name": name,
                "metadata": None if metadata is None else msgspec.json.encode(metadata).decode(),
            },
        )
        changed = [field for field, value in (("name", name), ("metadata", metadata)) if value is not None]
        audit.record(connection, call.caller, "document.change", document_id, changed=changed)
        return _view(document_views.read_document(connection, document_id))


class Begun(msgspec.Struct, kw_only=True, frozen=True):
    """The task that does it."""

    task_id: str


def reprocess_document(call: Call) -> Begun:
    """Process the document's bytes again. Search shows what there was until the new is complete."""
    document_id = call.path["document_id"]
    with call.services.database.transaction() as connection:
        task_id, begun = documents.reprocess(
            connection, document_id, call.pipelines["DOCUMENT_UPLOAD"], user_id=call.caller.user_id
        )
        audit.record(connection, call.caller, "document.reprocess", document_id, task_id=task_id)
    call.send(begun)
    return Begun(task_id=task_id)


def delete_document(call: Call) -> Begun:
    """Delete the document everywhere. It is out of sight at once; the task ends when its vectors are gone.

    Asked again while the task runs, the answer is the same; after a failure it begins anew.
    """
    document_id = call.path["document_id"]
    with call.services.database.transaction() as connection:
        task_id, begun = removals.ask(
            connection, document_id, call.pipelines["DOCUMENT_DELETE"], user_id=call.caller.user_id
        )
        if begun:
            audit.record(connection, call.caller, "document.delete", document_id, task_id=task_id)
    call.send(begun)
    return Begun(task_id=task_id)


def _view(row: RowMapping | None) -> DocumentView:
    if row is None:
        raise NotFound("There is no such document.")
    known = dict(row)
    return DocumentView(file_type=_type_of(known.pop("media_type"), known["name"]), **known)


def _type_of(media_type: str | None, name: str) -> str | None:
    """By what VALIDATE found in it, else by its name."""
    if media_type in FORMATS:
        return FORMATS[media_type].code
    suffix = PurePosixPath(name).suffix.lower()
    by_name = next((kind.code for kind in FORMATS.values() if suffix in kind.suffixes), suffix[1:])
    return by_name or None


def _of_type(file_type: str | None) -> dict[str, Any]:
    """The same the other way round, for a list."""
    if file_type is None:
        return {}
    kinds = [kind for kind in FORMATS.values() if kind.code == file_type.lower()]
    return {
        "media_types": [kind.media_type for kind in kinds],
        "suffixes": [suffix for kind in kinds for suffix in kind.suffixes] or [f".{file_type}"],
    }
