"""What every answer carries: a name for the request, and what browsers must not do with it.

Plain ASGI, since Starlette's BaseHTTPMiddleware stands in the way of streams.
"""

from __future__ import annotations

import os
import re

import structlog
from starlette.datastructures import Headers
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from common.errors import Forbidden
from common.settings import Settings
from router.web.replies import error_reply, response, unexpected

# Given by a client it ends up in logs, so it is a word and no more.
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")

_SECURITY = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    # An address here can hold a token, or the name of a document.
    (b"referrer-policy", b"no-referrer"),
    # Nothing here is a page but /docs, which has a policy of its own.
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    # What is answered is somebody's; what is nobody's says so itself.
    (b"cache-control", b"no-store"),
)
# Two years: what browsers' preload list asks for.
_HTTPS = ((b"strict-transport-security", b"max-age=63072000"),)


def around(settings: Settings) -> list[Middleware]:
    """The application's middleware, the outermost first."""
    layers = [Middleware(Envelope)]
    if settings.allowed_origins:
        layers.append(
            Middleware(
                Cors,
                allow_origins=settings.allowed_origins,
                allow_methods=("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"),
                allow_headers=("Authorization", "X-API-Key", "Content-Type", "X-Request-Id", "Last-Event-ID"),
                expose_headers=("X-Request-Id", "Retry-After", "Location", "Content-Disposition"),
                allow_credentials=False,  # no cookie is ever read as a credential
            )
        )
    # Starlette's own for these answers outside of all middleware, and raises them again, to be logged twice.
    layers.append(Middleware(ExceptionMiddleware, handlers={Exception: unexpected}))  # type: ignore[dict-item]
    return layers


class Envelope:
    """The request's id, in the answer and in every log line; and the security headers that an answer lacks."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        given = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"x-request-id"), "")
        request_id = given if _REQUEST_ID.fullmatch(given) else os.urandom(8).hex()

        own = [(b"x-request-id", request_id.encode()), *(_HTTPS if scope["scheme"] == "https" else ())]

        async def sealed(message: Message) -> None:
            if message["type"] == "http.response.start":
                # As pairs of bytes: Starlette's headers would take four times as long.
                there = {name.lower() for name, _ in message["headers"]}
                message["headers"] = [
                    *message["headers"],
                    *own,
                    *(pair for pair in _SECURITY if pair[0] not in there),
                ]
            await send(message)

        # A request is a task of its own, and its context ends with it.
        structlog.contextvars.bind_contextvars(request_id=request_id, path=scope["path"])
        await self._app(scope, receive, sealed)


class Cors(CORSMiddleware):
    """Its refusals in the contract's one shape."""

    def preflight_response(self, request_headers: Headers) -> Response:
        answer = super().preflight_response(request_headers)
        if answer.status_code < 400:
            return answer
        told = Forbidden(bytes(answer.body).decode(), code="CORS_REFUSED")
        kept = {name: value for name, value in answer.headers.items() if not name.startswith("content-")}
        refusal = response(error_reply(told), "OPTIONS", "none")
        refusal.headers.update(kept)
        return refusal
