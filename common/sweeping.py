"""What the sweep asks of Postgres and writes there: documents in a store's order, how far it is, uploads that wait.

All but `documents` take an open transaction.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
from sqlalchemy import Connection, text

from common.db import Database
from common.merging import Kept, by_bytes, by_folder
from common.steps import as_json

_PAGE = 1000
_RETRY_SECONDS = 60


class Counts(msgspec.Struct):
    """What a sweep has seen so far. `gone`: keys of documents without an object, the first `removals` of them."""

    listed: int = 0
    documents: int = 0
    arrived: int = 0
    removed: int = 0
    young: int = 0
    leaving: int = 0
    changed: int = 0
    refused: int = 0
    missing: int = 0
    unreadable: int = 0
    seconds: float = 0
    gone: list[str] = msgspec.field(default_factory=list)


@dataclass(slots=True)
class Progress:
    """A row of `sweeps`. `after`: everything up to this key was compared; none: nothing runs, or has just begun."""

    bucket: str
    prefix: str
    by_folder: bool = False
    after: str | None = None
    counts: Counts = field(default_factory=Counts)
    due: bool = True


def buckets(connection: Connection) -> list[str]:
    """Those that documents live in."""
    # One step into the index a bucket, where DISTINCT would read it whole.
    found = connection.execute(
        text("""
            WITH RECURSIVE bucket (name) AS (
                SELECT min(bucket_name) FROM documents WHERE deleted_at IS NULL
                UNION ALL
                SELECT (SELECT min(bucket_name) FROM documents WHERE deleted_at IS NULL AND bucket_name > bucket.name)
                FROM bucket WHERE name IS NOT NULL)
            SELECT name FROM bucket WHERE name IS NOT NULL
        """)
    )
    return list(found.scalars())


def load(connection: Connection, bucket: str, prefix: str, *, every_seconds: float) -> Progress:
    """How far the sweep of this bucket is, and whether one is due: one was broken off, or the last is long ago.

    A sweep takes a tenth of the time at most. One that could not go on is tried again after a minute.
    """
    row = connection.execute(
        text("""
            SELECT by_folder, after_key, counts,
                after_key IS NOT NULL AND error IS NULL OR ended_at IS NULL
                OR ended_at < now() - interval '1 second' * CASE
                    WHEN after_key IS NOT NULL THEN least(:every, :retry)
                    ELSE greatest(:every, 9 * coalesce((counts ->> 'seconds')::float, 0)) END AS due
            FROM sweeps WHERE (bucket_name, prefix) = (:bucket, :prefix)
        """),
        {"bucket": bucket, "prefix": prefix, "every": every_seconds, "retry": _RETRY_SECONDS},
    ).one_or_none()
    if row is None:
        return Progress(bucket, prefix)
    counts = msgspec.convert(row.counts, Counts) if row.after_key is not None else Counts()
    return Progress(bucket, prefix, row.by_folder, row.after_key or None, counts, row.due)


def save(connection: Connection, progress: Progress) -> None:
    """Go on from here if it is broken off."""
    _write(connection, progress, "after_key = excluded.after_key, error = NULL")


def end(connection: Connection, progress: Progress, error: str | None) -> None:
    """It has come to its end; `error`: what a person has to look at."""
    _write(connection, progress, "after_key = NULL, ended_at = now(), error = :error", error=error)


def fail(connection: Connection, progress: Progress, error: str) -> None:
    """It could not go on, and will where it was."""
    _write(connection, progress, "after_key = excluded.after_key, ended_at = now(), error = :error", error=error)


def _write(connection: Connection, progress: Progress, changes: str, **options: Any) -> None:
    connection.execute(
        text(f"""
            INSERT INTO sweeps (bucket_name, prefix, by_folder, after_key, counts, begun_at)
            VALUES (:bucket, :prefix, :by_folder, coalesce(:after, ''), :counts ::jsonb, now())
            ON CONFLICT (bucket_name, prefix) DO UPDATE
                SET by_folder = excluded.by_folder, counts = excluded.counts, {changes},
                    begun_at = CASE WHEN sweeps.after_key IS NULL THEN now() ELSE sweeps.begun_at END
        """),  # noqa: S608 - `changes` are the three above
        {
            "bucket": progress.bucket,
            "prefix": progress.prefix,
            "by_folder": progress.by_folder,
            "after": progress.after,
            "counts": as_json(msgspec.to_builtins(progress.counts)),
        }
        | options,
    )


def documents(database: Database, bucket: str, prefix: str, after: str | None, *, folders: bool) -> Iterator[Kept]:
    """The live documents under these keys, from behind `after` on, in one of the two orders; one look a page."""
    place = by_folder if folders else by_bytes
    last = place(after) if after is not None else ""
    while True:
        with database.transaction() as connection:
            rows = connection.execute(
                _DOCUMENTS[folders],
                {
                    "bucket": bucket,
                    "after": last,
                    "first": place(prefix),
                    "end": _behind(place(prefix)),
                    "limit": _PAGE,
                },
            ).all()
        yield from (Kept(row.object_key, row.etag) for row in rows)
        if len(rows) < _PAGE:
            return
        last = place(rows[-1].object_key)


def _behind(prefix: str) -> str:
    """The least string that is behind all that begin so."""
    return prefix[:-1] + chr(ord(prefix[-1]) + 1)


_DOCUMENTS = [
    text(f"""
        SELECT document.object_key, newest.etag
        FROM documents AS document
            CROSS JOIN LATERAL (
                SELECT etag FROM document_versions WHERE document_id = document.id ORDER BY version DESC LIMIT 1
            ) AS newest
        WHERE document.bucket_name = :bucket AND document.deleted_at IS NULL
            AND {place} > :after AND {place} >= :first AND {place} < :end
        ORDER BY {place} LIMIT :limit
    """)  # noqa: S608 - the two below
    for place in ("document.object_key", "replace(document.object_key, '/', chr(1))")
]


def waiting(connection: Connection, *, grace_seconds: float, limit: int) -> Sequence[tuple[str, str]]:
    """Bucket and key of announced uploads that nobody has told of, to be looked for now; they are noted as looked for.

    The longer one waits, the rarer: again when a quarter of its age has passed. Who was looked for first is first.
    """
    rows = connection.execute(
        text("""
            UPDATE document_versions AS version SET looked_at = now()
            FROM documents AS document
            WHERE document.id = version.document_id AND (version.document_id, version.version) IN (
                SELECT due.document_id, due.version
                FROM document_versions AS due
                    JOIN tasks AS task ON task.id = due.task_id AND task.status = 'PENDING'
                    JOIN documents AS live ON live.id = due.document_id AND live.deleted_at IS NULL
                WHERE due.etag IS NULL AND due.expires_at IS NOT NULL
                    AND now() - coalesce(due.looked_at, due.created_at)
                        > greatest(:grace * interval '1 second', (now() - due.created_at) / 4)
                ORDER BY coalesce(due.looked_at, due.created_at) LIMIT :limit FOR UPDATE OF due SKIP LOCKED)
            RETURNING document.bucket_name, document.object_key
        """),
        {"grace": grace_seconds, "limit": limit},
    )
    return [(row.bucket_name, row.object_key) for row in rows]
