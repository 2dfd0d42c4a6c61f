"""Chunks to vectors: one batch of a document, as many of them at once as there are workers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from common.context import Context
from common.records import Chunk, EmbeddedChunk

# Chunks between two looks at whether anybody still wants them: a third of a second on two cores.
_GROUP = 16


def vectorize(ctx: Context, chunks: Iterable[Chunk]) -> Iterator[EmbeddedChunk]:
    # A batch is small, and its length is needed for the progress.
    batch = list(chunks)
    for start in range(0, len(batch), _GROUP):
        ctx.check_cancelled()
        group = batch[start : start + _GROUP]
        vectors = ctx.services.embedder.embed_passages([chunk.passage for chunk in group])
        for chunk, vector in zip(group, vectors, strict=True):
            yield EmbeddedChunk(chunk, vector.astype("<f4").tobytes())
        ctx.progress((start + len(group)) / len(batch))
    ctx.note(chunks=len(batch))
