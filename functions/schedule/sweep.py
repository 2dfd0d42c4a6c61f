"""Tick: what no notification told of is found in the bucket itself.

The sweep compares a bucket's listing with its documents in one ordered merge, a page at a time, and goes on where it
was broken off. Only what differs is looked at by its key (common/reconciling.py), and what was missed is made up. The
quick one asks only for uploads that were announced and are still waited for, whatever else the bucket holds.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from common import sweeping
from common.errors import Unavailable
from common.findings import Listed
from common.merging import Misordered, Pair, by_bytes, by_folder, merge
from common.pipelines import Watch
from common.reconciling import Outcome, Reconciler, Send, try_reconcile
from common.services import Services
from common.sweeping import Counts, Progress
from common.untrusted import is_nameable

log = structlog.get_logger()

_PAGE = 1000
# Above this, and half of all documents, objects that are gone are taken for a store that is not the one it was.
_FEW = 10
_QUICK_AT_ONCE = 300
# Then a server is away, and the rest would only wait for it too.
_MOST_REFUSALS = 3
_LAST = "\U0010ffff"


@dataclass(frozen=True, slots=True)
class Swept:
    """`error`: why it did not come to its end, or what it left for a person to decide."""

    bucket: str
    prefix: str
    counts: Counts
    error: str | None = None


def not_sent(_refs: object) -> None:
    """The relay does it, some seconds later."""


def sweep(
    services: Services,
    watches: Sequence[Watch],
    *,
    send: Send = not_sent,
    now: bool = False,
    restart: bool = False,
    removals: int | None = None,
) -> list[Swept]:
    """Sweep each bucket for which that is due, and which nobody else sweeps.

    `now`: due or not. `restart`: from the beginning, even if one was broken off. `removals`: how many a person allows.
    """
    with services.database.transaction() as connection:
        buckets = sorted({services.objects.bucket, *sweeping.buckets(connection)})
    swept = []
    for bucket in buckets:
        for watch in watches:
            with services.database.alone(f"sweep:{bucket}/{watch.prefix}") as ours:
                if not ours:
                    log.info("sweep.runs_elsewhere", bucket=bucket, prefix=watch.prefix)
                    continue
                with services.database.transaction() as connection:
                    every = services.settings.sweep_seconds
                    progress = sweeping.load(connection, bucket, watch.prefix, every_seconds=every)
                if restart:
                    progress.after, progress.counts = None, Counts()
                if now or progress.due:
                    swept.append(_Sweep(services, watch, progress, send, removals).run())
    return swept


def sweep_quickly(services: Services, watches: Sequence[Watch], *, send: Send = not_sent) -> int:
    """Look for announced uploads whose turn it is; returns how many had come without a word."""
    with services.database.transaction() as connection:
        grace = services.settings.sweep_grace_seconds
        waiting = sweeping.waiting(connection, grace_seconds=grace, limit=_QUICK_AT_ONCE)
    arrived = 0
    for bucket, key in waiting:
        watch = next((one for one in watches if key.startswith(one.prefix)), None)
        if watch is not None and services.objects.look(bucket, key) is not None:
            arrived += try_reconcile(_reconciler(services, watch, send), bucket, key) == Outcome.ARRIVED
    return arrived


def _reconciler(services: Services, watch: Watch, send: Send) -> Reconciler:
    grace = services.settings.sweep_grace_seconds
    return Reconciler(services.database, services.objects, watch.arrival, watch.removal, grace, send)


class _Sweep:
    """One sweep of the keys of one bucket that begin so."""

    def __init__(self, services: Services, watch: Watch, progress: Progress, send: Send, removals: int | None) -> None:
        self._services = services
        self._objects = services.objects
        self._database = services.database
        self._progress = progress
        self._where = {"bucket": progress.bucket, "prefix": progress.prefix}
        self._reconciler = _reconciler(services, watch, send)
        self._allowed = removals
        self._limit = services.settings.sweep_removals if removals is None else removals
        self._refusals = 0
        self._since = time.monotonic()
        self._saved = deepcopy(progress.counts)

    def run(self) -> Swept:
        """Raises nothing of the store's: that it is away is written down, and the sweep goes on there later."""
        progress = self._progress
        try:
            try:
                self._compare()
            except Unavailable:
                # What came after the last page is compared again, and would be counted twice.
                progress.counts = self._saved
                raise
            error = self._remove()
        except Unavailable as down:
            self._take_time()
            log.warning("sweep.broken_off", **self._where, after=progress.after, reason=down.message)
            with self._database.transaction() as connection:
                sweeping.fail(connection, progress, down.message)
            return Swept(progress.bucket, progress.prefix, progress.counts, down.message)
        self._take_time()
        with self._database.transaction() as connection:
            sweeping.end(connection, progress, error)
        told = {name: getattr(progress.counts, name) for name in progress.counts.__struct_fields__ if name != "gone"}
        log.info("sweep.done", **self._where, **told)
        if error:
            log.error("sweep.removals_refused", **self._where, reason=error)
        return Swept(progress.bucket, progress.prefix, progress.counts, error)

    def _compare(self) -> None:
        """The merge; once more from the beginning, in the other order, if the store turns out to list in that."""
        progress = self._progress
        self._save()
        self._clock = self._objects.clock(progress.bucket) - timedelta(seconds=time.monotonic())
        try:
            self._merge(strict=True)
        except Misordered:
            progress.by_folder = not progress.by_folder
            log.info("sweep.order_learnt", **self._where, by_folder=progress.by_folder)
            progress.after, progress.counts = None, Counts(arrived=progress.counts.arrived)
            self._merge(strict=False)

    def _merge(self, *, strict: bool) -> None:
        progress, counts = self._progress, self._progress.counts
        order = by_folder if progress.by_folder else by_bytes
        listing = self._objects.listed(progress.bucket, progress.prefix, progress.after)
        kept = sweeping.documents(
            self._database, progress.bucket, progress.prefix, progress.after, folders=progress.by_folder
        )
        for pair in merge(self._readable(listing), kept, order, strict=strict):
            counts.documents += pair.kept is not None
            if not pair.agrees:
                self._look(pair)
            if pair.listed is not None:
                counts.listed += 1
                if counts.listed % _PAGE == 0:
                    progress.after = pair.listed.key
                    self._save()

    def _readable(self, listing: Iterator[Listed]) -> Iterator[Listed]:
        """Those whose keys we could keep and ask for. Of others no notification leads to anything either."""
        for one in listing:
            if not is_nameable(one.key):
                self._progress.counts.unreadable += 1
            else:
                yield one

    def _look(self, pair: Pair) -> None:
        """Look at one key by itself. That its object is gone is believed, and acted on, at the end only."""
        counts = self._progress.counts
        if pair.listed is not None:
            if self._is_young(pair.listed.found.written_at):
                counts.young += 1
                return
            self._note(pair.listed.key, self._try(pair.listed.key, pair.listed))
        elif pair.kept is not None:
            if counts.missing > self._limit:  # so many are not removed: enough to count them
                counts.missing += 1
                return
            self._note(pair.kept.key, self._try(pair.kept.key, None))

    def _is_young(self, written_at: datetime) -> bool:
        now = self._clock + timedelta(seconds=time.monotonic())
        return abs((now - written_at).total_seconds()) < self._services.settings.sweep_grace_seconds

    def _try(self, key: str, listed: Listed | None, *, remove: bool = False) -> Outcome | None:
        found = listed.found if listed else None
        return try_reconcile(self._reconciler, self._progress.bucket, key, listed=found, remove=remove)

    def _note(self, key: str, outcome: Outcome | None) -> None:
        counts = self._progress.counts
        if outcome is None:
            counts.refused += 1
            self._refusals += 1
            if self._refusals == _MOST_REFUSALS:
                # Then the store is away, which ends it here; or it refuses these only, which holds up no other.
                self._objects.clock(self._progress.bucket)
                self._refusals = 0
            return
        self._refusals = 0
        if outcome is Outcome.GONE:
            counts.missing += 1
            if len(counts.gone) < self._limit:
                counts.gone.append(key)
        elif outcome is not Outcome.SAME:
            setattr(counts, outcome, getattr(counts, outcome) + 1)

    def _remove(self) -> str | None:
        """Remove documents whose objects are gone, each asked for once more; or say why not."""
        counts = self._progress.counts
        if not counts.missing:
            return None
        if refusal := self._refusal():
            return refusal
        # From here on there is nothing to compare; if it is broken off, these are what is left to do.
        self._progress.after = self._progress.prefix + _LAST
        self._save()
        while counts.gone:
            key = counts.gone[-1]
            self._note(key, self._try(key, None, remove=True))
            counts.gone.pop()
            counts.missing -= 1
        return None

    def _refusal(self) -> str | None:
        missing, bucket, prefix = self._progress.counts.missing, self._progress.bucket, self._progress.prefix
        what = f"{missing:,} documents of the bucket {bucket!r} under {prefix!r} have no object any more"
        do = (
            "Nothing was removed. If a disk is lost or a wrong one is mounted, bring the objects back; if they were "
            f"deleted on purpose: brigade sweep --removals {missing}"
        )
        if missing > self._limit:
            return f"{what}; a sweep removes {self._limit:,} by itself (BRIGADE_SWEEP_REMOVALS). {do}"
        if self._allowed is None and missing > max(_FEW, self._progress.counts.documents / 2):
            return f"{what}, which is most of those that it should hold: is this the store that they came from? {do}"
        # What tasks work on is kept there too, so whoever deletes documents leaves something.
        if self._allowed is None and bucket == self._objects.bucket and self._objects.is_empty(bucket):
            return f"{what}, and the bucket is empty altogether. {do}"
        return None

    def _take_time(self) -> None:
        now = time.monotonic()
        self._progress.counts.seconds = round(self._progress.counts.seconds + now - self._since, 3)
        self._since = now

    def _save(self) -> None:
        self._take_time()
        self._saved = deepcopy(self._progress.counts)
        with self._database.transaction() as connection:
            sweeping.save(connection, self._progress)
