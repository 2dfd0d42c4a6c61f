"""A file on its way to the store: whole, or in parts of which some may be there already."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from common.errors import Cancelled, Unavailable
from deploy.client.shapes import SignedPart, SignedParts, Ticket
from deploy.client.store import Store, UploadRefused, pieces_of

_PARTS_AT_ONCE = 4
_SIGNED_AT_ONCE = 100
_ATTEMPTS = 5
_FIRST_PAUSE_SECONDS = 0.5

OnBytes = Callable[[int], object]


class Sending:
    """One file. `on_bytes` hears the size of each piece, from one thread at a time; what the store broke off is taken
    back by a negative one. Whatever it raises ends the sending, and what arrived stays to be gone on with."""

    def __init__(self, store: Store, path: Path, size: int, on_bytes: OnBytes) -> None:
        self._store = store
        self._path = path
        self._size = size
        self._on_bytes = on_bytes
        self._lock = threading.Lock()
        self._stopped = threading.Event()

    def whole(self, ticket: Ticket) -> None:
        self._send(lambda _: ticket.url, 0, self._size, ticket.headers, renewable=False)

    def parts(self, ticket: Ticket, missing: Sequence[int], sign: Callable[[Sequence[int]], SignedParts]) -> None:
        """Those that are missing. `sign` makes URLs where the ticket's run out, or are good no more."""
        each = ticket.part_size or self._size
        urls = Urls(ticket.parts, missing, sign)
        self._heard(self._size - sum(self._size_of(number, each) for number in missing))

        def send(number: int) -> None:
            start, size = (number - 1) * each, self._size_of(number, each)
            self._send(lambda fresh: urls.get(number, fresh=fresh), start, size, {}, renewable=True)

        with ThreadPoolExecutor(_PARTS_AT_ONCE, thread_name_prefix="part") as pool:
            try:
                for done in as_completed([pool.submit(send, number) for number in missing]):
                    done.result()
            except BaseException:
                # Ctrl-C as well: what is being sent stops at its next piece.
                self._stopped.set()
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def _size_of(self, number: int, each: int) -> int:
        return min(each, self._size - (number - 1) * each)

    def _send(
        self, url: Callable[[bool], str], start: int, size: int, headers: dict[str, str], *, renewable: bool
    ) -> None:
        """These bytes, tried again when the store breaks off. `url`: of a first attempt, or a fresh one."""
        for attempt in range(_ATTEMPTS):
            sent = 0

            def heard(count: int) -> None:
                nonlocal sent
                sent += count
                self._heard(count)

            try:
                with self._path.open("rb") as file:
                    file.seek(start)
                    pieces = pieces_of(file, heard, size)
                    self._store.put(url(attempt > 0), pieces, {"Content-Length": str(size)} | headers)
                return
            except (Unavailable, UploadRefused) as error:
                expired = renewable and attempt == 0 and getattr(error, "status", None) == 403
                if not (expired or _passes(error)) or attempt + 1 == _ATTEMPTS:
                    raise
            self._heard(-sent)
            self._stopped.wait(0 if expired else _FIRST_PAUSE_SECONDS * 2**attempt)

    def _heard(self, count: int) -> None:
        with self._lock:
            if self._stopped.is_set():
                raise Cancelled
            try:
                self._on_bytes(count)
            except BaseException:
                self._stopped.set()
                raise


class Urls:
    """The parts' URLs, signed some at a time when they are needed."""

    def __init__(
        self, signed: Sequence[SignedPart], missing: Sequence[int], sign: Callable[[Sequence[int]], SignedParts]
    ) -> None:
        self._known = {part.number: part.url for part in signed}
        self._missing = sorted(missing)
        self._sign = sign
        self._lock = threading.Lock()

    def get(self, number: int, *, fresh: bool) -> str:
        with self._lock:
            if fresh:
                del self._known[number]
            if number not in self._known:
                for part in self._sign([number] if fresh else self._next(number)).parts:
                    self._known[part.number] = part.url
            return self._known[number]

    def _next(self, number: int) -> list[int]:
        """The parts to be signed with this one: also those before it, whose threads may come to ask only now."""
        unknown = [n for n in self._missing if n not in self._known]
        first = max(0, unknown.index(number) - _PARTS_AT_ONCE)
        return unknown[first : first + _SIGNED_AT_ONCE]


def _passes(error: Unavailable | UploadRefused) -> bool:
    """Whether the same may succeed later."""
    return isinstance(error, Unavailable) or error.status >= 500
