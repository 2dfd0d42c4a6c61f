"""A model of a bucket: what it holds, what it tells, and what it answers when it is asked. Its clock is its own."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from urllib.parse import quote_plus

from common.events import ObjectCreated, ObjectRemoved, sequencer_at
from common.findings import Found, Gone
from tests.memory_store import MemoryStore

BUCKET = "b"
_BEGAN = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Version:
    etag: str
    written_at: datetime
    version_id: str | None


@dataclass
class BucketModel(MemoryStore):
    """Artifacts live in it too. `versioned`: a removal hides what is there, and may be taken back."""

    versioned: bool = False
    now: datetime = _BEGAN
    keys: dict[str, list[Version]] = field(default_factory=dict)
    hidden: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        super().__init__()

    def pass_time(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    def current(self, key: str) -> Version | None:
        versions = self.keys.get(key, [])
        return versions[-1] if versions and key not in self.hidden else None

    # What happens; each answers the notification's body.

    def put(self, key: str, etag: str) -> bytes:
        self._tick()
        version = Version(etag, self.now, sequencer_at(self.now)[-20:] if self.versioned else None)
        self.keys[key] = [*(self.keys.get(key, []) if self.versioned else []), version]
        self.hidden.discard(key)
        return self._told("ObjectCreated:Put", key, version)

    def remove(self, key: str) -> bytes:
        self._tick()
        if self.versioned:
            self.hidden.add(key)
        else:
            self.keys.pop(key)
        return self._told("ObjectRemoved:Delete", key)

    def remove_newest_version(self, key: str) -> bytes:
        """What is under it shows again."""
        self._tick()
        self.keys[key].pop()
        return self._told("ObjectRemoved:Delete", key)

    def _tick(self) -> None:
        self.pass_time(0.000001)  # no two things happen at once

    def _told(self, event: str, key: str, version: Version | None = None) -> bytes:
        told: dict[str, object] = {"key": quote_plus(key), "sequencer": sequencer_at(self.now).lstrip("0")}
        if version is not None:
            told |= {"eTag": version.etag, "size": 5}
            if version.version_id:
                told["versionId"] = version.version_id
        return json.dumps(
            {"Records": [{"eventName": event, "s3": {"bucket": {"name": BUCKET}, "object": told}}]}
        ).encode()

    # What common.objects.ObjectStore answers.

    def look(self, bucket: str, key: str) -> Found | None:
        found = self.current(key)
        if found is None:
            return None
        second = found.written_at.replace(microsecond=0)
        return Found(found.etag, 5, second, second + timedelta(seconds=1), self._second, version_id=found.version_id)

    def ask(self, bucket: str, key: str) -> Found | Gone:
        return self.look(bucket, key) or Gone(self._second)

    def left_by(self, event: ObjectRemoved) -> ObjectCreated | None:
        found = self.look(event.bucket, event.key)
        if found is None:
            return None
        until = sequencer_at(found.written_until)
        return found.as_event(event.bucket, event.key, event.sequencer, until if until > event.sequencer else None)

    def delete_prefix(self, prefix: str) -> None:
        for key in [key for key in self.objects if key.startswith(prefix)]:
            del self.objects[key]

    @property
    def _second(self) -> datetime:
        return self.now.replace(microsecond=0)
