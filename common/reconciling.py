"""Making the documents agree with the bucket about one key, where an event may have been missed.

What is known is read, then the store is asked, then the event that was missed is made up, in a transaction that holds
the key and in which everything must still be as it was read: a real event that comes meanwhile decides, and whoever
looks next finds what is left. So no clock is trusted. From there on it is the path of real events.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

import structlog
from sqlalchemy import Connection, text

from common import documents, event_log
from common.db import Database
from common.errors import Unavailable
from common.events import ObjectCreated, ObjectRemoved, sequencer_at
from common.findings import Found, Gone
from common.objects import ObjectStore
from common.pipelines import Pipeline
from common.steps import StepRef
from common.telemetry import MADE_UP

log = structlog.get_logger()

Send = Callable[[Sequence[StepRef]], None]

_SECOND = timedelta(seconds=1)


class Outcome(StrEnum):
    SAME = "same"  # nothing was missed
    YOUNG = "young"  # its notification may still be on its way
    LEAVING = "leaving"  # its document is being deleted, and these bytes with it
    CHANGED = "changed"  # it changed while the store was asked
    GONE = "gone"  # there is no such object any more; its document is left for now
    ARRIVED = "arrived"  # an arrival was made up
    REMOVED = "removed"  # a removal was made up


@dataclass(frozen=True, slots=True)
class Known:
    """What the database holds about a key: its last event, its live document, those that are being deleted."""

    seen_at: datetime | None
    sequencer: str | None
    seen_etag: str | None
    document_id: str | None
    version: int | None
    etag: str | None
    leaving: tuple[tuple[str, tuple[str, ...]], ...]  # ids, each with the ETags that its versions know


@dataclass(frozen=True, slots=True)
class Reconciler:
    """`send` is given the messages of what began; what is not sent the relay sends.

    Objects younger than `grace_seconds`, by the store's own clock, are left to their notification.
    """

    database: Database
    objects: ObjectStore
    arrival: Pipeline
    removal: Pipeline
    grace_seconds: float
    send: Send = lambda _refs: None

    def reconcile(self, bucket: str, key: str, *, listed: Found | None = None, remove: bool = True) -> Outcome:
        """Ask the store about the key, and make up the event that was missed, if one was.

        `listed`: what a listing told, which knows the time better than the answer for one object. `remove`: whether
        the document of an object that is gone shall go too. Raises `Unavailable`.
        """
        with self.database.transaction() as connection:
            known = read(connection, bucket, key)
        if listed is not None and not _differs(key, listed, known):
            return _nothing_missed(known)
        match self.objects.ask(bucket, key):
            case Found() as found:
                same = listed is not None and listed.etag == found.etag
                return self._arrived(bucket, key, _finer(found, listed) if same and listed else found, known)
            case Gone(asked_at):
                return self._gone(bucket, key, asked_at, known, remove=remove)

    def _arrived(self, bucket: str, key: str, found: Found, known: Known) -> Outcome:
        if not _differs(key, found, known):
            return _nothing_missed(known)
        # A store whose clock was set back tells of the future.
        if abs((found.asked_at - found.written_at).total_seconds()) < self.grace_seconds:
            return Outcome.YOUNG
        event = found.as_event(bucket, key, *_when(found.written_at, found.written_until, found.asked_at, known))
        return self._make_up(event, known)

    def _gone(self, bucket: str, key: str, asked_at: datetime, known: Known, *, remove: bool) -> Outcome:
        if known.etag is None:
            return Outcome.SAME
        if not remove:
            return Outcome.GONE
        sequencer, until = _when(asked_at, asked_at + _SECOND, asked_at, known)
        return self._make_up(ObjectRemoved(bucket, key, sequencer, until=until), known)

    def _make_up(self, event: ObjectCreated | ObjectRemoved, known: Known) -> Outcome:
        with self.database.transaction() as connection:
            event_log.hold(connection, event.bucket, event.key)
            if read(connection, event.bucket, event.key) != known:
                return Outcome.CHANGED
            match event:
                case ObjectCreated():
                    outcome = Outcome.ARRIVED
                    ready = documents.arrive(connection, event, self.arrival, self.removal, decides=event_log.is_so)
                case ObjectRemoved():
                    outcome = Outcome.REMOVED
                    ready = documents.depart(connection, event, self.removal, decides=event_log.is_so)
        MADE_UP.labels(outcome).inc()
        log.warning("event.made_up", kind=str(outcome), bucket=event.bucket, key=event.key, began=len(ready))
        self.send(ready)
        return outcome


def read(connection: Connection, bucket: str, key: str) -> Known:
    row = connection.execute(_KNOWN, {"bucket": bucket, "key": key}).one()
    leaving = sorted((one["id"], tuple(sorted(one["etags"]))) for one in row.leaving or [])
    return Known(row.seen_at, row.sequencer, row.seen_etag, row.id, row.version, row.etag, tuple(leaving))


# One that is only held, and never had an event, is as good as none.
_KNOWN = text("""
    SELECT seen.seen_at, seen.sequencer, seen.etag AS seen_etag, live.id, newest.version, newest.etag,
        (SELECT jsonb_agg(jsonb_build_object('id', leaving.id, 'etags', ARRAY(
                    SELECT etag FROM document_versions WHERE document_id = leaving.id AND etag IS NOT NULL)))
         FROM documents AS leaving
         WHERE (leaving.bucket_name, leaving.object_key) = (:bucket, :key)
             AND leaving.deleted_at IS NOT NULL) AS leaving
    FROM (VALUES (1)) AS one
        LEFT JOIN events_seen AS seen
            ON (seen.bucket_name, seen.object_key) = (:bucket, :key) AND seen.sequencer <> ''
        LEFT JOIN documents AS live
            ON (live.bucket_name, live.object_key) = (:bucket, :key) AND live.deleted_at IS NULL
        LEFT JOIN LATERAL (
            SELECT version, etag FROM document_versions WHERE document_id = live.id ORDER BY version DESC LIMIT 1
        ) AS newest ON true
""")


def _differs(key: str, found: Found, known: Known) -> bool:
    """Whether an arrival was missed. A document that is being deleted must not come back by its own bytes."""
    if known.document_id is not None:
        return known.etag != found.etag
    told = known.seen_etag == found.etag
    return not any(
        found.etag in etags
        # Its key was made for it, so all that is ever put there is deleted with it, once somebody has told of it.
        or (key.startswith(f"incoming/{document_id}/") and (etags or told))
        for document_id, etags in known.leaving
    )


def _nothing_missed(known: Known) -> Outcome:
    return Outcome.SAME if known.document_id is not None or not known.leaving else Outcome.LEAVING


def _finer(found: Found, listed: Found) -> Found:
    """The same object as an answer for it alone and as the listing told of it: the time of who tells it more finely."""
    if found.written_at <= listed.written_at < found.written_until:
        return Found(
            found.etag,
            found.size,
            listed.written_at,
            listed.written_until,
            found.asked_at,
            found.content_type,
            found.version_id,
        )
    return found


def _when(start: datetime, end: datetime, asked_at: datetime, known: Known) -> tuple[str, str]:
    """Sequencers between which the made-up event lies; never before the last one that was seen, unless a clock says so.

    What is older than that has come back since, as where the newest version was removed: at some time until now.
    """
    if known.sequencer is not None and sequencer_at(end) < known.sequencer:
        start, end = asked_at, asked_at + _SECOND
    sequencer, until = sequencer_at(start), sequencer_at(end)
    if known.sequencer is not None and sequencer < known.sequencer <= until:
        sequencer = known.sequencer
    return sequencer, until


def try_reconcile(reconciler: Reconciler, bucket: str, key: str, **options: Any) -> Outcome | None:
    """As `reconcile`; None if the store, or Postgres, refuses this one now."""
    try:
        return reconciler.reconcile(bucket, key, **options)
    except Unavailable as error:
        log.warning("sweep.put_off", bucket=bucket, key=key, reason=error.message)
        return None
