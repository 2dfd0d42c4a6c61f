"""The API process: the HTTP side of functions/http, the webhook, health and metrics. Endpoints are a table."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import anyio
import msgspec
import structlog
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route

from common.errors import BrigadeError, ConfigurationError, NotFound, RequestError, Retryable, TooLarge, Unauthenticated
from common.http import Call, Reply
from common.security import Principal, authenticate
from common.services import Services
from common.settings import Settings
from common.telemetry import REQUESTS, configure_logging
from functions.http.documents import get_document
from functions.http.search import search
from functions.http.tasks import get_task
from functions.http.uploads import create_upload
from router.broker import PikaBroker
from router.health import Health
from router.table import PIPELINES
from router.webhook import Webhook

log = structlog.get_logger()

Handler = Callable[[Call], Reply]

_RETRY_AFTER_SECONDS = "5"
# Threads that searches, which may all wait for Milvus, cannot take: a store that waits for its webhook keeps its
# events in memory.
_WEBHOOK_THREADS = 8
_HEALTH_THREADS = 4
# A client can make up any method, and each would be a metric of its own.
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


@dataclass(frozen=True, slots=True)
class Endpoint:
    method: str
    path: str
    handler: Handler


ENDPOINTS = (
    Endpoint("POST", "/uploads", create_upload),
    Endpoint("GET", "/tasks/{task_id}", get_task),
    Endpoint("GET", "/tasks/{task_id}/status", get_task),
    Endpoint("GET", "/documents/{document_id}", get_document),
    Endpoint("POST", "/search", search),
)

# The source documents' clients call the same endpoints under /api.
PREFIXES = ("/v1", "/api/v1", "/api")


def create_app(settings: Settings) -> Starlette:
    """The ASGI application; nothing is connected before it starts."""
    configure_logging(settings.log_format, settings.log_level)
    services = Services(settings)
    # A store whose notification is kept waiting keeps all later ones in its memory meanwhile, those of its safe lanes
    # too: what cannot be handed on is refused at once.
    broker = PikaBroker(
        settings.amqp_url.get_secret_value(), timeout_seconds=settings.server_timeout_seconds, patience_seconds=0
    )
    health = Health(services, broker)
    webhook = Webhook(settings, broker)
    routes: list[Route | Mount] = [
        Route("/", _fixed("/", Reply(_INDEX))),
        Route("/healthz", _fixed("/healthz", Reply({"status": "ok"}))),
        Route("/readyz", _ready(health)),
        Route("/metrics", _metrics),
        Route("/events/s3", _receive(webhook, settings), methods=["POST"]),
    ]
    for prefix in PREFIXES:
        endpoints = [Route(e.path, _serve(e, services), methods=[e.method]) for e in ENDPOINTS]
        routes.append(Mount(prefix, routes=endpoints))

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        broker.start()
        # The first search should not wait for the model.
        await run_in_threadpool(services.embedder.embed_query, "warm up")
        yield
        await run_in_threadpool(broker.close)
        await run_in_threadpool(services.close)

    return Starlette(
        routes=routes,
        lifespan=lifespan,
        exception_handlers={HTTPException: _http_error, Exception: _unexpected},  # type: ignore[dict-item]
    )


_INDEX = {
    "name": "Bucket Brigade",
    "api": "/v1",
    "endpoints": [f"{e.method} /v1{e.path}" for e in ENDPOINTS],
    "health": ["/healthz", "/readyz", "/metrics"],
}


def _serve(endpoint: Endpoint, services: Services) -> Callable[[Request], Any]:
    """An endpoint as Starlette calls it: body read up to its limit, caller known, the handler in a thread."""
    limit = services.settings.max_request_bytes

    async def serve(request: Request) -> Response:
        try:
            key = _credential(request)
            body = await read_body(request, limit)
            reply = await run_in_threadpool(call, request, key, body)
        except BrigadeError as error:
            reply = error_reply(error)
        return _response(reply, request.method, endpoint.path)

    def call(request: Request, key: str, body: bytes) -> Reply:
        caller = _caller(services, key)
        if any("\0" in value for value in request.path_params.values()):
            raise NotFound
        return endpoint.handler(
            Call(services, PIPELINES, caller, body, request.path_params, dict(request.query_params))
        )

    return serve


def _fixed(path: str, reply: Reply) -> Callable[[Request], Any]:
    async def answer(request: Request) -> Response:
        return _response(reply, request.method, path)

    return answer


def _ready(health: Health) -> Callable[[Request], Any]:
    threads = anyio.CapacityLimiter(_HEALTH_THREADS)

    async def ready(request: Request) -> Response:
        return _response(await anyio.to_thread.run_sync(health.ready, limiter=threads), request.method, "/readyz")

    return ready


def _receive(webhook: Webhook, settings: Settings) -> Callable[[Request], Any]:
    threads = anyio.CapacityLimiter(_WEBHOOK_THREADS)

    async def receive(request: Request) -> Response:
        try:
            body = await read_body(request, settings.max_request_bytes)
            authorization = request.headers.get("authorization", "")
            reply = await anyio.to_thread.run_sync(webhook.receive, authorization, body, limiter=threads)
        except BrigadeError as error:
            reply = error_reply(error)
        return _response(reply, request.method, "/events/s3")

    return receive


def _metrics(_request: Request) -> Response:
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)


def _credential(request: Request) -> str:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    key = token.strip() if scheme.lower() == "bearer" else request.headers.get("x-api-key", "")
    if not key:
        raise Unauthenticated
    return key


def _caller(services: Services, key: str) -> Principal:
    with services.database.transaction() as connection:
        return authenticate(connection, key)


async def read_body(request: Request, limit: int) -> bytes:
    """The body, cut off with `TooLarge` as soon as it passes `limit` bytes."""
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > limit:
            raise TooLarge(f"The body is larger than {limit:,} bytes.")
        parts.append(part)
    return b"".join(parts)


def error_reply(error: BrigadeError) -> Reply:
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
    body = {
        "error": {
            "code": error.code,
            "message": error.message,
            "timestamp": datetime.now(UTC),
            "details": error.details,
        }
    }
    return Reply(body, status, headers)


async def _http_error(request: Request, error: HTTPException) -> Response:
    """What Starlette itself refuses: no such path, no such method."""
    codes = {404: "NOT_FOUND", 405: "METHOD_NOT_ALLOWED"}
    known = BrigadeError(
        f"{request.method} {request.scope['path']}: {error.detail}.", code=codes.get(error.status_code, "BAD_REQUEST")
    )
    reply = error_reply(known)
    headers = dict(error.headers or {})
    return _response(Reply(reply.body, error.status_code, headers), request.method, "none")


async def _unexpected(request: Request, error: Exception) -> Response:
    """A fault of ours: logged whole, told without a trace."""
    log.error("request.failed", path=request.scope["path"], exc_info=error)
    return _response(
        error_reply(BrigadeError("This request met a fault in the server; it is logged.")), request.method, "none"
    )


def _response(reply: Reply, method: str, route: str) -> Response:
    REQUESTS.labels(method if method in _METHODS else "OTHER", route, str(reply.status)).inc()
    return Response(
        msgspec.json.encode(reply.body),
        status_code=reply.status,
        headers=dict(reply.headers),
        media_type="application/json",
    )
