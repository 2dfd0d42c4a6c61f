"""The API process: the endpoints of router/web, the webhook, health and metrics, as one ASGI application."""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import structlog
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute, Mount, Route, Router, WebSocketRoute

from common.access_tokens import AccessTokens
from common.services import Services
from common.settings import Settings
from common.telemetry import configure_logging
from router import letters
from router.broker import PikaBroker
from router.health import Health
from router.outbox import Outbox
from router.web.endpoints import ENDPOINTS, FORMS, PREFIXES, STREAMS
from router.web.forms import serve_form
from router.web.headers import around
from router.web.live import Live
from router.web.oidc import oidc_routes
from router.web.replies import http_error
from router.web.routes import Served, by_path
from router.web.serve import serve
from router.web.shares import Shares
from router.web.streams import Streams
from router.web.unprefixed import unprefixed
from router.webhook import Webhook

log = structlog.get_logger()


def create_app(settings: Settings) -> Starlette:
    """The ASGI application; nothing is connected before it starts."""
    configure_logging(settings.log_format, settings.log_level)
    AccessTokens(settings)  # a secret that can be guessed ends the start
    services = Services(settings)
    # A store whose notification is kept waiting keeps all later ones in its memory meanwhile, those of its safe lanes
    # too: what cannot be handed on is refused at once.
    broker = PikaBroker(
        settings.amqp_url.get_secret_value(), timeout_seconds=settings.server_timeout_seconds, patience_seconds=0
    )
    outbox = Outbox(services.database, broker, lane_runs=settings.lane_runs)
    live = Live(services)
    streams = Streams(services, live)
    routes: list[BaseRoute] = [*oidc_routes(settings, services)]
    shares = Shares(settings.requests_at_once)
    put_back = partial(letters.put_back, broker)
    calls = [Served(e.method, e.path, serve(e, services, shares, outbox.send_now, put_back)) for e in ENDPOINTS]
    calls += [Served(form.method, form.path, serve_form(form, services)) for form in FORMS]
    open_ones = stream_routes(streams)
    # What is not there is said to be so: a redirect would only move the fault, and a token in the query with it.
    calls_app = Router([*by_path(calls), *open_ones], redirect_slashes=False)
    routes += [Mount(prefix, app=calls_app) for prefix in PREFIXES]
    routes += unprefixed(settings, Health(services, broker), Webhook(settings, broker))
    # The source documents' clients open their WebSockets at the root.
    routes += [route for route in open_ones if isinstance(route, WebSocketRoute)]

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        _ = services.presigner  # it says now, and not at the first upload, if its key can do more than upload
        broker.start()
        # The first search should not wait for the model.
        await run_in_threadpool(services.embedder.embed_query, "warm up")
        # What is loaded by now stays: a full collection need not look through it, which takes a third of a second.
        gc.collect()
        gc.freeze()
        async with live.running(), streams.running():
            log.info("api.started")
            yield
        shares.close()
        await run_in_threadpool(broker.close)
        await run_in_threadpool(services.close)

    app = Starlette(
        routes=routes,
        lifespan=lifespan,
        middleware=around(settings),
        exception_handlers={HTTPException: http_error},  # type: ignore[dict-item]
    )
    app.router.redirect_slashes = False
    return app


def stream_routes(streams: Streams) -> list[Route | WebSocketRoute]:
    made: list[Route | WebSocketRoute] = []
    for one in STREAMS:
        handler = one.handler(streams, one.rule)
        if one.method == "WS":
            made.append(WebSocketRoute(one.path, handler))
        else:
            route = Route(one.path, handler, methods=[one.method])
            route.methods = {one.method}  # a stream has no end at which HEAD could be answered
            made.append(route)
    return made
