"""A line of the endpoint table as Starlette calls it: body read up to its limit, caller known, rule checked, shapes
decoded, and the handler called, in a thread."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from common.errors import BrigadeError, RequestError, RequestTimedOut, TooLarge, UnsupportedMedia
from common.http import Call, Reply, Send, decode_body, decode_query
from common.principal import Principal
from common.redriving import PutBack
from common.services import Services
from router.table import PIPELINES
from router.web.admission import admit
from router.web.contract import contract_of
from router.web.credentials import address_of, credential
from router.web.endpoints import Endpoint
from router.web.replies import error_reply, response
from router.web.shares import Shares


def serve(
    endpoint: Endpoint, services: Services, shares: Shares, send: Send, put_back: PutBack
) -> Callable[[Request], Any]:
    settings = services.settings
    contract = contract_of(endpoint.handler)
    limit = settings.max_batch_bytes if endpoint.batch else settings.max_request_bytes

    async def answer(request: Request) -> Response:
        try:
            key = "" if endpoint.rule.scope is None else credential(request.headers)
            # Much is read only for who may send it.
            caller = await shares.run(key, let_in, request, key) if endpoint.batch else None
            body = await read_body(request, limit, settings.request_seconds)
            reply = await shares.run(key, call, request, caller, key, body)
        except BrigadeError as error:
            reply = error_reply(error)
        return response(reply, request.method, endpoint.path, endpoint.status)

    def let_in(request: Request, key: str) -> Principal:
        return admit(services, endpoint.rule, key, request.path_params, address_of(request))

    def call(request: Request, caller: Principal | None, key: str, body: bytes) -> Reply[Any]:
        caller = caller or let_in(request, key)
        taken: dict[str, Any] = {}
        if contract.body is not None:
            demand_json(request.headers)
            taken["body"] = decode_body(body or b"{}", contract.body)  # some calls ask for nothing that must be told
        if contract.query is not None:
            taken["query"] = decode_query(request.query_params.multi_items(), contract.query)
        made = endpoint.handler(
            Call(services, PIPELINES, caller, request.path_params, address_of(request), send, put_back), **taken
        )
        return made if isinstance(made, Reply) else Reply(made)

    return answer


def demand_json(headers: Mapping[str, str]) -> None:
    kind = headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    if kind != "application/json" and not kind.endswith("+json"):
        raise UnsupportedMedia


async def read_body(request: Request, limit: int, seconds: float) -> bytes:
    """The body, cut off with `TooLarge` as soon as it passes `limit` bytes, and with `RequestTimedOut` in time."""
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > limit:
        raise TooLarge(f"The body is larger than {limit:,} bytes.")
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(seconds):
            async for part in request.stream():
                size += len(part)
                if size > limit:
                    raise TooLarge(f"The body is larger than {limit:,} bytes.")
                parts.append(part)
    except TimeoutError:
        raise RequestTimedOut(f"The request's body did not come within {seconds:g} s.") from None
    except ClientDisconnect:
        raise RequestError("The client went away.", code="CLIENT_GONE") from None
    return b"".join(parts)
