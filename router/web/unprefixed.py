"""What is under no prefix: the index, health, metrics, the store's webhook, and the description of all the rest."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import msgspec
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from common.errors import BrigadeError
from common.http import Reply
from common.settings import Settings
from router.health import Health, Readiness
from router.web.docs import docs
from router.web.endpoints import ENDPOINTS, FORMS, STREAMS
from router.web.openapi import describe
from router.web.operations import Operation, of_forms, of_streams, of_table
from router.web.replies import error_reply, response
from router.web.routes import Served, by_path
from router.web.serve import read_body
from router.webhook import Receipt, Webhook

# Threads that searches, which may all wait for Milvus, cannot take: a store that waits for its webhook keeps its
# events in memory.
_WEBHOOK_THREADS = 8
_HEALTH_THREADS = 4

# The description changes with the version only.
_CACHED = {"Cache-Control": "public, max-age=300"}

Answer = Callable[[Request], Awaitable[Response]]


class Alive(msgspec.Struct, frozen=True):
    status: str = "ok"


OPERATIONS = (
    Operation("GET", "/healthz", "healthz", "Operation", "Whether this process lives", answer=Alive),
    Operation(
        "GET",
        "/readyz",
        "readyz",
        "Operation",
        "Whether all that this process needs answers, naming what does not",
        answer=Readiness,
        other={503: ("application/json", Readiness)},
    ),
    Operation(
        "GET",
        "/metrics",
        "metrics",
        "Operation",
        "Metrics, as Prometheus reads them",
        answer=str,
        answer_type="text/plain",
    ),
    Operation(
        "POST",
        "/events/s3",
        "receive_notification",
        "Operation",
        "A notification of the object store: 2xx once it is safely in RabbitMQ",
        "The body is the store's own. One that can never be understood is answered 200 too, and kept with its reason.",
        scheme=("events",),
        body=dict[str, Any],
        answer=Receipt,
        refusals=(401, 408, 413, 503),
    ),
)


def description() -> dict[str, Any]:
    """/openapi.json, as plain values. Calls are described under /v1, by which newer clients know them."""
    calls = [*of_table(ENDPOINTS, "/v1"), *of_forms(FORMS, "/v1"), *of_streams(STREAMS, "/v1")]
    return describe([*calls, *OPERATIONS])


def unprefixed(settings: Settings, health: Health, webhook: Webhook) -> list[Route]:
    calls = [
        Served("GET", "/", _fixed("/", msgspec.json.encode(_INDEX))),
        Served("GET", "/openapi.json", _fixed("/openapi.json", msgspec.json.encode(description()))),
        Served("GET", "/healthz", _healthz),
        Served("GET", "/readyz", _ready(health)),
        Served("GET", "/metrics", _metrics),
        Served("POST", "/events/s3", _receive(webhook, settings)),
        *docs(),
    ]
    return by_path(calls)


_INDEX = {
    "name": "Bucket Brigade",
    "api": "/v1",
    "description": "/openapi.json",
    "docs": "/docs",
    "endpoints": [f"{one.method} /v1{one.path}" for one in (*ENDPOINTS, *FORMS, *STREAMS)],
    "health": ["/healthz", "/readyz", "/metrics"],
}


def _fixed(path: str, body: bytes) -> Answer:
    async def answer(request: Request) -> Response:
        return response(Reply(msgspec.Raw(body), 200, _CACHED), request.method, path)

    return answer


async def _healthz(request: Request) -> Response:
    return response(Reply(Alive()), request.method, "/healthz")


def _ready(health: Health) -> Answer:
    threads = anyio.CapacityLimiter(_HEALTH_THREADS)

    async def ready(request: Request) -> Response:
        return response(await anyio.to_thread.run_sync(health.ready, limiter=threads), request.method, "/readyz")

    return ready


def _receive(webhook: Webhook, settings: Settings) -> Answer:
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


async def _metrics(_request: Request) -> Response:
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)
