"""The API's answers to what goes wrong: at the client, and behind. No server is needed: those behind are made up."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Annotated, Any, cast

import anyio.to_thread
import grpc
import httpx
import msgspec
import pytest
from prometheus_client import generate_latest
from pymilvus import MilvusException

from common.errors import BrigadeError, ConfigurationError, RequestError, Unavailable
from common.http import Call, decode_body, decode_query
from common.index.server import Server
from common.limits import Limits
from common.principal import Principal
from common.services import Services
from common.settings import Settings
from functions.http.search import SearchRequest
from functions.http.upload_requests import UploadRequest
from functions.http.uploads import create_upload
from router import app as api
from router.broker import PikaBroker
from router.health import Health

KEY = {"X-API-Key": "k" * 40}


def call() -> Call:
    services = cast("Services", SimpleNamespace(settings=Settings()))
    return Call(services, {}, Principal("admin", is_admin=True))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b'{"query": "\xff"}',
        b'{"query": "a", "x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        rb'{"query": "a\u0000b"}',
        rb'{"query": "a\\\u0000b"}',
        rb'{"query": "\ud800"}',
        rb'{"query": "\udc00"}',
        b'{"query": "\xed\xa0\x80"}',
        b'{"query": "a", "top_k": 1e99}',
        rb'{"query": "a", "document_ids": ["a\n"]}',
    ],
)
def test_a_body_that_nothing_can_take_is_the_clients_fault(body: bytes) -> None:
    with pytest.raises(RequestError) as caught:
        decode_body(body, SearchRequest)
    assert caught.value.code == "INVALID_BODY"


def test_an_escaped_backslash_makes_no_nul() -> None:
    assert decode_body(rb'{"query": "a\\u0000b"}', SearchRequest).query == r"a\u0000b"


@pytest.mark.parametrize("kind", [rb"text/plain\n", "文/文".encode()])
def test_a_content_type_is_what_a_header_can_hold(kind: bytes) -> None:
    with pytest.raises(RequestError):
        decode_body(b'{"filename": "a", "size": 1, "content_type": "' + kind + b'"}', UploadRequest)


@pytest.mark.parametrize("levels", [40, 500, 990, 5000])
def test_metadata_nested_deep_is_refused(levels: int) -> None:
    body = b'{"filename": "a", "size": 1, "metadata": {"a": ' + b"[" * levels + b"]" * levels + b"}}"
    with pytest.raises(RequestError) as caught:
        create_upload(call(), decode_body(body, UploadRequest))
    assert caught.value.code == "INVALID_BODY"


class Behind:
    """What stands behind the API: each part does as it is told."""

    def __init__(self) -> None:
        self.settings = Settings()
        self.database = self
        self.limits = Limits(self.settings)
        self.authenticator = SimpleNamespace(principal=lambda _: Principal("admin", is_admin=True))
        self.index = SimpleNamespace(search=self.search, wants_previous=False)
        self.embedder = SimpleNamespace(embed_query=lambda _: None)
        self.down: Exception | None = None
        self.search_fails: Exception = AssertionError("not asked for")

    @contextmanager
    def transaction(self) -> Iterator[Any]:
        if self.down:
            raise self.down
        yield None

    def search(self, *_: Any, **__: Any) -> Any:
        raise self.search_fails


@pytest.fixture
def behind(monkeypatch: pytest.MonkeyPatch) -> Behind:
    made = Behind()
    monkeypatch.setattr(api, "Services", lambda _: made)
    monkeypatch.setattr("common.access.visible_bases", lambda *_: ["default"])
    monkeypatch.setattr("common.access.demand", lambda *_, **__: None)
    monkeypatch.setattr("common.shown.showing", lambda *_: {})
    return made


def client() -> httpx.AsyncClient:
    transport = httpx.ASGITransport(api.create_app(Settings()), raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://api", headers=KEY)


def ask(method: str, path: str, **options: Any) -> httpx.Response:
    async def one() -> httpx.Response:
        async with client() as http:
            return await http.request(method, path, **options)

    return asyncio.run(one())


@pytest.mark.usefixtures("behind")
@pytest.mark.parametrize("path", ["/v1/tasks/a%00b", "/v1/tasks/%00/status", "/api/documents/%00"])
def test_an_id_with_a_nul_names_nothing(path: str) -> None:
    answer = ask("GET", path)
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "NOT_FOUND")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Unavailable("Milvus at secret.host did not answer", server="milvus"), "UNAVAILABLE"),
        (ConfigurationError("Milvus at secret.host refuses"), "CONFIGURATION"),
    ],
)
def test_a_server_that_is_away_is_told_as_503_and_no_more(behind: Behind, error: BrigadeError, code: str) -> None:
    behind.search_fails = error
    answer = ask("POST", "/v1/search", json={"query": "a"})
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert answer.json()["error"]["code"] == code
    assert "secret" not in answer.text


@pytest.mark.parametrize("path", ["/v1/tasks/a", "/v1/documents/a"])
def test_postgres_away_is_503_everywhere(behind: Behind, path: str) -> None:
    behind.down = Unavailable("connection to secret.host failed", server="postgres")
    answer = ask("GET", path)
    assert answer.status_code == 503
    assert answer.json()["error"]["details"] == {"server": "postgres"}
    assert "secret" not in answer.text


def test_a_fault_of_ours_is_told_in_the_one_shape_without_its_trace(behind: Behind) -> None:
    behind.search_fails = KeyError("secret")
    answer = ask("POST", "/v1/search", json={"query": "a"})
    assert answer.status_code == 500
    assert set(answer.json()["error"]) == {"code", "message", "timestamp", "details"}
    assert "secret" not in answer.text


@pytest.mark.usefixtures("behind")
def test_methods_that_clients_make_up_make_no_metrics() -> None:
    assert ask("BREW", "/nowhere", headers={"Host": "["}).status_code == 404
    metrics = generate_latest().decode()
    assert "BREW" not in metrics
    assert 'method="OTHER"' in metrics


@pytest.mark.usefixtures("behind")
def test_the_webhook_answers_while_every_other_thread_waits() -> None:
    release = threading.Event()

    async def wait() -> None:
        await anyio.to_thread.run_sync(release.wait)

    async def run() -> list[int]:
        answers: list[httpx.Response] = []
        limiter = anyio.to_thread.current_default_thread_limiter()
        async with client() as http, anyio.create_task_group() as group:
            for _ in range(int(limiter.total_tokens)):
                group.start_soon(wait)
            await anyio.wait_all_tasks_blocked()
            assert limiter.available_tokens == 0
            try:
                with anyio.fail_after(10):
                    answers = [await http.post("/events/s3", content=b"{}"), await http.get("/healthz")]
            finally:
                release.set()
        return [answer.status_code for answer in answers]

    assert anyio.run(run) == [401, 200]


def test_readiness_names_what_is_wrong_and_tells_nobody_why() -> None:
    def fails(error: Exception) -> Any:
        def ping() -> None:
            raise error

        return SimpleNamespace(ping=ping)

    services = SimpleNamespace(
        database=fails(Unavailable("user brigade at secret.host")),
        objects=SimpleNamespace(ping=lambda: None),
        index=fails(MilvusException(message="secret")),
    )
    broker = SimpleNamespace(wait_connected=lambda _: False)
    reply = Health(cast("Services", services), cast("PikaBroker", broker)).ready()
    assert reply.status == 503
    assert reply.body.status == "not ready"
    assert reply.body.checks == {
        "postgres": "does not answer",
        "rabbitmq": "does not answer",
        "store": "ok",
        "milvus": "refuses",
    }


class Refusal(grpc.RpcError):  # type: ignore[misc]
    def __init__(self, code: grpc.StatusCode, details: str) -> None:
        self.code, self.details = lambda: code, lambda: details


@pytest.mark.parametrize(
    ("raised", "becomes"),
    [
        (Refusal(grpc.StatusCode.UNAVAILABLE, ""), Unavailable),
        (Refusal(grpc.StatusCode.UNAVAILABLE, "\n"), Unavailable),
        (Refusal(grpc.StatusCode.UNAUTHENTICATED, ""), ConfigurationError),
        (MilvusException(grpc.StatusCode.UNAVAILABLE, ""), Unavailable),
        (MilvusException(grpc.StatusCode.UNAUTHENTICATED, ""), ConfigurationError),
        (MilvusException(1, "[search] Retry timeout: 10s"), Unavailable),
        (MilvusException(100, "collection not found[collection=chunks]"), ConfigurationError),
        (MilvusException(1100, "bad filter"), MilvusException),
    ],
)
def test_what_milvus_says_becomes_what_it_means(
    monkeypatch: pytest.MonkeyPatch, raised: Exception, becomes: type[Exception]
) -> None:
    def search(**_: Any) -> None:
        raise raised

    server = Server(Settings(milvus_uri="http://root:secret@127.0.0.1:1"))
    monkeypatch.setattr(server, "_client", SimpleNamespace(search=search))
    with pytest.raises(becomes) as caught:
        server.call("search")
    assert "secret" not in str(caught.value)


def test_an_address_that_is_none_is_not_told_with_its_password() -> None:
    with pytest.raises(ConfigurationError) as caught:
        Server(Settings(milvus_uri="root:secret@nowhere")).call("search")
    assert "secret" not in str(caught.value)


def test_who_waits_for_another_to_connect_waits_one_timeout() -> None:
    server = Server(Settings(server_timeout_seconds=0.01))
    with server._connecting, pytest.raises(Unavailable, match="still connecting"):
        server.call("search")


class _Query(msgspec.Struct):
    text: str | None = None
    number: float = 0
    at: Annotated[datetime, msgspec.Meta(tz=True)] | None = None


@pytest.mark.parametrize(
    "query",
    [
        {"number": "NaN"},
        {"number": "inf"},
        {"number": "null"},
        {"at": "null"},
        {"at": "0.5"},
        {"at": "0001-01-01T00:00:00+10:00"},
        {"at": "2026-11-22T12:00:00"},
        {"text": "a\0"},
        {"unknown": "1"},
    ],
)
def test_a_query_holds_what_was_asked_for_and_nothing_like_it(query: dict[str, str]) -> None:
    with pytest.raises(RequestError) as caught:
        decode_query(list(query.items()), _Query)
    assert caught.value.code == "INVALID_QUERY"


def test_a_parameter_given_twice_is_refused() -> None:
    with pytest.raises(RequestError, match="more than once"):
        decode_query([("text", "a"), ("text", "b")], _Query)


def test_a_text_may_be_any_and_a_time_is_told_in_utc() -> None:
    query = decode_query([("text", "null"), ("at", "2026-11-22T12:00:00-17:05")], _Query)
    assert query == _Query(text="null", at=datetime(2026, 11, 23, 5, 5, tzinfo=UTC))
