"""What is in a document: its bytes to download, its text by page, its chunks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import msgspec

from common import document_views
from common.artifacts import pin_key
from common.contents import CHUNKED, CLEANED, EXTRACTED, Made, Position, Reader, find
from common.document_views import VersionRow
from common.errors import Conflict, NotFound, RequestError
from common.filenames import guess_type
from common.http import Call, Reply
from common.index import Hit
from common.paging import Cursor, Limit
from common.records import Box, Chunk, Page
from common.services import Services

_Version = Annotated[int, msgspec.Meta(ge=1, le=(1 << 31) - 1, description="None: the one that search shows.")]
_PageNumber = Annotated[int, msgspec.Meta(ge=1, le=(1 << 31) - 1, description="This page only.")]
_NO_VERSION = "The document has no such version."


class DownloadQuery(msgspec.Struct, kw_only=True):
    """`version`: none, the newest. `redirect`: answer 307, as a browser's link wants it."""

    version: _Version | None = None
    redirect: bool = False


class Download(msgspec.Struct, kw_only=True, frozen=True):
    """`expires_in`: seconds."""

    success: bool
    document_name: str
    version: int
    download_url: str
    expires_in: int


def download(call: Call, query: DownloadQuery) -> Reply[Download]:
    """A URL, good for a while, to download the document's bytes from the store under its name."""
    services, document_id = call.services, call.path["document_id"]
    with services.database.transaction() as connection:
        found = document_views.read_version(connection, document_id, query.version)
    if found is None:
        raise NotFound(_NO_VERSION)
    if found.etag is None:
        raise Conflict("The document has not been uploaded yet.", code="NOT_UPLOADED")
    bucket, key = _where(services, found)
    seconds = services.settings.download_url_seconds
    url = services.presigner.get(
        bucket,
        key,
        version_id=found.store_version_id,
        filename=found.name,
        content_type=found.content_type or guess_type(found.name),
        seconds=seconds,
    )
    made = Download(success=True, document_name=found.name, version=found.version, download_url=url, expires_in=seconds)
    headers = {"Cache-Control": "no-store"}
    return Reply(made, 307, headers | {"Location": url}) if query.redirect else Reply(made, headers=headers)


def _where(services: Services, found: VersionRow) -> tuple[str, str]:
    """The bucket and key that hold the version's bytes: its own, else the copy that its task works on."""
    objects = services.objects
    if found.store_version_id:
        if objects.exists(found.key, bucket=found.bucket, version_id=found.store_version_id):
            return found.bucket, found.key
    else:
        current = objects.look(found.bucket, found.key)
        if current is not None and current.etag == found.etag:
            return found.bucket, found.key
        if objects.exists(pin_key(found.task_id)):
            return objects.bucket, pin_key(found.task_id)
    raise NotFound(f"The bytes of version {found.version} are no longer kept.", code="VERSION_NOT_KEPT")


class TextQuery(msgspec.Struct, kw_only=True):
    """`clean`: as it was split, which is what the chunks' offsets count in; else as it was extracted."""

    version: _Version | None = None
    page: _PageNumber | None = None
    clean: bool = False
    cursor: Cursor | None = None
    limit: Limit = 20


class TextPage(msgspec.Struct, kw_only=True, frozen=True):
    """A page's text; one that is very long goes on in the next item, under the same number."""

    number: int
    text: str


class TextPages(msgspec.Struct, kw_only=True, frozen=True):
    document_id: str
    version: int
    items: list[TextPage]
    next_cursor: str | None


def read_text(call: Call, query: TextQuery) -> TextPages:
    """The document's text, page by page."""
    step = CLEANED if query.clean else EXTRACTED
    version, made, start = _made(call, query.version, query.cursor, step)
    reader = Reader(call.services.objects, made, Page, "number")
    pages, following = reader.read(start, limit=query.limit, page=query.page)
    return TextPages(
        document_id=call.path["document_id"],
        version=version,
        items=[TextPage(number=page.number, text=page.text) for page in pages],
        next_cursor=None if following is None else Position(version, following).cursor(),
    )


class ChunksQuery(msgspec.Struct, kw_only=True):
    version: _Version | None = None
    page: _PageNumber | None = None
    cursor: Cursor | None = None
    limit: Limit = 50


class PlaceView(msgspec.Struct, kw_only=True, frozen=True):
    """A line on a page. `box`: left, top, right, bottom, in points from the page's upper left corner; of a picture, in
    its pixels."""

    page: int
    box: Box


class ChunkView(msgspec.Struct, kw_only=True, frozen=True):
    """A passage: the characters [start, end) of the document's clean text; `page` is where it starts.

    `headings`: those it stands under, the highest first. `places`: its lines, of formats that have places.
    """

    number: int
    page: int
    start: int
    end: int
    text: str
    headings: Sequence[str]
    places: list[PlaceView]


class Chunks(msgspec.Struct, kw_only=True, frozen=True):
    document_id: str
    version: int
    items: list[ChunkView]
    next_cursor: str | None


def read_chunks(call: Call, query: ChunksQuery) -> Chunks:
    """The passages that the document was split into."""
    version, made, start = _made(call, query.version, query.cursor, CHUNKED)
    chunks, following = Reader(call.services.objects, made, Chunk, "page").read(
        start, limit=query.limit, page=query.page
    )
    return Chunks(
        document_id=call.path["document_id"],
        version=version,
        items=[
            ChunkView(places=places_of(chunk), **{name: getattr(chunk, name) for name in _AS_CHUNKED})
            for chunk in chunks
        ],
        next_cursor=None if following is None else Position(version, following).cursor(),
    )


_AS_CHUNKED = ("number", "page", "start", "end", "text", "headings")


def places_of(passage: Chunk | Hit) -> list[PlaceView]:
    return [PlaceView(page=place.page, box=place.box) for place in passage.places]


def _made(call: Call, version: int | None, cursor: str | None, step: str) -> tuple[int, Made, int]:
    """The version, what this step made of it, and the byte to begin at."""
    position = Position.read(cursor) if cursor is not None else None
    if position is not None and version not in (None, position.version):
        raise RequestError("The cursor is of another version.", code="INVALID_CURSOR")
    with call.services.database.transaction() as connection:
        wanted = position.version if position else version
        found = document_views.read_version(connection, call.path["document_id"], wanted, shown=True)
        if found is None:
            raise NotFound(_NO_VERSION)
        made = find(connection, found.task_id, step)
    if made is None:
        raise Conflict(_why_not(found), code="NOT_EXTRACTED", status=found.status)
    return found.version, made, position.offset if position else 0


def _why_not(found: VersionRow) -> str:
    match found.status:
        case "PENDING":
            return "The document has not been uploaded yet."
        case "RUNNING":
            return "The document is being processed: its text is not there yet."
        case "COMPLETED":
            return "What was made of this version was not kept."
        case _:
            return f"Version {found.version} was not processed to this point: {found.error_message}"
