"""What was acknowledged: written down by the writers at the moment they are told so, and read by the oracle."""

from __future__ import annotations

import hashlib
import threading
from dataclasses import dataclass, field

from tests.chaos.documents import Body


@dataclass
class Entry:
    """One key and the last that was acknowledged of it. Only its writer changes it.

    `body`: what was put last, None after a removal. `certain`: no answer about it was lost; else the truth is what the
    bucket holds. `document_id`: known if the API announced it. `free`: tasks that somebody may have cancelled, or not.
    """

    key: str
    body: Body | None = None
    certain: bool = True
    document_id: str | None = None
    puts: int = 0
    retired: bool = False
    bodies: dict[str, Body] = field(default_factory=dict)
    free: set[str] = field(default_factory=set)

    def putting(self, body: Body) -> None:
        """Before it is tried: what the bucket may hold from now on."""
        self.bodies[etag_of(body.data)] = body
        self.certain = False

    def put(self, body: Body) -> None:
        self.body, self.certain = body, True
        self.puts += 1

    def removing(self) -> None:
        self.certain = False

    def removed(self) -> None:
        self.body, self.certain = None, True
        self.document_id = None  # what is put there later is another document


class Ledger:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: dict[str, Entry] = {}

    def open(self, key: str, document_id: str | None = None) -> Entry:
        entry = Entry(key, document_id=document_id)
        with self._lock:
            self._entries[key] = entry
        return entry

    @property
    def entries(self) -> list[Entry]:
        with self._lock:
            return list(self._entries.values())

    @property
    def puts(self) -> int:
        """How many were acknowledged."""
        return sum(entry.puts for entry in self.entries)


def etag_of(data: bytes) -> str:
    """What a store answers to a PUT in one piece (not encrypted): the content's MD5."""
    return hashlib.md5(data, usedforsecurity=False).hexdigest()
