"""GET /tasks/{task_id}/events: a task's state at once and on every change, as server-sent events.

Each is an event `task_update`, its data the task, its id a digest of the task. A client that comes back with that id as
`Last-Event-ID` is not told the same again. The stream ends after a state that is a task's last; who comes back for more
gets 204, at which a browser's EventSource stops asking. When the credential is no longer good the stream ends as well,
and coming back meets the error. The credential comes in a header or as `?token=`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import structlog
from sse_starlette.event import ServerSentEvent
from sse_starlette.sse import EventSourceResponse, SendTimeoutError
from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from common.errors import BrigadeError, RequestError, Unauthenticated, Unavailable
from common.http import Reply
from router.web.credentials import address_of, credential_of_stream
from router.web.live import State
from router.web.replies import error_reply, response
from router.web.rules import Rule
from router.web.streams import Stream, Streams, Visitor

log = structlog.get_logger()

_ROUTE = "/tasks/{task_id}/events"


class TaskEvents:
    """The endpoint, as an ASGI application."""

    def __init__(self, streams: Streams, rule: Rule) -> None:
        self._streams = streams
        self._rule = rule
        self._settings = streams.services.settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        try:
            with self._streams.slot():
                await self._serve(request, send)
        except BrigadeError as error:
            # Once the stream has begun none comes here.
            await response(error_reply(error), request.method, _ROUTE)(scope, receive, send)
        except SendTimeoutError:
            log.info("stream.slow_client", task=request.path_params["task_id"])

    async def _serve(self, request: Request, send: Send) -> None:
        visitor = Visitor(credential_of_stream(request), address_of(request))
        if not visitor.credential:
            raise Unauthenticated
        async with self._streams.open(visitor, self._rule, request.path_params["task_id"]) as stream:
            first = await self._first(stream)
            seen = request.headers.get("last-event-id", "")
            if first.ended and first.id == seen:
                await response(Reply(None, 204), request.method, _ROUTE)(request.scope, request.receive, send)
                return
            events = EventSourceResponse(
                _events(stream, first, seen),
                ping=self._settings.stream_ping_seconds,
                send_timeout=self._settings.stream_send_seconds,
            )
            await events(request.scope, request.receive, send)

    async def _first(self, stream: Stream) -> State:
        seconds = self._settings.server_timeout_seconds
        try:
            async with asyncio.timeout(seconds):
                return await stream.watch.next()
        except TimeoutError:
            raise Unavailable(f"The task's state was not read within {seconds:g} s.", server="postgres") from None


async def _events(stream: Stream, state: State, seen: str) -> AsyncIterator[ServerSentEvent]:
    try:
        while True:
            if state.id != seen:
                yield ServerSentEvent(state.data, event="task_update", id=state.id)
            if state.ended:
                return
            state = await stream.watch.next()
            seen = ""
    except RequestError as error:
        log.info("stream.ended", code=error.code, task=stream.task_id)
