from __future__ import annotations

from collections.abc import Iterable, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from common.context import Context, Target
from common.errors import Cancelled
from common.index import Row
from common.records import Chunk, EmbeddedChunk
from functions.ingest.store import store
from functions.schedule.flush import flush
from tests.tiny_model import manifest


class RememberingIndex:
    name, model, manifest = "chunks_0a", "m", manifest(2)

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.cleared: list[tuple[str, int]] = []
        self.flushed = 0

    def upsert(self, rows: Iterable[Row]) -> int:
        before = len(self.rows)
        for row in rows:
            self.rows.append(row)
        return len(self.rows) - before

    def delete_elsewhere(self, document_id: str, version: int) -> None:
        self.cleared.append((document_id, version))

    def flush(self) -> None:
        self.flushed += 1


def context(index: RememberingIndex, document: str = "d1", **options: Any) -> Context:
    services: Any = SimpleNamespace(index=index, embedder=Embedder())
    return Context(Target("task", document, 3, "kb", "name", "bucket", "key", "etag"), services, **options)


def embedded(count: int, vector: bytes = b"\0" * 8, model: str = "m") -> list[EmbeddedChunk]:
    return [EmbeddedChunk(Chunk(number, 1, 0, 4, "text", ("h",)), vector, model) for number in range(count)]


class Embedder:
    """A text's vector is its length, twice."""

    def embed_passages(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return np.array([(len(text), len(text)) for text in texts], dtype=np.float32)


def test_rows_belong_to_the_version_that_the_run_works_for() -> None:
    index = RememberingIndex()
    ctx = context(index)
    store(ctx, iter(embedded(2)))
    assert index.rows == [Row("d1", 3, "kb", one) for one in embedded(2)]
    assert [row.id for row in index.rows] == ["d1:3:0", "d1:3:1"]
    assert ctx.details == {"vectors": 2, "collection": "chunks_0a"}
    assert index.cleared == [("d1", 3)], "what a run with another model left of it"


@pytest.mark.parametrize("other", [{"model": "other"}, {"model": "", "vector": b"\0" * 4}])
def test_vectors_of_another_model_are_made_again(other: dict[str, Any]) -> None:
    index = RememberingIndex()
    store(context(index), iter([*embedded(1), *embedded(1, **other)]))
    assert [np.frombuffer(row.embedded.vector, "<f4").tolist() for row in index.rows] == [[0, 0], [6, 6]]
    assert {row.embedded.model for row in index.rows} == {"m"}


def test_vectors_of_a_run_that_began_before_models_were_told_apart_are_taken_if_they_fit() -> None:
    index = RememberingIndex()
    store(context(index), iter(embedded(1, model="")))
    assert index.rows == [Row("d1", 3, "kb", embedded(1, model="")[0])]


def test_a_cancelled_task_writes_no_further() -> None:
    index = RememberingIndex()

    def cancelled_after_three() -> None:
        if len(index.rows) == 3:
            raise Cancelled

    with pytest.raises(Cancelled):
        store(context(index, on_check=cancelled_after_three), embedded(10))
    assert len(index.rows) == 3


def test_the_tick_flushes_the_index() -> None:
    index = RememberingIndex()
    services: Any = SimpleNamespace(index=index)
    flush(services)
    assert index.flushed == 1
