"""WS /ws/tasks/{task_id}: a task's state at once and on every change.

The credential comes in one of these ways, looked for in this order:

- a header, as for any request: `Authorization: Bearer …` or `X-API-Key: …`
- the query: `?token=…`
- the subprotocols that are offered: `Sec-WebSocket-Protocol: brigade, …` is answered `brigade`. In a browser:
  `new WebSocket(url, ["brigade", token])`
- the first message: `{"token": "…"}`

It sends `{"event": "task_update", "data": <task>}`. It takes `{"command": "ping"}`, answered `{"command": "pong"}`, and
`{"command": "cancel"}`, whose answer is the next update; whatever else it is sent it answers `{"error": "…"}`.

It closes with 4001 if the credential is bad, absent, or no longer good; 4003 if the task is not the caller's; 4004 if
there is none; 1013 if something is too much, or away: try again later. All but a wrong Origin and too many sockets is
told after the socket was accepted, because a browser's page learns nothing of one that was not.
"""

from __future__ import annotations

import asyncio
from typing import Literal

import anyio
import msgspec
import structlog
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect

from common import audit, task_requests
from common.access import Subject
from common.errors import BrigadeError, Conflict, Forbidden, NotFound, Retryable, TooMany, Unauthenticated
from common.untrusted import UNREADABLE
from router.web.admission import admit
from router.web.credentials import address_of, credential_of_stream
from router.web.replies import error_reply, response
from router.web.rules import Rule, edits
from router.web.streams import Stream, Streams, Visitor

log = structlog.get_logger()

_SUBPROTOCOL = "brigade"
_CLOSE_CODES: dict[type[BrigadeError], int] = {
    Unauthenticated: 4001,
    Forbidden: 4003,
    NotFound: 4004,
    TooMany: 1013,
    Retryable: 1013,
}
_FAULT = 1011
_MOST_REASON_BYTES = 123  # RFC 6455, 5.5.1: a control frame holds 125, two of which are the code

_HELP = 'This socket takes {"command": "ping"} and {"command": "cancel"}, and nothing else.'
_MAY_CANCEL = edits(Subject.TASK)


class Token(msgspec.Struct):
    token: str


class Command(msgspec.Struct):
    command: Literal["ping", "cancel"]


class TaskSocket:
    """The endpoint, as an ASGI application."""

    def __init__(self, streams: Streams, rule: Rule) -> None:
        self._streams = streams
        self._rule = rule
        self._services = streams.services
        self._settings = streams.services.settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        socket = WebSocket(scope, receive, send)
        try:
            with self._streams.slot():
                self._demand_origin(socket)
                await self._serve(socket)
        except (Forbidden, TooMany) as error:
            await socket.send_denial_response(response(error_reply(error), "GET", "/ws/tasks/{task_id}"))
        except WebSocketDisconnect:
            pass  # it went, as all do
        except TimeoutError:
            # No close frame: it would wait behind what was not taken.
            log.info("stream.slow_client", task=scope["path_params"]["task_id"])

    def _demand_origin(self, socket: WebSocket) -> None:
        """A page of another site must not use what its visitor's browser sends along. Programs send no Origin."""
        origin = socket.headers.get("origin")
        if origin is None or origin in self._settings.allowed_origins:
            return
        if origin.partition("://")[2].lower() != socket.headers.get("host", "").lower():
            raise Forbidden("Pages of this site may not open this: BRIGADE_ALLOWED_ORIGINS does not name it.")

    async def _serve(self, socket: WebSocket) -> None:
        credential = credential_of_stream(socket)
        offered = socket.scope["subprotocols"]
        await socket.accept(_SUBPROTOCOL if _SUBPROTOCOL in offered else None)
        try:
            if not credential and _SUBPROTOCOL in offered:
                credential = next((one for one in offered if one != _SUBPROTOCOL), "")
            visitor = Visitor(credential or await self._first_message(socket), address_of(socket))
            async with self._streams.open(visitor, self._rule, socket.path_params["task_id"]) as stream:
                await self._converse(socket, stream)
        except BrigadeError as error:
            code = next((code for kind, code in _CLOSE_CODES.items() if isinstance(error, kind)), _FAULT)
            if code == _FAULT:
                log.error("stream.failed", code=error.code, reason=error.message)
            said = error_reply(error).body.error.message.encode()[:_MOST_REASON_BYTES].decode(errors="ignore")
            async with asyncio.timeout(self._settings.stream_send_seconds):
                await socket.close(code, said)

    async def _first_message(self, socket: WebSocket) -> str:
        seconds = self._settings.stream_token_seconds
        try:
            with self._streams.nameless():
                async with asyncio.timeout(seconds):
                    return msgspec.json.decode(await _receive(socket), type=Token).token
        except TimeoutError:
            raise Unauthenticated(f"No token came within {seconds:g} s.") from None
        except UNREADABLE:
            raise Unauthenticated('Without a token, the first message must be {"token": "…"}.') from None

    async def _converse(self, socket: WebSocket, stream: Stream) -> None:
        def gone(listening: asyncio.Task[None]) -> None:
            if not listening.cancelled():
                stream.watch.end(listening.exception() or WebSocketDisconnect())

        listening = asyncio.create_task(self._obey(socket, stream))
        listening.add_done_callback(gone)
        try:
            while True:
                await self._send(socket, (await stream.watch.next()).message)
        finally:
            listening.cancel()
            await asyncio.wait([listening])

    async def _obey(self, socket: WebSocket, stream: Stream) -> None:
        """Do as the client says, until it goes."""
        while True:
            answer = await self._answer(await _receive(socket), stream)
            if answer is not None:
                await self._send(socket, msgspec.json.encode(answer).decode())

    async def _answer(self, message: str | bytes, stream: Stream) -> dict[str, str] | None:
        try:
            command = msgspec.json.decode(message, type=Command).command
        except UNREADABLE:
            return {"error": _HELP}
        if command == "ping":
            return {"command": "pong"}
        try:
            await anyio.to_thread.run_sync(self._cancel, stream)
        except (Forbidden, Conflict, TooMany, Retryable) as error:
            return {"error": error_reply(error).body.error.message}
        return None

    def _cancel(self, stream: Stream) -> None:
        """The right to watch is not the right to cancel, and the credential is looked at again."""
        visitor = stream.visitor
        path: dict[str, str] = {Subject.TASK: stream.task_id}
        caller = admit(self._services, _MAY_CANCEL, visitor.credential, path, visitor.address)
        with self._services.database.transaction() as connection:
            task_requests.cancel(connection, stream.task_id)
            audit.record(connection, caller, "task.cancel", stream.task_id)

    async def _send(self, socket: WebSocket, text: str) -> None:
        """Raises `TimeoutError` for a client that does not take it in time."""
        async with asyncio.timeout(self._settings.stream_send_seconds):
            await socket.send_text(text)


async def _receive(socket: WebSocket) -> str | bytes:
    """The next message. Raises `WebSocketDisconnect` when there will be none."""
    message = await socket.receive()
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(message["code"], message.get("reason"))
    text: str | bytes = message.get("text") or message.get("bytes") or ""
    return text
