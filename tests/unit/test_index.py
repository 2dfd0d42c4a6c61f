from __future__ import annotations

import json
from contextlib import AbstractContextManager, nullcontext
from threading import RLock
from types import SimpleNamespace
from typing import Any

import pytest

from common.errors import Rejected
from common.index import Index, Row
from common.index.rows import MAX_TEXT_BYTES, encode, one_of
from common.index.schema import LITE_ANALYZER, MILVUS_ANALYZER, collection_schema
from common.records import Chunk, EmbeddedChunk
from common.settings import Settings
from tests.tiny_model import manifest


def row(text: str = "text") -> Row:
    return Row("d1", 1, "kb", EmbeddedChunk(Chunk(7, 2, 0, len(text), text), b"\0\0\x80\x3f"))


def test_a_filter_lists_checked_ids() -> None:
    assert one_of("document_id", ["a-1", "b_2"]) == 'document_id in ["a-1", "b_2"]'
    with pytest.raises(ValueError, match="Not an id"):
        one_of("document_id", ["a", 'b"] or version > 0 --'])


def test_a_row_is_encoded_as_the_fields_of_the_schema() -> None:
    encoded = encode(row())
    assert encoded["id"] == "d1:1:7"
    assert encoded["dense"].tolist() == [1.0]
    fields = {field.name for field in collection_schema(1, lite=True).fields}
    assert fields - encoded.keys() == {"sparse"}, "made by Milvus from the text"
    assert encoded.keys() <= fields


def test_a_text_that_fits_no_field_is_the_documents_fault() -> None:
    encode(row("x" * MAX_TEXT_BYTES))
    with pytest.raises(Rejected, match="Chunk 7 on page 2") as caught:
        encode(row("文" * (MAX_TEXT_BYTES // 3 + 1)))
    assert caught.value.code == "CHUNK_TOO_LONG"


def test_the_analyzer_is_the_servers_own() -> None:
    for lite, analyzer in ((True, LITE_ANALYZER), (False, MILVUS_ANALYZER)):
        (text,) = (field for field in collection_schema(1, lite=lite).fields if field.name == "passage")
        assert json.loads(text.params["analyzer_params"]) == analyzer


class RecordingServer:
    """A full Milvus, as far as writing goes."""

    def __init__(self, *, lite: bool) -> None:
        self.lite = lite
        self.calls: list[str] = []

    def call(self, name: str, *_: object, **__: object) -> list[str]:
        self.calls.append(name)
        return []  # no other collection


def index_of(server: Any, monkeypatch: pytest.MonkeyPatch, locks: Any) -> Index:
    """It has one collection."""
    index = Index(Settings(index_flush_rows=128), manifest(1))
    monkeypatch.setattr(index, "_server", server)
    monkeypatch.setattr(index, "_locks", locks)
    return index


def test_a_full_milvus_is_written_without_lock_or_flush(monkeypatch: pytest.MonkeyPatch) -> None:
    server = RecordingServer(lite=False)
    index = index_of(server, monkeypatch, SimpleNamespace(opening=RLock()))  # whoever asks it for a lock fails
    assert index.upsert(row() for _ in range(300)) == 300
    index.delete_document("d1")
    index.flush()
    assert set(server.calls) == {"upsert", "list_collections", "delete"}


def test_milvus_lite_is_flushed_in_the_middle_of_a_long_document_but_never_for_a_short_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = RecordingServer(lite=True)
    held: list[str] = []

    class Lock:
        opening = RLock()

        def __getattr__(self, name: str) -> Any:
            def hold(*_: str) -> AbstractContextManager[None]:
                held.append(name)
                return nullcontext()

            return hold

    index = index_of(server, monkeypatch, Lock())
    index.upsert(row() for _ in range(100))
    assert server.calls == ["upsert"] * 2
    server.calls.clear()
    index.upsert(row() for _ in range(300))
    assert server.calls == ["upsert", "upsert", "flush", "upsert", "upsert", "flush", "upsert"]
    assert held.count("writing") == 7, "one hold for each batch, so that others get their turn"
    assert held.count("flushing") == 2, "searches wait for a flush only"
