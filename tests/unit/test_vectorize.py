from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from common.context import Context, Target
from common.errors import Cancelled
from common.records import Chunk
from functions.ingest.vectorize import vectorize


class CountingEmbedder:
    """A text's vector is its length and how many texts came before it."""

    model = "m"

    def __init__(self) -> None:
        self.texts: list[str] = []

    def embed_passages(self, texts: Sequence[str]) -> NDArray[np.float32]:
        start = len(self.texts)
        self.texts += texts
        return np.array([(len(text), start + i) for i, text in enumerate(texts)], dtype=np.float32).reshape(-1, 2)


def context(embedder: CountingEmbedder, **options: Any) -> Context:
    services: Any = SimpleNamespace(embedder=embedder)
    return Context(Target("task", "d1", 1, "kb", "name", "bucket", "key", "etag"), services, **options)


def chunks(count: int) -> list[Chunk]:
    return [Chunk(number, 1, number * 10, number * 10 + 5, "x" * number) for number in range(count)]


def test_each_chunk_gets_its_own_vector_as_little_endian_float32_in_order() -> None:
    ctx = context(CountingEmbedder())
    made = list(vectorize(ctx, iter(chunks(40))))
    assert [one.chunk for one in made] == chunks(40)
    assert {one.model for one in made} == {"m"}
    assert [np.frombuffer(one.vector, "<f4").tolist() for one in made] == [[n, n] for n in range(40)]
    assert ctx.details == {"chunks": 40, "reused": 0}


def test_progress_rises_to_one() -> None:
    told: list[float] = []
    list(vectorize(context(CountingEmbedder(), on_progress=told.append), chunks(40)))
    assert told == sorted(told)
    assert len(told) > 1
    assert told[-1] == 1


def test_a_cancelled_task_stops_between_groups() -> None:
    embedder = CountingEmbedder()

    def cancelled_once_work_began() -> None:
        if embedder.texts:
            raise Cancelled

    with pytest.raises(Cancelled):
        list(vectorize(context(embedder, on_check=cancelled_once_work_began), chunks(1000)))
    assert 0 < len(embedder.texts) < 50


def test_a_batch_of_nothing_makes_nothing() -> None:
    assert list(vectorize(context(CountingEmbedder()), [])) == []
