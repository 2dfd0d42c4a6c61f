"""How long a search takes with 10,000 chunks in the index, and with more: the embedding, the index, and the rest.

Texts are the two books' chunks over and over, each copy with words of its own; vectors are random, since looking at
all of them costs the same whatever they are. Every question is asked once, so that none is known already.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import closing
from itertools import cycle, islice

import httpx
import numpy as np
from sqlalchemy import text

from common.chunking import Chunking
from common.index import Mode, Row
from common.records import Chunk, EmbeddedChunk
from common.services import Services
from tests.bench.corpus import Corpus
from tests.bench.report import Figure, Outcome, percentile, spread
from tests.bench.retrieval import LANGUAGES, split_chapters
from tests.bench.system import BenchFailed, System
from tests.bench.throughput import Say

_LEVELS = (1_000, 10_000, 100_000)
_MODES: tuple[Mode, ...] = ("hybrid", "dense", "keyword")
_PARTS = ("embedding", "index", "rest")
_QUESTIONS = 100
_CHUNKS_EACH = 100
# What an answer may take beyond embedding its question, where so many chunks are in.
_P50_MS, _TARGET_AT = 50, 10_000
_TIMING = re.compile(r"(\w+);dur=([\d.]+)")
_BASE = "default"


def measure(system: System, corpus: Corpus, chunks: int, say: Say) -> Outcome:
    levels = sorted({level for level in _LEVELS if level < chunks} | {chunks})
    figures: list[Figure] = []
    data: dict[str, object] = {}
    # Milvus Lite holds who writes while it merges segments: 10 s for one of 45,000 rows. A step would try again.
    patient = system.settings.model_copy(update={"server_timeout_seconds": 60})
    with closing(Services(patient)) as services:
        made = [chunk for language in LANGUAGES for chunk in _chunks(services, corpus, language)]
        questions = list(_questions(made))
        for before, level in zip([0, *levels], levels, strict=False):
            _fill(services, made, before // _CHUNKS_EACH, level // _CHUNKS_EACH)
            say(f"{level:,} chunks are in")
            for mode in _MODES:
                # With a word of their own: what was asked before is known.
                parts = _ask(system, [f"{question} {level} {mode}" for question in questions], mode)
                data[f"{level} {mode}"] = {name: spread(values) for name, values in parts.items()}
                figures += _figures(level, mode, parts)
                say(", ".join(f"{one.name} {one.value:g} ms" for one in figures[-2:]))
    return Outcome("search", figures, data)


def _figures(level: int, mode: Mode, parts: dict[str, list[float]]) -> Iterator[Figure]:
    beyond = [index + rest for index, rest in zip(parts["index"], parts["rest"], strict=True)]
    at_most = _P50_MS if mode == "hybrid" and level == _TARGET_AT else None
    name = f"{level:,} chunks, {mode}"
    if mode == "hybrid":
        for part in _PARTS:
            yield Figure(f"{name}: {part}, p50", round(percentile(parts[part], 50), 1), "ms")
    yield Figure(f"{name}: beyond embedding, p50", round(percentile(beyond, 50), 1), "ms", at_most=at_most)
    yield Figure(f"{name}: beyond embedding, p95", round(percentile(beyond, 95), 1), "ms")


def _ask(system: System, questions: Sequence[str], mode: Mode) -> dict[str, list[float]]:
    """Milliseconds of each part, as the API tells them."""
    found: dict[str, list[float]] = {name: [] for name in _PARTS}
    key = system.settings.api_key.get_secret_value()
    with httpx.Client(base_url=system.settings.url, headers={"X-API-Key": key}, trust_env=False, timeout=60) as api:
        for question in questions:
            answer = api.post("/v1/search", json={"query": question, "mode": mode, "top_k": 10})
            if answer.status_code != 200 or not answer.json()["hits"]:
                raise BenchFailed(f"No answer to {question}: {answer.status_code} {answer.text[:500]}")
            took = {name: float(ms) for name, ms in _TIMING.findall(answer.headers["Server-Timing"])}
            embedding, index = took.get("embedding", 0.0), took["index"]
            for name, value in zip(_PARTS, (embedding, index, took["total"] - embedding - index), strict=True):
                found[name].append(value)
    return found


def _questions(chunks: Sequence[Chunk]) -> Iterator[str]:
    """Headings, in both languages alike, from all over the books."""
    headings = list(dict.fromkeys(chunk.headings[-1] for chunk in chunks if chunk.headings))
    return islice(headings, 0, None, max(1, len(headings) // _QUESTIONS))


def _chunks(services: Services, corpus: Corpus, language: str) -> Iterator[Chunk]:
    for chapter in split_chapters(services, corpus, "reference", language, Chunking.usual(services.settings)):
        yield from chapter.chunks


def _fill(services: Services, made: Sequence[Chunk], first: int, last: int) -> None:
    """Documents `first` to `last` of so many chunks each, as if they had come through."""
    with services.database.transaction() as connection:
        for statement in _ROWS:
            connection.execute(text(statement), {"first": first, "last": last - 1, "base": _BASE})
    random = np.random.default_rng(first)
    texts, dimension = cycle(made), services.index.manifest.dimension
    for number in range(first, last):
        services.index.upsert(_rows(number, islice(texts, _CHUNKS_EACH), dimension, random))
    services.index.flush()


def _rows(document: int, chunks: Iterator[Chunk], dimension: int, random: np.random.Generator) -> Iterator[Row]:
    for number, chunk in enumerate(chunks):
        vector = random.standard_normal(dimension, dtype=np.float32)
        vector /= np.linalg.norm(vector)
        own = f"{chunk.text}\nvolume {document}"
        copy = Chunk(number, chunk.page, chunk.start, chunk.start + len(own), own, chunk.headings)
        yield Row(f"found-{document}", 1, _BASE, EmbeddedChunk(copy, vector.astype("<f4").tobytes()))


_ROWS = (
    """
    INSERT INTO documents (id, name, bucket_name, object_key, knowledge_base_id, user_id)
    SELECT 'found-' || n, 'found', 'nowhere', 'found/' || n, :base, 'admin' FROM generate_series(:first, :last) AS n
    """,
    """
    INSERT INTO tasks (id, type, document_id, version, knowledge_base_id, created_by, status, completed_at, tidied_at)
    SELECT 'found-' || n, 'DOCUMENT_UPLOAD', 'found-' || n, 1, :base, 'admin', 'COMPLETED', now(), now()
    FROM generate_series(:first, :last) AS n
    """,
    """
    INSERT INTO document_versions (document_id, version, task_id, file_size, etag)
    SELECT 'found-' || n, 1, 'found-' || n, 1, md5(n::text) FROM generate_series(:first, :last) AS n
    """,
)
