"""POST /search: passages that answer a question, each with where it stands."""

from __future__ import annotations

import time
from typing import Annotated, Any, Literal

import msgspec

from common import documents
from common.http import Call, Reply

# Hits of versions that no longer show are dropped after the search; this many more are asked for in their place.
_SPARE_HITS = 20

_Id = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_-]{1,64}\Z")]


class SearchRequest(msgspec.Struct):
    query: Annotated[str, msgspec.Meta(min_length=1, max_length=10_000)]
    top_k: Annotated[int, msgspec.Meta(ge=1, le=100)] = 5
    mode: Literal["hybrid", "dense", "keyword"] = "hybrid"
    document_ids: Annotated[list[_Id], msgspec.Meta(max_length=100)] | None = None


def search(call: Call) -> Reply:
    request = call.decode(SearchRequest)
    started = time.monotonic()
    services = call.services
    with services.database.transaction() as connection:
        knowledge_bases = documents.knowledge_bases(connection)
    vector = None if request.mode == "keyword" else services.embedder.embed_query(request.query)
    hits = services.index.search(
        request.query,
        vector,
        top_k=request.top_k + _SPARE_HITS,
        mode=request.mode,
        knowledge_base_ids=knowledge_bases,
        document_ids=request.document_ids,
    )
    with services.database.transaction() as connection:
        names = documents.showing(connection, sorted({hit.document_id for hit in hits}))
    shown: list[dict[str, Any]] = [
        {
            "document_id": hit.document_id,
            "document_name": names[hit.document_id, hit.version],
            "version": hit.version,
            "chunk": hit.chunk,
            "page": hit.page,
            "start": hit.start,
            "end": hit.end,
            "text": hit.text,
            "score": hit.score,
        }
        for hit in hits
        if (hit.document_id, hit.version) in names
    ]
    return Reply({"hits": shown[: request.top_k], "took_ms": round((time.monotonic() - started) * 1000, 1)})
