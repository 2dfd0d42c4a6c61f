"""Vectors into the index, under ids that a second run writes again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from common.context import Context
from common.index import Row
from common.records import EmbeddedChunk


def store(ctx: Context, chunks: Iterable[EmbeddedChunk]) -> None:
    """Notes how many, and the collection that has them."""
    target, index = ctx.target, ctx.services.index
    ctx.note(vectors=index.upsert(_rows(ctx, chunks)), collection=index.name)
    index.delete_elsewhere(target.document_id, target.version)


def _rows(ctx: Context, chunks: Iterable[EmbeddedChunk]) -> Iterator[Row]:
    target, index = ctx.target, ctx.services.index
    dimension_bytes = 4 * index.manifest.dimension
    for embedded in chunks:
        ctx.check_cancelled()
        # Where the model was changed between VECTORIZE and this. What an older release made names no model.
        if embedded.model not in ("", index.model) or len(embedded.vector) != dimension_bytes:
            embedded = _again(ctx, embedded)
        yield Row(target.document_id, target.version, target.knowledge_base_id, embedded)


def _again(ctx: Context, embedded: EmbeddedChunk) -> EmbeddedChunk:
    (vector,) = ctx.services.embedder.embed_passages([embedded.chunk.passage])
    return replace(embedded, vector=vector.astype("<f4").tobytes(), model=ctx.services.index.model)
