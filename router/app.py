"""The API process: the endpoints of router/web, the webhook, health and metrics, as one ASGI application."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import structlog
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Route, WebSocketRoute

from common.errors import BrigadeError
from common.http import Reply
from common.services import Services
from common.settings import Settings
from common.telemetry import configure_logging
from router.broker import PikaBroker
from router.health import Health
from router.web.endpoints import ENDPOINTS, FORMS, PREFIXES, STREAMS
from router.web.forms import serve_form
from router.web.live import Live
from router.web.replies import error_reply, http_error, response, unexpected
from router.web.serve import read_body, serve
from router.web.streams import Streams
from router.webhook import Webhook

log = structlog.get_logger()

# Threads that searches, which may all wait for Milvus, cannot take: a store that waits for its webhook keeps its
# events in memory.
_WEBHOOK_THREADS = 8
_HEALTH_THREADS = 4


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
    live = Live(services)
    streams = Streams(services, live)
    routes: list[BaseRoute] = [
        Route("/", _fixed("/", Reply(_INDEX))),
        Route("/healthz", _fixed("/healthz", Reply({"status": "ok"}))),
        Route("/readyz", _ready(health)),
        Route("/metrics", _metrics),
        Route("/events/s3", _receive(webhook, settings), methods=["POST"]),
    ]
    forms = [Route(form.path, serve_form(form, services), methods=[form.method]) for form in FORMS]
    open_ones = _streams(streams)
    for prefix in PREFIXES:
        endpoints = [Route(e.path, serve(e, services), methods=[e.method]) for e in ENDPOINTS]
        routes.append(Mount(prefix, routes=[*endpoints, *forms, *open_ones]))
    # The source documents' clients open their WebSockets at the root.
    routes += [route for route in open_ones if isinstance(route, WebSocketRoute)]

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        broker.start()
        # The first search should not wait for the model.
        await run_in_threadpool(services.embedder.embed_query, "warm up")
        cache = services.authenticator.cache
        cache.while_listening(lambda: live.connected)
        live.on_auth_change(cache.forget)
        async with live.running(), streams.running():
            log.info("api.started")
            yield
        await run_in_threadpool(broker.close)
        await run_in_threadpool(services.close)

    return Starlette(
        routes=routes,
        lifespan=lifespan,
        exception_handlers={HTTPException: http_error, Exception: unexpected},  # type: ignore[dict-item]
    )


def _streams(streams: Streams) -> list[Route | WebSocketRoute]:
    return [
        WebSocketRoute(one.path, one.handler(streams, one.rule))
        if one.method == "WS"
        else Route(one.path, one.handler(streams, one.rule), methods=[one.method])
        for one in STREAMS
    ]


_INDEX = {
    "name": "Bucket Brigade",
    "api": "/v1",
    "endpoints": [f"{e.method} /v1{e.path}" for e in (*ENDPOINTS, *STREAMS)],
    "health": ["/healthz", "/readyz", "/metrics"],
}


def _fixed(path: str, reply: Reply[Any]) -> Callable[[Request], Any]:
    async def answer(request: Request) -> Response:
        return response(reply, request.method, path)

    return answer


def _ready(health: Health) -> Callable[[Request], Any]:
    threads = anyio.CapacityLimiter(_HEALTH_THREADS)

    async def ready(request: Request) -> Response:
        return response(await anyio.to_thread.run_sync(health.ready, limiter=threads), request.method, "/readyz")

    return ready


def _receive(webhook: Webhook, settings: Settings) -> Callable[[Request], Any]:
    threads = anyio.CapacityLimiter(_WEBHOOK_THREADS)

    async def receive(request: Request) -> Response:
        try:
            body = await read_body(request, settings.max_request_bytes, settings.request_seconds)
            authorization = request.headers.get("authorization", "")
            reply: Reply[Any] = await anyio.to_thread.run_sync(webhook.receive, authorization, body, limiter=threads)
        except BrigadeError as error:
            reply = error_reply(error)
        return response(reply, request.method, "/events/s3")

    return receive


def _metrics(_request: Request) -> Response:
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)
