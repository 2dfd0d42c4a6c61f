"""POST /search: passages that answer a question, each with where it stands."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Annotated, Any, Literal

import msgspec

from common import access, documents
from common.access import Role
from common.db import Database
from common.errors import Refused
from common.http import Call
from common.index import Hit
from common.services import Services

# Hits of versions that no longer show are dropped after the search; this many more are asked for in their place.
_SPARE_HITS = 20
_DEEPEST_HITS = 2000

_Id = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_-]{1,64}\Z")]

_Base = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]


class SearchRequest(msgspec.Struct):
    query: Annotated[str, msgspec.Meta(min_length=1, max_length=10_000)]
    top_k: Annotated[int, msgspec.Meta(ge=1, le=100)] = 5
    mode: Literal["hybrid", "dense", "keyword"] = "hybrid"
    document_ids: Annotated[list[_Id], msgspec.Meta(max_length=100)] | None = None
    filters: dict[str, Any] | None = None


class WideSearchRequest(SearchRequest):
    """`knowledge_base_ids`: ids or names; none: all that the caller may read."""

    knowledge_base_ids: Annotated[list[_Base], msgspec.Meta(max_length=100)] | None = None


class HitView(msgspec.Struct, kw_only=True, frozen=True):
    """A passage: the characters [start, end) of its document's text. Pages begin at 1."""

    document_id: str
    document_name: str
    version: int
    chunk: int
    page: int
    start: int
    end: int
    text: str
    score: float


class SearchAnswer(msgspec.Struct, kw_only=True, frozen=True):
    hits: list[HitView]
    took_ms: float


def search(call: Call, body: WideSearchRequest) -> SearchAnswer:
    """Find passages in all knowledge bases that the caller may read, or in these of them."""
    with call.services.database.transaction() as connection:
        if body.knowledge_base_ids is None:
            bases = access.visible_bases(connection, call.caller)
        else:
            names = sorted(set(body.knowledge_base_ids))
            bases = [access.find_base(connection, call.caller, name, Role.READER) for name in names]
    return _search(call.services, body, bases)


def search_base(call: Call, body: SearchRequest) -> SearchAnswer:
    """Find passages in one knowledge base."""
    return _search(call.services, body, [call.path["knowledge_base_id"]])


def _search(services: Services, body: SearchRequest, knowledge_bases: Sequence[str]) -> SearchAnswer:
    """In these bases and no others, whatever the request says: documents elsewhere are as if they were not."""
    started = time.monotonic()
    if body.filters:
        raise Refused("This server cannot filter passages yet: leave `filters` out.", code="FILTERS_NOT_SUPPORTED")
    vector = None if body.mode == "keyword" else services.embedder.embed_query(body.query)

    def ask(depth: int) -> list[Hit]:
        return services.index.search(
            body.query,
            vector,
            top_k=depth,
            mode=body.mode,
            knowledge_base_ids=knowledge_bases,
            document_ids=body.document_ids,
        )

    shown = _shown(services.database, ask, body.top_k, knowledge_bases)
    return SearchAnswer(hits=shown, took_ms=round((time.monotonic() - started) * 1000, 1))


def _shown(
    database: Database, ask: Callable[[int], list[Hit]], top_k: int, knowledge_bases: Sequence[str]
) -> list[HitView]:
    """The best hits of versions that show. Asks again, deeper, where too many others stood before them.

    Postgres has the last word on what lies in which base: the index is only a copy.
    """
    depth = top_k + _SPARE_HITS
    while True:
        hits = ask(depth)
        with database.transaction() as connection:
            names = documents.showing(connection, {hit.document_id for hit in hits}, knowledge_bases)
        shown = [
            HitView(document_name=names[hit.document_id, hit.version], **asdict(hit))
            for hit in hits
            if (hit.document_id, hit.version) in names
        ]
        if len(shown) >= top_k or len(hits) < depth or depth == _DEEPEST_HITS:
            return shown[:top_k]
        depth = min(8 * depth, _DEEPEST_HITS)
