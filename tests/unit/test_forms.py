"""The endpoint that hands a form's file on while it comes, over an upload that is made up: no server is needed."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Route

from common.errors import TooMany, Unavailable
from common.http import Call, Reply
from common.principal import Principal
from common.services import Services
from common.settings import Settings
from router.web.endpoints import Form
from router.web.forms import Slots, serve_form
from router.web.rules import WRITES
from tests.unit.forms import KIND, file, form, part

PART_BYTES = 100


@dataclass
class Taken:
    """What one upload was told, in order."""

    log: list[Any] = field(default_factory=list)
    written: int = 0
    fails: Callable[[str], None] = lambda _: None

    def begin(self, filename: str, content_type: str, fields: Mapping[str, str]) -> int:
        self.log.append(("begin", filename, content_type, dict(fields)))
        self.fails("begin")
        return PART_BYTES

    def write(self, part: bytes) -> None:
        assert len(part) == PART_BYTES
        self.log.append("write")
        self.fails("write")
        self.written += 1

    def finish(self, rest: bytes, fields: Mapping[str, str]) -> Reply[dict[str, int]]:
        self.log.append(("finish", len(rest), dict(fields)))
        self.fails("finish")
        return Reply({"parts": self.written})

    def abort(self) -> None:
        self.log.append("abort")
        self.fails("abort")


class Endpoint:
    def __init__(self, monkeypatch: pytest.MonkeyPatch, **settings: Any) -> None:
        monkeypatch.setattr("router.web.forms.admit", lambda *_: Principal("me", is_admin=False))
        self.taken: list[Taken] = []
        self.fails: Callable[[str], None] = lambda _: None
        self.settings = Settings.model_validate({"max_document_bytes": 10_000, "max_request_bytes": 1_000} | settings)
        services = cast("Services", SimpleNamespace(settings=self.settings))
        line = Form("POST", "/upload", cast("Any", self._begun), WRITES, 201)
        self.app = Starlette(routes=[Route("/upload", serve_form(line, services), methods=["POST"])])

    def _begun(self, _: Call) -> Taken:
        self.taken.append(Taken(fails=lambda what: self.fails(what)))
        return self.taken[-1]

    async def post(self, body: bytes | AsyncIterator[bytes]) -> httpx.Response:
        headers = {"Content-Type": KIND, "X-API-Key": "key"}
        async with httpx.AsyncClient(transport=httpx.ASGITransport(self.app), base_url="http://api") as http:
            return await http.post("/upload", content=body, headers=headers)

    def send(self, body: bytes | AsyncIterator[bytes]) -> httpx.Response:
        return asyncio.run(self.post(body))

    @property
    def log(self) -> list[Any]:
        (one,) = self.taken
        return one.log


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Endpoint:
    return Endpoint(monkeypatch)


def test_parts_go_on_as_they_are_full_and_the_rest_with_all_fields_at_the_end(endpoint: Endpoint) -> None:
    body = form(part('name="a"', b"1"), part('name="file"; filename="f.pdf"', bytes(250)), part('name="b"', b"2"))
    answer = endpoint.send(body)
    assert (answer.status_code, answer.json()) == (201, {"parts": 2})
    begin = ("begin", "f.pdf", "", {"a": "1", "b": "2"})  # the body came in one piece
    assert endpoint.log == [begin, "write", "write", ("finish", 50, {"a": "1", "b": "2"})]


@pytest.mark.parametrize("where", ["begin", "write", "finish"])
def test_a_store_that_fails_is_told_and_nothing_stays(endpoint: Endpoint, where: str) -> None:
    def fails(what: str) -> None:
        if what in (where, "abort"):
            raise Unavailable("secret.host is away", server="store")

    endpoint.fails = fails
    answer = endpoint.send(form(file(bytes(250))))
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "UNAVAILABLE")
    assert "secret" not in answer.text
    assert endpoint.log[-1] == "abort"
    assert answer.headers["connection"] == "close"


async def pieces(*given: bytes | BaseException) -> AsyncIterator[bytes]:
    for piece in given:
        if isinstance(piece, BaseException):
            raise piece
        yield piece


def test_a_file_is_cut_off_when_it_passes_its_limit_though_no_length_was_told(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("router.web.lingering._BYTES", 0)
    read_on: list[int] = []

    async def endless() -> AsyncIterator[bytes]:
        yield file()[:-7]
        for number in range(1000):
            read_on.append(number)
            yield bytes(500)

    answer = endpoint.send(endless())
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "TOO_LARGE")
    assert endpoint.log[-1] == "abort"
    assert len(read_on) < 25


def test_what_follows_the_form_is_not_read_for_ever(endpoint: Endpoint) -> None:
    async def endless() -> AsyncIterator[bytes]:
        yield form(file())
        while True:
            yield bytes(500)

    assert endpoint.send(endless()).status_code == 413
    assert endpoint.log[-1] == "abort"


def test_a_length_that_is_too_large_is_refused_before_anything_is_read(endpoint: Endpoint) -> None:
    assert endpoint.send(form(file(bytes(11_000)))).status_code == 413
    assert endpoint.taken == []


async def call(endpoint: Endpoint, receive: Callable[[], Any]) -> list[Any]:
    """The application itself, so that a test decides when what comes."""
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(b"content-type", KIND.encode()), (b"x-api-key", b"key")]
    scope = {"type": "http", "method": "POST", "path": "/upload", "query_string": b"", "headers": headers}
    await endpoint.app(scope | {"path_params": {}, "root_path": ""}, receive, send)
    return sent


def arriving(endpoint: Endpoint, *messages: Any) -> list[Any]:
    left = [
        {"type": "http.request", "body": one, "more_body": True} if isinstance(one, bytes) else one for one in messages
    ]

    async def receive() -> Any:
        return left.pop(0) if left else await asyncio.Event().wait()

    return asyncio.run(call(endpoint, receive))


def test_a_client_that_goes_away_leaves_nothing(endpoint: Endpoint) -> None:
    arriving(endpoint, file(bytes(250)), {"type": "http.disconnect"})
    assert endpoint.log[1:] == ["write", "write", "abort"]


@pytest.mark.parametrize("limit", ["streamed_stall_seconds", "upload_url_seconds"])
def test_a_body_that_stops_coming_is_given_up(monkeypatch: pytest.MonkeyPatch, limit: str) -> None:
    endpoint = Endpoint(monkeypatch)
    endpoint.settings.__dict__[limit] = 0.05
    sent = arriving(endpoint, file(bytes(250)))
    assert (sent[0]["status"], b"REQUEST_TIMEOUT" in sent[1]["body"]) == (408, True)
    assert endpoint.log[-1] == "abort"


def test_an_upload_that_is_cancelled_waits_for_its_part_and_leaves_nothing(endpoint: Endpoint) -> None:
    writing, go_on = threading.Event(), threading.Event()

    def fails(what: str) -> None:
        if what == "write":
            writing.set()
            assert go_on.wait(10)

    endpoint.fails = fails

    async def run() -> None:
        async def receive() -> Any:
            return {"type": "http.request", "body": file(bytes(250)), "more_body": True}

        task = asyncio.create_task(call(endpoint, receive))
        assert await asyncio.to_thread(writing.wait, 10)
        task.cancel()
        done, _ = await asyncio.wait([task], timeout=0.2)  # what is wrong would be done at once
        assert not done
        go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(run())
    assert endpoint.log[-1] == "abort"
    assert endpoint.taken[0].written == 1


def test_more_uploads_than_may_pass_at_once_are_told_to_come_again(monkeypatch: pytest.MonkeyPatch) -> None:
    endpoint = Endpoint(monkeypatch, streamed_uploads=1)

    async def run() -> tuple[httpx.Response, httpx.Response, httpx.Response]:
        begun, go_on = asyncio.Event(), asyncio.Event()

        async def slow() -> AsyncIterator[bytes]:
            yield file()[:-7]
            begun.set()
            await go_on.wait()
            yield b"\r\n--x-x--\r\n"

        first = asyncio.create_task(endpoint.post(slow()))
        await begun.wait()
        second = await endpoint.post(form(file()))
        go_on.set()
        return await first, second, await endpoint.post(form(file()))

    first, second, third = asyncio.run(run())
    assert (first.status_code, second.status_code, third.status_code) == (201, 429, 201)
    assert second.headers["retry-after"] == "5"


def test_one_user_cannot_have_all_the_places() -> None:
    slots = Slots(4)
    with slots.one("eve"), slots.one("eve"):
        with pytest.raises(TooMany, match="of yours"), slots.one("eve"):
            pass
        with slots.one("ann"), slots.one("bob"), pytest.raises(TooMany, match="4 uploads"), slots.one("zoe"):
            pass
    with slots.one("eve"):
        pass
