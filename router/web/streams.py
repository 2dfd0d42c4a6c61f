"""Who holds a live stream: let in by its rule, asked again whenever a right may have been revoked, out in time."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

import anyio
import structlog

from common.access import Subject
from common.errors import RequestError, TooMany, Unauthenticated, Unavailable
from common.principal import Principal
from common.security import authenticate
from common.services import Services
from common.telemetry import STREAMS
from router.web.admission import admit
from router.web.live import Live, Watch
from router.web.rules import Rule
from router.web.running import running

log = structlog.get_logger()

# Threads that let in and ask again: what else the API does needs Postgres's connections too.
_THREADS = 4
_RETRY_SECONDS = 1.0
# Of all places one in ten: whoever opens sockets and says nothing takes none from those who do.
_NAMELESS_SHARE = 10


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who wants a stream: the credential that was shown, and from where."""

    credential: str
    address: str


@dataclass(eq=False, slots=True)
class Stream:
    """An open one. `watch` ends with the error that a request would meet once the caller may no longer."""

    visitor: Visitor
    rule: Rule
    task_id: str
    caller: Principal
    watch: Watch
    timer: asyncio.TimerHandle | None = None

    def expire(self, at: datetime | None) -> None:
        """End when the credential does, and not before."""
        if self.timer is not None:
            self.timer.cancel()
        if at is not None:
            seconds = (at - datetime.now(UTC)).total_seconds()
            reason = Unauthenticated("The credential of this stream has expired.")
            self.timer = asyncio.get_running_loop().call_later(seconds, self.watch.end, reason)


class Streams:
    """Those of this process. Used between entering and leaving `running`."""

    def __init__(self, services: Services, live: Live) -> None:
        self.services = services
        self._live = live
        self._streams: set[Stream] = set()
        self._slots = 0
        self._nameless = 0
        self._of_user: Counter[str] = Counter()
        self._changes = 0
        self._changed = asyncio.Event()
        self._threads = anyio.CapacityLimiter(_THREADS)
        live.on_auth_change(self._rights_changed)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with running(self._ask_again()):
            yield

    @contextmanager
    def slot(self) -> Iterator[None]:
        """One of the places that this process has. Raises `TooMany`."""
        most = self.services.settings.max_streams
        if self._slots >= most:
            raise TooMany(f"This server holds {most:,} live streams, which is all it may.", retry_after=5)
        self._slots += 1
        STREAMS.set(self._slots)
        try:
            yield
        finally:
            self._slots -= 1
            STREAMS.set(self._slots)

    @contextmanager
    def nameless(self) -> Iterator[None]:
        """One of the few places for those who have not said yet who they are. Raises `TooMany`."""
        if self._nameless * _NAMELESS_SHARE >= self.services.settings.max_streams:
            raise TooMany("Too many sockets wait for their token: show it when you open one.", retry_after=5)
        self._nameless += 1
        try:
            yield
        finally:
            self._nameless -= 1

    @asynccontextmanager
    async def open(self, visitor: Visitor, rule: Rule, task_id: str) -> AsyncIterator[Stream]:
        """A stream of the task's states. Raises what a request to an endpoint with this rule would."""
        changes = self._changes
        caller = await anyio.to_thread.run_sync(self._admit, visitor, rule, task_id, limiter=self._threads)
        with self._counted(caller.user_id), self._live.watch(task_id) as watch:
            stream = Stream(visitor, rule, task_id, caller, watch)
            stream.expire(caller.expires_at)
            self._streams.add(stream)
            if changes != self._changes:  # while it was let in
                self._changed.set()
            try:
                yield stream
            finally:
                self._streams.discard(stream)
                stream.expire(None)

    @contextmanager
    def _counted(self, user_id: str) -> Iterator[None]:
        most = self.services.settings.max_streams_per_user
        if self._of_user[user_id] >= most:
            raise TooMany(f"You hold {most:,} live streams already: close some.", retry_after=5)
        self._of_user[user_id] += 1
        try:
            yield
        finally:
            self._of_user[user_id] -= 1
            if not self._of_user[user_id]:
                del self._of_user[user_id]

    def _admit(self, visitor: Visitor, rule: Rule, task_id: str) -> Principal:
        return admit(self.services, rule, visitor.credential, {Subject.TASK: task_id}, visitor.address)

    def _rights_changed(self) -> None:
        self._changes += 1
        self._changed.set()

    async def _ask_again(self) -> None:
        """After a change of rights: whether each stream may go on. Changes meanwhile are for the next round."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            streams = tuple(self._streams)
            try:
                answers = await anyio.to_thread.run_sync(self._may, streams, limiter=self._threads)
            except Unavailable as error:
                log.warning("streams.unavailable", reason=error.message)
                self._changed.set()
                await asyncio.sleep(_RETRY_SECONDS)
                continue
            except Exception as error:  # without this no revocation would end a stream again
                log.error("streams.not_asked", exc_info=error)
                continue
            for stream, answer in answers.items():
                if isinstance(answer, Principal):
                    stream.caller = answer
                    if stream in self._streams:
                        stream.expire(answer.expires_at)
                else:
                    stream.watch.end(answer)

    def _may(self, streams: Sequence[Stream]) -> Mapping[Stream, Principal | RequestError]:
        """Each stream's caller as they are now, or why it must end."""
        callers = {credential: self._who(credential) for credential in {one.visitor.credential for one in streams}}
        return {stream: self._still(stream, callers[stream.visitor.credential]) for stream in streams}

    def _who(self, credential: str) -> Principal | Unauthenticated:
        try:
            return authenticate(self.services, credential)
        except Unauthenticated as error:
            return error

    def _still(self, stream: Stream, caller: Principal | Unauthenticated) -> Principal | RequestError:
        if isinstance(caller, Principal):
            try:
                stream.rule.check(self.services.database, caller, {Subject.TASK: stream.task_id})
            except RequestError as error:
                return error
        return caller
