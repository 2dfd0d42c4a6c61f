"""Tasks as they change, to all in this process who watch one.

Postgres tells which tasks changed; those that are watched are read together, encoded once each, and handed to their
watchers. A watcher holds the latest state and nothing older, so one that is slow costs no more than one that is not.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

import anyio
import msgspec
import structlog

from common.db import Database
from common.errors import Unavailable
from common.services import Services
from common.status import Status
from common.task_views import TaskView, read_tasks
from router.web.listener import RIGHTS, Listener
from router.web.running import running

log = structlog.get_logger()

# Tasks a read: it takes 20 ms, most of it Python, and what else this process does should not wait for longer.
_AT_ONCE = 100
_RETRY_SECONDS = 1.0

_ENDED = frozenset({Status.COMPLETED, Status.FAILED, Status.CANCELLED})


@dataclass(frozen=True, slots=True)
class State:
    """A task at one moment. `data`: what clients see, as JSON; `message`: the same as a WebSocket's event; `ended`:
    only a retry will change it. `id`: a digest, of all but the estimate, which moves with the clock."""

    id: str
    data: str
    message: str
    ended: bool

    @classmethod
    def of(cls, task: TaskView) -> State:
        data = msgspec.json.encode(task).decode()
        lasting = msgspec.json.encode(msgspec.structs.replace(task, estimated_completion_time=None))
        digest = hashlib.blake2b(lasting, digest_size=9).hexdigest()
        return cls(digest, data, f'{{"event":"task_update","data":{data}}}', task.status in _ENDED)


class Watch:
    """One who watches a task. A newer state replaces one that was not yet taken."""

    def __init__(self) -> None:
        self._state: State | None = None
        self._last = ""
        self._reason: BaseException | None = None
        self._news = asyncio.Event()

    def offer(self, state: State) -> None:
        if state.id != self._last:
            self._state, self._last = state, state.id
            self._news.set()

    def end(self, reason: BaseException) -> None:
        """`next` raises this, now and ever after."""
        self._reason = self._reason or reason
        self._news.set()

    async def next(self) -> State:
        """The latest state, as soon as it is another than the one before."""
        while True:
            await self._news.wait()
            if self._reason is not None:
                raise self._reason
            self._news.clear()
            if self._state is not None:
                state, self._state = self._state, None
                return state


class Live:
    """What this process knows of changes. Used between entering and leaving `running`."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._listener = Listener(services.settings, self._heard, self._back)
        self._watches: dict[str, set[Watch]] = {}
        self._changed: set[str] = set()
        self._news = asyncio.Event()
        self._rights_changed: list[Callable[[], None]] = []
        self._thread = anyio.CapacityLimiter(1)

    @property
    def connected(self) -> bool:
        """Whether Postgres tells this process of changes at the moment."""
        return self._listener.connected

    def on_auth_change(self, callback: Callable[[], None]) -> None:
        """Call this, on the event loop, whenever a right or a credential may have been revoked."""
        self._rights_changed.append(callback)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        cache = self._services.authenticator.cache
        cache.while_listening(lambda: self.connected)
        self.on_auth_change(cache.forget)
        async with running(self._listener.run(), self._read()):
            yield

    @contextmanager
    def watch(self, task_id: str) -> Iterator[Watch]:
        """The task's state comes at once, and whenever it changes.

        It is read only after the watch has begun, by the one reader that reads everything: no change is missed, and
        no older state follows a newer.
        """
        watch = Watch()
        self._watches.setdefault(task_id, set()).add(watch)
        self._mark(task_id)
        try:
            yield watch
        finally:
            self._watches[task_id].discard(watch)
            if not self._watches[task_id]:
                del self._watches[task_id]

    def _heard(self, channel: str, payload: str) -> None:
        if channel == RIGHTS:
            self._tell_rights()
        elif payload in self._watches:
            self._mark(payload)

    def _back(self) -> None:
        """Nothing was heard for a while, so anything may have changed."""
        self._mark(*self._watches)
        self._tell_rights()

    def _mark(self, *task_ids: str) -> None:
        self._changed.update(task_ids)
        self._news.set()

    def _tell_rights(self) -> None:
        for callback in self._rights_changed:
            callback()

    async def _read(self) -> None:
        """Read what changed, one read at a time; what changes meanwhile is read together next."""
        while True:
            await self._news.wait()
            self._news.clear()
            changed, self._changed = list(self._changed & self._watches.keys()), set()
            for first in range(0, len(changed), _AT_ONCE):
                try:
                    states = await anyio.to_thread.run_sync(
                        _states, self._services.database, changed[first : first + _AT_ONCE], limiter=self._thread
                    )
                except Unavailable as error:
                    log.warning("live.unavailable", reason=error.message)
                    self._mark(*changed[first:])
                    await asyncio.sleep(_RETRY_SECONDS)
                    break
                except Exception as error:  # without this reader nobody here would see a change again
                    log.error("live.not_read", tasks=changed[first : first + _AT_ONCE], exc_info=error)
                    continue
                for task_id, state in states.items():
                    for watch in self._watches.get(task_id, ()):
                        watch.offer(state)


def _states(database: Database, task_ids: Sequence[str]) -> dict[str, State]:
    with database.transaction() as connection:
        tasks = read_tasks(connection, task_ids)
    return {task_id: State.of(task) for task_id, task in tasks.items()}
