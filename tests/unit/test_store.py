from __future__ import annotations

from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any

import pytest

from common.context import Context, Target
from common.errors import Cancelled
from common.index import Row
from common.records import Chunk, EmbeddedChunk
from functions.ingest.store import store
from functions.schedule.flush import flush


class RememberingIndex:
    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.flushed = 0

    def upsert(self, rows: Iterable[Row]) -> int:
        before = len(self.rows)
        for row in rows:
            self.rows.append(row)
        return len(self.rows) - before

    def flush(self) -> None:
        self.flushed += 1


def context(index: RememberingIndex, document: str = "d1", **options: Any) -> Context:
    services: Any = SimpleNamespace(index=index)
    return Context(Target("task", document, 3, "kb", "name", "bucket", "key", "etag"), services, **options)


def embedded(count: int) -> list[EmbeddedChunk]:
    return [EmbeddedChunk(Chunk(number, 1, 0, 4, "text"), b"\0" * 8) for number in range(count)]


def test_rows_belong_to_the_version_that_the_run_works_for() -> None:
    index = RememberingIndex()
    ctx = context(index)
    store(ctx, iter(embedded(2)))
    assert index.rows == [Row("d1", 3, "kb", one) for one in embedded(2)]
    assert [row.id for row in index.rows] == ["d1:3:0", "d1:3:1"]
    assert ctx.details == {"vectors": 2}


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
