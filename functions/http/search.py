"""POST /search: passages that answer a question, each with where it stands."""

from __future__ import annotations

import base64
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import msgspec

from common import access, shown
from common.access import Role
from common.document_filters import Condition, compile_filters
from common.errors import RequestError
from common.http import Call, Reply
from common.index import Hit
from common.paging import Cursor
from common.services import Services
from common.shown import Shown
from functions.extractors import FORMATS
from functions.http.contents import PlaceView, places_of
from functions.http.highlights import Highlight, highlights

# How deep the lists are read that are fused; the deeper ones only when hits do not suffice, as they cost more. What a
# deeper look brings comes after what was shown before it, so that pages neither repeat nor lose a hit.
DEPTHS = (20, 100, 500, 2000)
# Documents that the index is told to keep to. Where filters let in more, most hits meet them anyway.
_NAMED_DOCUMENTS = 1000

_FILE_TYPES = {media_type: kind.code for media_type, kind in FORMATS.items()}

_Id = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_-]{1,64}\Z")]
_Base = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]


class SearchRequest(msgspec.Struct):
    """`filters`: as in {"file_type": "pdf", "metadata.author": ["Li", "Wang"], "created_at": {"gte":
    "2026-01-01T00:00:00Z"}}; any, all and not combine them. `neighbours`: so many chunks before and after each hit come
    with it."""

    query: Annotated[str, msgspec.Meta(min_length=1, max_length=10_000)]
    top_k: Annotated[int, msgspec.Meta(ge=1, le=100)] = 5
    mode: Literal["hybrid", "dense", "keyword"] = "hybrid"
    document_ids: Annotated[list[_Id], msgspec.Meta(max_length=100)] | None = None
    filters: dict[str, Any] | None = None
    neighbours: Annotated[int, msgspec.Meta(ge=0, le=5)] = 0
    cursor: Cursor | None = None


class WideSearchRequest(SearchRequest):
    """`knowledge_base_ids`: ids or names; none: all that the caller may read."""

    knowledge_base_ids: Annotated[list[_Base], msgspec.Meta(max_length=100)] | None = None


class NeighbourView(msgspec.Struct, kw_only=True, frozen=True):
    chunk: int
    page: int
    start: int
    end: int
    text: str


class HitView(msgspec.Struct, kw_only=True, frozen=True):
    """A passage: the characters [start, end) of its document's clean text. Pages begin at 1.

    `headings`: those it stands under. `places`: its lines, of formats that have places. `found_by`: dense (by
    meaning), keyword, or both. `highlights`: where its text has the question's words. `before`, `after`: the chunks
    around it, if they were asked for.
    """

    document_id: str
    document_name: str
    knowledge_base_id: str
    knowledge_base_name: str
    version: int
    chunk: int
    page: int
    start: int
    end: int
    text: str
    score: float
    headings: Sequence[str]
    places: list[PlaceView]
    found_by: Sequence[str]
    highlights: list[Highlight]
    before: list[NeighbourView]
    after: list[NeighbourView]


class SearchAnswer(msgspec.Struct, kw_only=True, frozen=True):
    hits: list[HitView]
    took_ms: float
    next_cursor: str | None


def search(call: Call, body: WideSearchRequest) -> Reply[SearchAnswer]:
    """Find passages in all knowledge bases that the caller may read, or in these of them."""
    with call.services.database.transaction() as connection:
        if body.knowledge_base_ids is None:
            bases = access.visible_bases(connection, call.caller)
        else:
            names = sorted(set(body.knowledge_base_ids))
            bases = [access.find_base(connection, call.caller, name, Role.READER) for name in names]
    return _answer(call.services, body, bases)


def search_base(call: Call, body: SearchRequest) -> Reply[SearchAnswer]:
    """Find passages in one knowledge base."""
    return _answer(call.services, body, [call.path["knowledge_base_id"]])


def _answer(services: Services, body: SearchRequest, bases: Sequence[str]) -> Reply[SearchAnswer]:
    started = time.monotonic()
    asked = _Search(services, body, bases)
    offset = _offset(body.cursor)
    found, more = asked.hits(offset + body.top_k)
    page = found[offset : offset + body.top_k]
    hits = asked.views(page)
    took = (time.monotonic() - started) * 1000
    answer = SearchAnswer(
        hits=hits, took_ms=round(took, 1), next_cursor=_cursor(offset + len(page)) if page and more else None
    )
    timings = ", ".join(f"{name};dur={ms:.1f}" for name, ms in {**asked.timings, "total": took}.items())
    return Reply(answer, headers={"Server-Timing": timings})


@dataclass
class _Search:
    """One question, in these bases and no others, whatever it says: documents elsewhere are as if they were not."""

    services: Services
    body: SearchRequest
    bases: Sequence[str]
    timings: dict[str, float] = field(default_factory=dict)
    _shown: dict[tuple[str, int], Shown] = field(default_factory=dict)

    def hits(self, wanted: int) -> tuple[list[Hit], bool]:
        """The best hits of versions that show, at least `wanted` if there are so many; and whether there are more.

        Postgres has the last word on what lies in which base, and meets the filters: the index is only a copy.
        """
        condition = compile_filters(self.body.filters, _FILE_TYPES)
        documents = self._documents(condition)
        if documents is not None and not documents:
            return [], False
        vector = previous = None
        if self.body.mode != "keyword":
            with self._timed("embedding"):
                vector = self.services.embedder.embed_query(self.body.query)
                if self.services.index.wants_previous:
                    previous = self.services.previous_embedder.embed_query(self.body.query)
        kept: dict[tuple[str, int, int], Hit] = {}
        for depth in DEPTHS:
            with self._timed("index"):
                found = self.services.index.search(
                    self.body.query,
                    vector,
                    previous=previous,
                    depth=depth,
                    mode=self.body.mode,
                    knowledge_base_ids=self.bases,
                    document_ids=documents,
                )
            for hit in self._showing(found.hits, condition):
                kept.setdefault(hit.key, hit)
            if found.complete or len(kept) > wanted:
                break
        return list(kept.values()), len(kept) > wanted

    def views(self, hits: Sequence[Hit]) -> list[HitView]:
        around = self._around(hits)
        return [
            HitView(
                document_name=document.name,
                knowledge_base_id=document.knowledge_base_id,
                knowledge_base_name=document.knowledge_base_name,
                places=places_of(hit),
                highlights=highlights(self.body.query, hit.text),
                before=[around[key] for key in self._keys(hit, -1) if key in around],
                after=[around[key] for key in self._keys(hit, 1) if key in around],
                **{name: getattr(hit, name) for name in _AS_FOUND},
            )
            for hit, document in ((hit, self._shown[hit.document_id, hit.version]) for hit in hits)
        ]

    def _documents(self, condition: Condition) -> list[str] | None:
        """The only documents that the index need look at; None: it looks at all."""
        if not self.body.filters:
            return self.body.document_ids
        with self.services.database.transaction() as connection:
            matching = shown.matching(
                connection, self.bases, condition, among=self.body.document_ids, limit=_NAMED_DOCUMENTS + 1
            )
        return matching if len(matching) <= _NAMED_DOCUMENTS else self.body.document_ids

    def _showing(self, hits: Sequence[Hit], condition: Condition) -> Iterator[Hit]:
        with self.services.database.transaction() as connection:
            found = shown.showing(connection, {hit.document_id for hit in hits}, self.bases, condition)
        self._shown.update(found)
        return (hit for hit in hits if (hit.document_id, hit.version) in found)

    def _around(self, hits: Sequence[Hit]) -> dict[tuple[str, int, int], NeighbourView]:
        wanted = {key for hit in hits for key in (*self._keys(hit, -1), *self._keys(hit, 1))}
        if not wanted:
            return {}
        with self._timed("neighbours"):
            found = self.services.index.get(wanted)
        return {
            hit.key: NeighbourView(chunk=hit.chunk, page=hit.page, start=hit.start, end=hit.end, text=hit.text)
            for hit in found
        }

    def _keys(self, hit: Hit, direction: Literal[-1, 1]) -> list[tuple[str, int, int]]:
        """Those before, or after, in the document's order."""
        steps = range(1, self.body.neighbours + 1)
        chunks = sorted(hit.chunk + direction * step for step in steps)
        return [(hit.document_id, hit.version, chunk) for chunk in chunks if chunk >= 0]

    @contextmanager
    def _timed(self, name: str) -> Iterator[None]:
        started = time.monotonic()
        yield
        self.timings[name] = self.timings.get(name, 0.0) + (time.monotonic() - started) * 1000


_AS_FOUND = ("document_id", "version", "chunk", "page", "start", "end", "text", "score", "headings", "found_by")


def _cursor(offset: int) -> str:
    return base64.urlsafe_b64encode(str(offset).encode()).decode()


def _offset(cursor: str | None) -> int:
    """How many hits were shown before. Raises `RequestError` (INVALID_CURSOR)."""
    if cursor is None:
        return 0
    try:
        offset = int(base64.urlsafe_b64decode(cursor.encode("ascii")))
    except ValueError:
        offset = -1
    if not 0 <= offset <= 2 * DEPTHS[-1]:
        raise RequestError("The cursor is none that this call gave.", code="INVALID_CURSOR")
    return offset
