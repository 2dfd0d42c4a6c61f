"""Which events are news. For each key, events_seen keeps the latest; what is not later is late, or was told twice.

An event that common/reconciling.py makes up has no sequencer of a store's. The store tells when its object was written,
to a second or a millisecond: so its time is `sequencer` to `until`, and a real event of the same bytes within that is
the same event, come late. All take an open transaction.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection, text

from common.events import ObjectEvent

Decides = Callable[[Connection, ObjectEvent], bool]


def is_news(connection: Connection, event: ObjectEvent) -> bool:
    """Whether this is the latest event of its key: one indexed look, and the lock under which the rest is decided."""
    seen = connection.execute(
        text(f"""
            {_SEEN}
                WHERE events_seen.sequencer < excluded.sequencer
                    AND NOT coalesce(excluded.sequencer <= events_seen.until
                                     AND excluded.etag IS NOT DISTINCT FROM events_seen.etag, false)
        """),
        _row(event),
    )
    return bool(seen.rowcount)


def is_so(connection: Connection, event: ObjectEvent) -> bool:
    """For an event that was made up by who holds its key: the bucket is right, whatever any sequencer says."""
    connection.execute(text(_SEEN), _row(event))
    return True


def hold(connection: Connection, bucket: str, key: str) -> None:
    """Until the transaction ends, no event of this key is decided. In the order in which events lock: before documents.

    A key without an event gets a row that is earlier than any.
    """
    where = {"bucket": bucket, "key": key}
    connection.execute(
        text("""
            INSERT INTO events_seen (bucket_name, object_key, sequencer) VALUES (:bucket, :key, '')
            ON CONFLICT (bucket_name, object_key) DO NOTHING
        """),
        where,
    )
    for table in (
        "events_seen WHERE (bucket_name, object_key) = (:bucket, :key)",
        "documents WHERE (bucket_name, object_key) = (:bucket, :key) AND deleted_at IS NULL",
    ):
        connection.execute(text(f"SELECT FROM {table} FOR UPDATE"), where)


_SEEN = """
    INSERT INTO events_seen (bucket_name, object_key, sequencer, until, etag)
    VALUES (:bucket, :key, :sequencer, :until, :etag)
    ON CONFLICT (bucket_name, object_key) DO UPDATE
        SET sequencer = excluded.sequencer, until = excluded.until, etag = excluded.etag, seen_at = now()
"""


def _row(event: ObjectEvent) -> dict[str, Any]:
    return {
        "bucket": event.bucket,
        "key": event.key,
        "sequencer": event.sequencer,
        "until": event.until,
        "etag": getattr(event, "etag", None),
    }
