"""The index on a real Milvus Lite, its writers' lock in a real Postgres."""

from __future__ import annotations

import hashlib
import multiprocessing
import secrets
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, nullcontext
from typing import Literal

import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import SecretStr
from pymilvus import MilvusClient

from common.errors import Unavailable
from common.index import Hit, Index, Row
from common.index.rows import encode
from common.records import Chunk, EmbeddedChunk
from common.settings import Settings
from deploy.local.servers import LocalServers
from tests.processes import wait_until
from tests.tiny_model import manifest

pytestmark = pytest.mark.integration

DIMENSION = 32
MODEL = manifest(DIMENSION)


def vector_of(text: str) -> NDArray[np.float32]:
    """A stand-in for the model: texts that share words are near each other."""
    vector = np.full(DIMENSION, 0.01, dtype=np.float32)
    for word in text.lower().split():
        vector[hashlib.sha256(word.encode()).digest()[0] % DIMENSION] += 1
    normed: NDArray[np.float32] = vector / np.linalg.norm(vector)
    return normed


def rows(document: str, *texts: str, version: int = 1, knowledge_base: str = "kb") -> list[Row]:
    found = []
    for number, text in enumerate(texts):
        chunk = Chunk(number, number + 1, number * 100, number * 100 + len(text), text)
        embedded = EmbeddedChunk(chunk, vector_of(text).tobytes())
        found.append(Row(document, version, knowledge_base, embedded))
    return found


def find(
    index: Index,
    query: str,
    *,
    mode: Literal["hybrid", "dense", "keyword"] = "hybrid",
    top_k: int = 5,
    knowledge_bases: tuple[str, ...] = ("kb",),
    documents: tuple[str, ...] | None = None,
) -> list[Hit]:
    found = index.search(
        query, vector_of(query), depth=50, mode=mode, knowledge_base_ids=knowledge_bases, document_ids=documents
    )
    return found.hits[:top_k]


@pytest.fixture
def settings(servers: LocalServers) -> Settings:
    """No table is needed here, so the tests share a database; each has a collection of its own."""
    return Settings(
        database_url=SecretStr(servers.postgres.url),
        milvus_uri=servers.milvus.uri,
        collection=f"test_{secrets.token_hex(4)}",
        index_flush_rows=100,
    )


@pytest.fixture
def index(settings: Settings) -> Iterator[Index]:
    index = Index(settings, MODEL)
    index.ensure()
    yield index
    index.close()


def test_a_word_is_found_in_both_languages_whatever_its_case(index: Index) -> None:
    index.upsert(
        rows("d1", "How to configure PostgreSQL replication.", "数据库备份与恢复，需要定期验证。", "Nothing of note")
    )
    assert [hit.chunk for hit in find(index, "POSTGRESQL", mode="keyword")] == [0]
    assert [hit.chunk for hit in find(index, "备份", mode="keyword")] == [1]
    assert [hit.chunk for hit in find(index, "数据", mode="keyword")] == [1], "part of a longer word"
    assert find(index, "，。.!", mode="keyword") == [], "punctuation finds nothing"


def test_a_keyword_hit_carries_what_was_stored_and_a_positive_score(index: Index) -> None:
    index.upsert(rows("d1", "alpha", "beta gamma"))
    (hit,) = find(index, "gamma", mode="keyword")
    assert hit.score > 0
    assert hit == Hit("d1", 1, 1, 2, 100, 110, "beta gamma", score=hit.score, found_by=("keyword",))


def test_dense_search_puts_the_nearest_first(index: Index) -> None:
    index.upsert(rows("d1", "red green", "red blue yellow", "black white"))
    hits = find(index, "red green", mode="dense", top_k=3)
    assert [hit.chunk for hit in hits] == [0, 1, 2]
    assert hits[0].score == pytest.approx(1, abs=1e-3)


def test_hybrid_search_puts_first_what_both_ways_favour(index: Index) -> None:
    index.upsert(rows("d1", "kernel panic", "kernel module", "unrelated words"))
    hits = find(index, "kernel panic")
    assert [hit.chunk for hit in hits] == [0, 1, 2]
    assert hits[0].score == pytest.approx(1), "first of both lists"


def test_dense_search_finds_all_of_a_document_among_thousands_that_are_nearer(
    settings: Settings, servers: LocalServers
) -> None:
    with closing(Index(settings.model_copy(update={"index_flush_rows": 10_000}), MODEL)) as index:
        index.ensure()
        index.upsert(rows("far", *(f"black white {word}" for word in range(5))))
        for number in range(30):
            index.upsert(rows(f"d{number}", *(f"red green red green {number} {word}" for word in range(100))))
        index.flush()
        made = servers.milvus.directory / "data"
        wait_until(lambda: any(made.rglob(f"{index.name}/**/*.dense.*.idx")), seconds=60, what="the index is made")
        assert len(find(index, "red green", mode="dense", documents=("far",))) == 5


def test_what_a_word_weighs_depends_on_no_flush(index: Index) -> None:
    """Each flush is a segment of its own, in which another word is the rare one."""
    for number in range(3):
        index.upsert(rows(f"cats{number}", "cat mouse", "cat milk", "cat sleep"))
    index.flush()
    index.upsert(rows("dogs", "dog bone", "dog ball", "dog walk", "cat dog"))
    index.flush()
    hits = find(index, "cat dog", mode="keyword", top_k=50)
    assert [(hit.document_id, hit.chunk) for hit in hits[:4]] == [("dogs", 3), ("dogs", 0), ("dogs", 1), ("dogs", 2)]
    alone = find(index, "cat", mode="keyword", top_k=50)
    assert len({round(hit.score, 4) for hit in alone}) == 1, "of ten passages that have it once, each of two words"


def test_an_index_that_an_earlier_release_made_is_made_anew(index: Index, settings: Settings) -> None:
    index.upsert(rows("d1", "red green", "black white"))
    with closing(MilvusClient(settings.milvus_uri)) as milvus:
        milvus.release_collection(index.name)
        milvus.drop_index(index.name, "dense")
        params = milvus.prepare_index_params()
        params.add_index("dense", index_name="dense", index_type="AUTOINDEX", metric_type="COSINE")
        milvus.create_index(index.name, params)
        milvus.load_collection(index.name)
        index.ensure()
        assert milvus.describe_index(index.name, "dense")["index_type"] == "FLAT"
        assert milvus.describe_index(index.name, "sparse")["metric_type"] == "BM25"
    hits = find(index, "red green")
    assert [hit.chunk for hit in hits] == [0, 1]


def test_rows_that_somebody_else_wrote_are_passed_over_where_all_are_listed(index: Index, settings: Settings) -> None:
    index.upsert(rows("d1", "alpha"))
    with closing(MilvusClient(settings.milvus_uri)) as milvus:
        theirs = {**encode(rows("d2", "beta")[0]), "id": "x", "document_id": 'a" or version > 0 --'}
        milvus.upsert(index.name, [theirs])
    assert list(index.chunks()) == [[("d1", 1, 0)]]


def test_what_was_just_written_is_found_while_it_is_flushed(index: Index) -> None:
    # A flush swaps the table of fresh rows some milliseconds before they are anywhere else.
    missed = []
    with ThreadPoolExecutor(2) as threads:
        for number in range(30):
            index.upsert(rows(f"d{number}", "alpha", "beta"))
            flush = threads.submit(index.flush)
            while not flush.done():
                if not find(index, "alpha", mode="keyword", documents=(f"d{number}",)):
                    missed.append(number)
    assert missed == []


def test_what_was_just_written_is_found_before_and_after_a_flush(index: Index) -> None:
    index.upsert(rows("d1", "alpha"))
    before = find(index, "alpha")
    index.flush()
    assert find(index, "alpha") == before
    index.upsert(rows("d2", "alpha"))
    assert {hit.document_id for hit in find(index, "alpha", mode="keyword")} == {"d1", "d2"}


def test_writing_the_same_rows_again_doubles_nothing(index: Index) -> None:
    assert index.upsert(rows("d1", "one", "two")) == 2
    index.flush()
    assert index.upsert(rows("d1", "one", "two changed")) == 2
    assert sorted(index.ids("d1")) == ["d1:1:0", "d1:1:1"]
    assert index.count("d1") == 2
    assert [hit.text for hit in find(index, "two", mode="keyword")] == ["two changed"]


def test_a_document_longer_than_a_batch_arrives_whole_and_is_read_lazily(index: Index) -> None:
    read = 0
    stored_when_read = []

    def chunks() -> Iterator[Row]:
        nonlocal read
        for row in rows("d1", *(f"word{number}" for number in range(200))):
            read += 1
            if read == 150:
                stored_when_read.append(index.count("d1"))
            yield row

    assert index.upsert(chunks()) == 200
    assert index.count("d1") == 200
    assert len(set(index.ids("d1"))) == 200
    assert stored_when_read == [128], "two batches were written before the third was read"


def test_deleting_a_document_leaves_nothing_of_it_and_all_of_the_others(index: Index) -> None:
    index.upsert(rows("d1", "alpha", "beta"))
    index.flush()
    index.upsert(rows("d1", "alpha again", version=2) + rows("d2", "alpha"))
    index.delete_document("d1")
    assert index.ids("d1") == []
    assert index.count("d1") == 0
    assert [hit.document_id for hit in find(index, "alpha")] == ["d2"]
    index.delete_document("d1")


def test_deleting_versions_leaves_the_others(index: Index) -> None:
    for version in (1, 2, 3):
        index.upsert(rows("d1", "alpha", version=version))
    index.delete_versions("d1", [1, 2])
    index.delete_versions("d1", [])
    assert index.ids("d1") == ["d1:3:0"]


def test_a_search_sees_only_the_knowledge_bases_and_documents_it_is_given(index: Index) -> None:
    index.upsert(rows("d1", "alpha", knowledge_base="one") + rows("d2", "alpha", knowledge_base="two"))
    index.upsert(rows("d3", "alpha", knowledge_base="two"))
    for mode in ("hybrid", "dense", "keyword"):
        assert {hit.document_id for hit in find(index, "alpha", mode=mode, knowledge_bases=("two",))} == {"d2", "d3"}
        hits = find(index, "alpha", mode=mode, knowledge_bases=("one", "two"), documents=("d1", "d3"))
        assert {hit.document_id for hit in hits} == {"d1", "d3"}
        assert find(index, "alpha", mode=mode, knowledge_bases=()) == []
        assert find(index, "alpha", mode=mode, knowledge_bases=("one",), documents=()) == []


@pytest.mark.parametrize("evil", ['x"] or version > 0 or document_id in ["', "", "a b", "x" * 65, "d1\n", "文档"])
def test_an_id_that_could_leave_its_quotes_is_refused_everywhere(index: Index, evil: str) -> None:
    for attempt in (
        lambda: find(index, "alpha", knowledge_bases=(evil,)),
        lambda: find(index, "alpha", documents=(evil,)),
        lambda: index.delete_document(evil),
        lambda: index.delete_versions(evil, [1]),
        lambda: index.ids(evil),
        lambda: index.count(evil),
        lambda: index.upsert(rows(evil, "alpha")),
        lambda: index.upsert(rows("d1", "alpha", knowledge_base=evil)),
    ):
        with pytest.raises(ValueError, match="Not an id"):
            attempt()


def test_a_query_with_quotes_and_operators_is_only_words(index: Index) -> None:
    index.upsert(rows("d1", "alpha"))
    assert find(index, '" or version > 0 --', mode="keyword") == []
    assert [hit.document_id for hit in find(index, 'alpha" or "', mode="keyword")] == ["d1"]


def test_any_number_may_ensure_the_collection_at_once(settings: Settings) -> None:
    indexes = [Index(settings, MODEL) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda one: one.ensure(), indexes))
    indexes[0].upsert(rows("d1", "alpha"))
    assert [hit.document_id for hit in find(indexes[3], "alpha")] == ["d1"]
    for one in indexes:
        one.close()


def test_writers_in_two_processes_lose_nothing_even_if_the_server_is_killed(
    settings: Settings, servers: LocalServers, index: Index
) -> None:
    # Without the lock flushes fail on each other, and the server's log is torn, which shows when it is read again.
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_write, args=(settings, writer)) for writer in range(2)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
        assert writer.exitcode == 0
    _kill_and_restart(servers)
    for document in range(12):
        assert index.count(f"w0d{document}") == index.count(f"w1d{document}") == 2


def test_who_lets_go_of_the_lock_too_early_loses_nothing(
    servers: LocalServers, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a writer that is killed, or out of patience, while the server is still at its request."""
    monkeypatch.setattr(index.current, "_alone", nullcontext)
    monkeypatch.setattr(index.current, "_flush", lambda: index._server.call("flush", index.name))

    def write(document: int) -> None:
        index.upsert(rows(f"d{document}", "one", "two"))
        index.flush()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(48)))
    _kill_and_restart(servers)
    assert {document: index.count(document) for document in (f"d{number}" for number in range(48))} == {
        f"d{number}": 2 for number in range(48)
    }


def _write(settings: Settings, writer: int) -> None:
    index = Index(settings, MODEL)

    def write(document: int) -> None:
        index.upsert(rows(f"w{writer}d{document}", "one", "two"))
        index.flush()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(12)))
    index.close()


def test_rows_outlive_the_server_and_the_same_index_goes_on(index: Index, servers: LocalServers) -> None:
    index.upsert(rows("d1", "alpha", "beta"))
    _kill_and_restart(servers)
    assert [hit.chunk for hit in find(index, "beta", mode="keyword")] == [1]
    index.upsert(rows("d1", "alpha", "beta", "gamma"))
    assert index.count("d1") == 3


def _kill_and_restart(servers: LocalServers) -> None:
    servers.milvus.kill()
    servers.milvus.start()


def test_a_server_that_is_down_is_unavailable_and_not_a_hang(settings: Settings) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # bound, not listening: refused
        _assert_unavailable(settings, nobody)


def test_a_server_that_takes_calls_and_never_answers_is_unavailable_within_the_timeout(settings: Settings) -> None:
    with socket.socket() as frozen:
        frozen.bind(("127.0.0.1", 0))
        frozen.listen()
        _assert_unavailable(settings, frozen)


def _assert_unavailable(settings: Settings, listener: socket.socket) -> None:
    uri = f"http://127.0.0.1:{listener.getsockname()[1]}"
    index = Index(settings.model_copy(update={"milvus_uri": uri, "server_timeout_seconds": 1}), MODEL)
    for attempt in (index.ping, lambda: find(index, "alpha"), lambda: index.upsert(rows("d1", "alpha"))):
        started = time.monotonic()
        with pytest.raises(Unavailable, match="Milvus did not answer"):
            attempt()
        assert time.monotonic() - started < 3
    index.close()
