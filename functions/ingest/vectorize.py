"""Chunks to vectors: one batch of a document, as many of them at once as there are workers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from common.context import Context
from common.index import hash_of
from common.records import Chunk, EmbeddedChunk

# Chunks between two looks at whether anybody still wants them: a third of a second on two cores, and
# seconds where others want these as well.
_GROUP = 8


def vectorize(ctx: Context, chunks: Iterable[Chunk]) -> Iterator[EmbeddedChunk]:
    """Each chunk with the vector of its passage: the one that an older version of the document has of the same, else
    by the model. Notes `chunks`, and of them `reused`."""
    # A batch is small, and its length is needed for the progress.
    batch = list(chunks)
    known = _known(ctx, batch)
    model = ctx.services.embedder.model
    for start in range(0, len(batch), _GROUP):
        ctx.check_cancelled()
        group = batch[start : start + _GROUP]
        fresh = [chunk.passage for chunk in group if hash_of(chunk.passage) not in known]
        made = iter(ctx.services.embedder.embed_passages(fresh) if fresh else ())
        for chunk in group:
            vector = known.get(hash_of(chunk.passage))
            yield EmbeddedChunk(chunk, next(made).astype("<f4").tobytes() if vector is None else vector, model)
        ctx.progress((start + len(group)) / len(batch))
    reused = sum(hash_of(chunk.passage) in known for chunk in batch)
    ctx.note(chunks=len(batch), reused=reused)


def _known(ctx: Context, batch: list[Chunk]) -> dict[str, bytes]:
    """The vectors, by hash, of those passages that older versions of the document have."""
    target = ctx.target
    if target.version == 1:
        return {}
    hashes = {hash_of(chunk.passage) for chunk in batch}
    return ctx.services.index.vectors(target.document_id, before=target.version, hashes=hashes)
