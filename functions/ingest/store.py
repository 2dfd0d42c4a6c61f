"""Vectors into the index, under ids that a second run writes again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from common.context import Context
from common.index import Row
from common.records import EmbeddedChunk


def store(ctx: Context, chunks: Iterable[EmbeddedChunk]) -> None:
    ctx.note(vectors=ctx.services.index.upsert(_rows(ctx, chunks)))


def _rows(ctx: Context, chunks: Iterable[EmbeddedChunk]) -> Iterator[Row]:
    target = ctx.target
    for embedded in chunks:
        ctx.check_cancelled()
        yield Row(target.document_id, target.version, target.knowledge_base_id, embedded)
