"""Who waits for whom, and how a refusal reaches a client that is still sending."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

from starlette.responses import Response

from router.web.lingering import LingeringResponse
from router.web.shares import Shares
from tests.processes import wait_until


def test_who_asks_for_much_waits_in_a_line_of_their_own() -> None:
    begun: list[str] = []
    go_on = threading.Event()

    def answer(who: str) -> None:
        begun.append(who)
        assert go_on.wait(10)

    async def run() -> None:
        shares = Shares(2)
        asked = [asyncio.create_task(shares.run(who, answer, who)) for who in ("anna", "anna", "anna", "otto")]
        await asyncio.to_thread(wait_until, lambda: "otto" in begun and len(begun) == 3, seconds=10, what="all begun")
        go_on.set()
        await asyncio.gather(*asked)
        assert not shares._lines
        shares.close()

    asyncio.run(run())
    assert sorted(begun) == ["anna", "anna", "anna", "otto"]


def test_a_refusal_is_sent_whole_before_the_rest_of_the_body_is_passed_over() -> None:
    order: list[str] = []
    rest = iter([{"type": "http.request", "body": b"x", "more_body": more} for more in (True, True, False)])

    async def receive() -> Any:
        order.append("received")
        return next(rest)

    async def send(message: Any) -> None:
        order.append(f"{message['type']} {message.get('body', b'').decode()} {message.get('more_body', False)}")

    async def run() -> None:
        refusal = LingeringResponse(Response("no", 401, {"Connection": "close"}))
        await refusal({"type": "http"}, receive, send)

    asyncio.run(run())
    assert order == [
        "http.response.start  False",
        "http.response.body no True",
        *["received"] * 3,
        "http.response.body  False",
    ]


def test_who_sends_nothing_more_is_not_waited_for_long(monkeypatch: Any) -> None:
    monkeypatch.setattr("router.web.lingering._SECONDS", 0.01)
    sent: list[Any] = []

    async def receive() -> Any:
        await asyncio.Event().wait()

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(LingeringResponse(Response("no"))({"type": "http"}, receive, send))
    assert sent[-1] == {"type": "http.response.body", "body": b""}
