"""What a sweep costs when nothing was missed, at 1,000 objects, 10,000 and so on, and what the quick one does.

100,000 objects (`--objects 100000`) take longer to put there than to sweep.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

from sqlalchemy import text

from common import sweeping
from common.pipelines import Watch
from common.principal import Principal
from common.services import Services
from common.uploads import Upload, announce_all
from functions.schedule.sweep import sweep, sweep_quickly
from router.table import DOCUMENT_DELETE, DOCUMENT_UPLOAD, watches
from tests.bench.corpus import Corpus
from tests.bench.report import Figure, Outcome
from tests.bench.system import BenchFailed, System
from tests.bench.throughput import Say

_LEVELS = (1_000, 10_000, 100_000)
# No notification rule and no sweep of the scheduler's knows these.
_PREFIX = "swept/"
_PUTS_AT_ONCE = 8
_WAITING = 100
_SECONDS_OF_100_000 = 60


def measure(system: System, _: Corpus, objects: int, say: Say) -> Outcome:
    watch = Watch(_PREFIX, DOCUMENT_UPLOAD, DOCUMENT_DELETE)
    levels = sorted({level for level in _LEVELS if level < objects} | {objects})
    rows: list[dict[str, float]] = []
    with closing(Services(system.settings)) as services:
        _announce(services)
        for last, level in zip([0, *levels], levels, strict=False):
            _fill(services, last, level)
            say(f"{level:,} objects are there")
            rows.append(_row(services, watch, level))
            say(", ".join(f"{name} {value:g}" for name, value in rows[-1].items()))
    first, most = rows[0], rows[-1]
    return Outcome(
        "the sweep",
        [
            *(Figure(f"{int(row['objects']):,} unchanged objects", row["seconds"], "s") for row in rows),
            Figure(
                "the same for 100,000",
                round(most["seconds"] * 100_000 / most["objects"], 1),
                "s",
                at_most=_SECONDS_OF_100_000,
            ),
            Figure(
                f"an object at {levels[-1]:,} ÷ at {levels[0]:,}",
                round(most["seconds"] / most["objects"] / (first["seconds"] / first["objects"]), 2),
            ),
            Figure("of it the listing alone", most["listing"], "s"),
            Figure("of it the documents alone", most["documents"], "s"),
            Figure(f"a quick one, {_WAITING} uploads waited for", most["quick"], "s"),
        ],
        {"levels": rows},
    )


def _row(services: Services, watch: Watch, level: int) -> dict[str, float]:
    bucket, cpu = services.objects.bucket, time.process_time()
    seconds = _timed(lambda: _sweep(services, watch, level))
    cpu = time.process_time() - cpu
    database = services.database
    listing = _timed(lambda: sum(1 for _ in services.objects.listed(bucket, _PREFIX)))
    documents = _timed(lambda: sum(1 for _ in sweeping.documents(database, bucket, _PREFIX, None, folders=False)))
    with database.transaction() as connection:  # the scheduler's own may have looked for them a moment ago
        connection.execute(text("UPDATE document_versions SET looked_at = NULL WHERE etag IS NULL"))
    return {
        "objects": level,
        "seconds": seconds,
        "cpu": round(cpu, 2),
        "listing": listing,
        "documents": documents,
        "quick": _timed(lambda: sweep_quickly(services, watches())),
    }


def _sweep(services: Services, watch: Watch, level: int) -> None:
    (one,) = (swept for swept in sweep(services, [watch], now=True) if swept.bucket == services.objects.bucket)
    counts = one.counts
    if one.error or (counts.listed, counts.documents, counts.arrived, counts.missing) != (level, level, 0, 0):
        raise BenchFailed(f"The sweep found what is not so: {one}.")


def _timed(do: Callable[[], object]) -> float:
    began = time.monotonic()
    do()
    return round(time.monotonic() - began, 3)


def _announce(services: Services) -> None:
    """Uploads that never come, and have been waited for for a while."""
    files = [Upload("a.txt", 5, "text/plain", "default", expires_seconds=86_400) for _ in range(_WAITING)]
    with services.database.transaction() as connection:
        caller = Principal("admin", is_admin=True)
        announce_all(connection, DOCUMENT_UPLOAD, files, caller=caller, bucket=services.objects.bucket)
        connection.execute(text("UPDATE document_versions SET created_at = now() - interval '1 minute'"))


def _fill(services: Services, first: int, last: int) -> None:
    """Tiny objects, and documents as if all of them had come through long ago."""
    objects = services.objects

    def put(number: int) -> None:
        objects.put_stream(f"{_PREFIX}{number // 1000:03}/{number:06}.txt", io.BytesIO(b"x"), 1)

    with ThreadPoolExecutor(_PUTS_AT_ONCE) as threads:
        list(threads.map(put, range(first, last)))
    found = objects.look(objects.bucket, f"{_PREFIX}000/000000.txt")
    if found is None:
        raise BenchFailed("The objects are not there.")
    with services.database.transaction() as connection:
        connection.execute(text("SET LOCAL statement_timeout = 0"))
        numbers = {"first": first, "last": last - 1, "bucket": objects.bucket, "prefix": _PREFIX, "etag": found.etag}
        for statement in _ROWS:
            connection.execute(text(statement), numbers)


_ROWS = (
    """
    INSERT INTO documents (id, name, bucket_name, object_key, knowledge_base_id, user_id)
    SELECT 'swept-' || n, 'swept', :bucket,
        :prefix || lpad((n / 1000)::text, 3, '0') || '/' || lpad(n::text, 6, '0') || '.txt', 'default', 'admin'
    FROM generate_series(:first, :last) AS n
    """,
    """
    INSERT INTO tasks (id, type, document_id, version, knowledge_base_id, created_by, status, completed_at, tidied_at)
    SELECT 'swept-' || n, 'DOCUMENT_UPLOAD', 'swept-' || n, 1, 'default', 'admin', 'COMPLETED', now(), now()
    FROM generate_series(:first, :last) AS n
    """,
    """
    INSERT INTO document_versions (document_id, version, task_id, file_size, etag)
    SELECT 'swept-' || n, 1, 'swept-' || n, 1, :etag FROM generate_series(:first, :last) AS n
    """,
)
