"""Server-sent events, as the API sends them: https://html.spec.whatwg.org/multipage/server-sent-events.html

Lines end at a newline and nowhere else: httpx would also end them at the separators that texts in JSON may hold.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ServerEvent:
    """`id`: of the last event that had one, to come back with."""

    name: str
    data: bytes
    id: str


def read_events(pieces: Iterable[bytes]) -> Iterator[ServerEvent]:
    """The events of a stream that comes in pieces. Comments, which are heartbeats, are passed over."""
    fields: dict[bytes, bytes] = {}
    identity = ""
    for line in _lines(pieces):
        if line:
            name, _, value = line.partition(b":")
            value = value.removeprefix(b" ")
            fields[name] = fields[name] + b"\n" + value if name == b"data" and name in fields else value
            continue
        identity = fields.get(b"id", identity.encode()).decode()
        if b"data" in fields:
            yield ServerEvent(fields.get(b"event", b"message").decode(), fields[b"data"], identity)
        fields = {}


def _lines(pieces: Iterable[bytes]) -> Iterator[bytes]:
    rest = b""
    for piece in pieces:
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            yield line.removesuffix(b"\r")
