"""Answers as bytes: whatever happens, JSON, and for errors the contract's one shape."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache
from typing import Any

import msgspec
import structlog
from prometheus_client import Counter
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response
from starlette.websockets import WebSocket

from common.errors import BrigadeError, ConfigurationError, RequestError, Retryable, TooMany, Unauthenticated
from common.http import Reply
from common.telemetry import REQUESTS

log = structlog.get_logger()

_RETRY_AFTER_SECONDS = "5"
_SOCKET_FAULT = 1011  # RFC 6455, section 7.4.1
_TOLD_CHARACTERS = 200  # of a path
# A client can make up any method, and each would be a metric of its own.
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class ErrorBody(msgspec.Struct, frozen=True):
    """`code` is for machines, `message` for a person."""

    code: str
    message: str
    timestamp: datetime
    details: dict[str, Any]


class ErrorView(msgspec.Struct, frozen=True):
    error: ErrorBody


def error_reply(error: BrigadeError) -> Reply[ErrorView]:
    """Any of our errors in the contract's one shape."""
    headers: dict[str, str] = {}
    status = 500
    if isinstance(error, RequestError):
        status = error.status
    elif isinstance(error, Retryable | ConfigurationError):
        log.warning("request.unavailable", code=error.code, reason=error.message)
        status, headers = 503, {"Retry-After": _RETRY_AFTER_SECONDS}
        # The reason can name hosts and users, and who asks may have no key.
        server = error.details.get("server", "something this server needs")
        error = BrigadeError(f"Not available now: {server}. Try again later.", code=error.code, **error.details)
    if isinstance(error, Unauthenticated):
        headers = {"WWW-Authenticate": "Bearer"}
    if isinstance(error, TooMany):
        headers = {"Retry-After": str(error.retry_after)}
    return Reply(ErrorView(ErrorBody(error.code, error.message, datetime.now(UTC), error.details)), status, headers)


async def http_error(request: Request, error: HTTPException) -> Response:
    """What Starlette itself refuses: no such path, no such method."""
    codes = {404: "NOT_FOUND", 405: "METHOD_NOT_ALLOWED"}
    known = BrigadeError(
        f"{request.method} {request.scope['path'][:_TOLD_CHARACTERS]}: {error.detail}.",
        code=codes.get(error.status_code, "BAD_REQUEST"),
    )
    headers = dict(error.headers or {})
    return response(Reply(error_reply(known).body, error.status_code, headers), request.method, "none")


async def unexpected(connection: HTTPConnection, error: Exception) -> Response | None:
    """A fault of ours: logged whole, told without a trace."""
    log.error("request.failed", exc_info=error)
    if isinstance(connection, WebSocket):
        await connection.close(_SOCKET_FAULT)
        return None
    told = BrigadeError("This request met a fault in the server; it is logged.")
    return response(error_reply(told), connection.scope["method"], "none")


@cache
def _counted(method: str, route: str, status: int) -> Counter:
    """A metric's child is looked up under a lock, by texts: once is enough."""
    return REQUESTS.labels(method, route, str(status))


def response(reply: Reply[Any], method: str, route: str, status: int = 200) -> Response:
    """`status`: of a reply that has none of its own. `route` is the path as the table writes it."""
    status = reply.status or status
    _counted(method if method in _METHODS else "OTHER", route, status).inc()
    return Response(
        msgspec.json.encode(reply.body) if status != 204 else b"",
        status_code=status,
        headers=dict(reply.headers),
        media_type="application/json" if status != 204 else None,
    )
