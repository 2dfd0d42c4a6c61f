"""A bucket in memory with a clock of its own, that sends no notifications and answers what the sweep asks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

from common.errors import Unavailable
from common.events import ObjectCreated, ObjectRemoved, sequencer_at
from common.findings import Found, Gone, Listed
from common.merging import Order, by_bytes

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


class ToldStore:
    """`answering` is called between a question and the next transaction; `order`: that of its listing."""

    bucket = "b"

    def __init__(self) -> None:
        self.objects: dict[str, Found] = {}
        self.now = NOON
        self.order: Order = by_bytes
        self.answering: Callable[[], object] = lambda: None
        self.refused: set[str] = set()
        self.asked: list[str] = []
        self.listed_after: list[str | None] = []
        self.breaks_at: str | None = None
        self.bare = False
        self.away = False
        self.answering_clock: list[bool] = []

    def put(self, key: str, etag: str, *, back: float = 3600) -> ObjectCreated:
        """An object that was written so many seconds ago; returns the event that a store would tell of it."""
        at = self.now - timedelta(seconds=back)
        self.objects[key] = Found(etag, 5, at, at + timedelta(milliseconds=1), self.now)
        return ObjectCreated(self.bucket, key, sequencer_at(at + timedelta(microseconds=400)), etag=etag, size=5)

    def remove(self, key: str) -> ObjectRemoved:
        del self.objects[key]
        return ObjectRemoved(self.bucket, key, sequencer_at(self.now))

    def look(self, bucket: str, key: str) -> Found | None:
        """As HEAD tells it: in whole seconds, and with the type."""
        self.asked.append(key)
        found = self.objects.get(key)
        if found is None:
            return None
        at = found.written_at.replace(microsecond=0)
        return Found(found.etag, found.size, at, at + timedelta(seconds=1), self.now, "text/plain", found.version_id)

    def ask(self, bucket: str, key: str) -> Found | Gone:
        if key in self.refused:
            raise Unavailable("AccessDenied", server="store")
        answer = self.look(bucket, key) or Gone(self.now)
        self.answering()
        return answer

    def listed(self, bucket: str, prefix: str, after: str | None = None) -> Iterator[Listed]:
        self.listed_after.append(after)
        for key in sorted(self.objects, key=self.order):
            if key == self.breaks_at:
                raise Unavailable("The store went away.", server="store")
            if key.startswith(prefix) and (after is None or self.order(key) > self.order(after)):
                yield Listed(key, self.objects[key])

    def clock(self, bucket: str) -> datetime:
        if self.away or (self.answering_clock and not self.answering_clock.pop(0)):
            raise Unavailable("The store is away.", server="store")
        return self.now

    def is_empty(self, bucket: str) -> bool:
        return self.bare
