"""What waits in a worker for a thread: each lane has its turn, and of its own what is nearest to the end goes first.

A lane is a knowledge base, or a queue that belongs to none, as the notifications'. Of the lanes that have something
waiting the one with the fewest runs at work is next, and of those the one that has waited longest for its turn. One
thread is never given to a lane that has all the others, so that whoever comes with a single document finds one free.
"""

from __future__ import annotations

import heapq
import itertools
import threading
from collections import Counter, defaultdict
from typing import Generic, TypeVar

T = TypeVar("T")


class Closed(Exception):
    """Nothing is handed out any more."""


class FairQueue(Generic[T]):
    """Thread-safe. `threads`: how many take from it."""

    def __init__(self, threads: int) -> None:
        self._most = max(1, threads - 1)  # at work of one lane
        self._waiting: dict[str, list[tuple[int, int, T]]] = defaultdict(list)
        self._at_work: Counter[str] = Counter()
        self._turns: dict[str, int] = {}  # when each lane last had one
        self._numbers = itertools.count()
        self._changed = threading.Condition()
        self._closed = False

    def put(self, lane: str, rank: int, item: T) -> None:
        """`rank`: of the same lane the lowest goes first, and of those of one rank the first."""
        with self._changed:
            heapq.heappush(self._waiting[lane], (rank, next(self._numbers), item))
            self._changed.notify()

    def get(self) -> tuple[str, T]:
        """The next item and its lane; waits for one. Tell `done` when it is. Raises `Closed`."""
        with self._changed:
            while True:
                if self._closed:
                    raise Closed
                if (lane := self._next()) is not None:
                    break
                self._changed.wait()
            _, _, item = heapq.heappop(self._waiting[lane])
            if not self._waiting[lane]:
                del self._waiting[lane]
            self._at_work[lane] += 1
            self._turns[lane] = next(self._numbers)
            return lane, item

    def more(self, lane: str, limit: int) -> list[T]:
        """Up to `limit` further items of a lane that is at work, to be done together with the one that was got."""
        with self._changed:
            waiting = self._waiting.get(lane, [])
            items = [heapq.heappop(waiting)[2] for _ in range(min(limit, len(waiting)))]
            if lane in self._waiting and not waiting:
                del self._waiting[lane]
            return items

    def done(self, lane: str) -> None:
        with self._changed:
            self._at_work[lane] -= 1
            if not self._at_work[lane]:
                del self._at_work[lane]
                if lane not in self._waiting:
                    self._turns.pop(lane, None)
            self._changed.notify()

    def close(self) -> None:
        """Whoever waits, or comes, is told so."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _next(self) -> str | None:
        free = [lane for lane in self._waiting if self._at_work[lane] < self._most]
        return min(free, key=lambda lane: (self._at_work[lane], self._turns.get(lane, -1)), default=None)
