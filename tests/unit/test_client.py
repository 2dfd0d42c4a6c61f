from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from common.errors import Unavailable
from deploy.client import ApiError, Client, UploadRefused
from tests.unit.fake_api import HIT, KEY, FakeApi, fake_api


@pytest.fixture
def api() -> Iterator[FakeApi]:
    with fake_api() as api:
        yield api


@pytest.fixture
def client(api: FakeApi) -> Iterator[Client]:
    with Client(api.url, KEY) as client:
        yield client


def answered_by(answer: Callable[[httpx.Request], httpx.Response]) -> Client:
    return Client("http://example.test", KEY, transport=httpx.MockTransport(answer))


def test_a_file_arrives_whole_and_is_told_of_piece_by_piece(api: FakeApi, client: Client, tmp_path: Path) -> None:
    content = bytes(range(256)) * 4096
    path = tmp_path / "水 桶.pdf"
    path.write_bytes(content)
    pieces: list[int] = []
    ticket = client.upload(path, on_bytes=pieces.append)
    assert api.stored[ticket.document_id] == content
    assert api.names[ticket.document_id] == "水 桶.pdf"
    assert sum(pieces) == len(content)
    assert len(pieces) == 4


def test_the_store_gets_the_signed_headers_and_not_our_key(api: FakeApi, client: Client) -> None:
    client.upload_bytes("a.pdf", b"four")
    (headers,) = api.store_headers
    assert headers["content-type"] == "application/pdf"
    assert headers["content-length"] == "4"
    assert headers["x-amz-meta-task"] == "t"
    assert "transfer-encoding" not in headers
    assert "authorization" not in headers


def test_what_the_store_refuses_is_an_error_with_its_reason_and_without_the_signature(
    api: FakeApi, client: Client
) -> None:
    api.refused = frozenset({"a.pdf"})
    with pytest.raises(UploadRefused, match="403 AccessDenied: Signature does not match") as caught:
        client.upload_bytes("a.pdf", b"four")
    assert "secret" not in caught.value.message


def test_an_error_of_the_api_keeps_its_code_and_its_sentence(client: Client) -> None:
    with pytest.raises(ApiError, match="There is no task nowhere") as caught:
        client.task("nowhere")
    assert (caught.value.status, caught.value.code) == (404, "NOT_FOUND")


def test_passages_are_read_on_over_pages_until_there_are_no_more() -> None:
    asked: list[dict[str, Any]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(json.loads(request.content))
        page = len(asked)
        hits = [{**HIT, "chunk": page * 2 + one} for one in range(2)]
        return httpx.Response(200, json={"hits": hits, "took_ms": 1, "next_cursor": None if page == 3 else f"c{page}"})

    with answered_by(answer) as client:
        passages = client.passages("水", top_k=2, knowledge_base="manuals", documents=["d"])
        assert next(passages).chunk == 2
        assert len(asked) == 1
        assert [one.chunk for one in passages] == [3, 4, 5, 6, 7]
    first = {"query": "水", "top_k": 2, "knowledge_base_ids": ["manuals"], "document_ids": ["d"]}
    assert asked == [first, {**first, "cursor": "c1"}, {**first, "cursor": "c2"}]


def test_a_wrong_key_is_said(api: FakeApi) -> None:
    with Client(api.url, "wrong") as client, pytest.raises(ApiError, match="Send an API key"):
        client.search("x")


def test_nobody_there_is_said_with_the_address() -> None:
    with Client("http://127.0.0.1:1", KEY) as client, pytest.raises(Unavailable, match=r"http://127.0.0.1:1"):
        client.task("t")


def test_an_answer_of_another_program_is_an_error_and_no_crash() -> None:
    with (
        answered_by(lambda _: httpx.Response(200, html="<h1>It works!</h1>")) as client,
        pytest.raises(ApiError, match="answered what"),
    ):
        client.task("t")


def test_an_error_page_of_a_proxy_is_an_error_with_its_status() -> None:
    with (
        answered_by(lambda _: httpx.Response(502, html="<h1>Bad gateway</h1>")) as client,
        pytest.raises(ApiError, match="502"),
    ):
        client.task("t")


def test_watching_ends_when_every_task_has_ended(api: FakeApi, client: Client) -> None:
    api.looks = 3
    tasks = [client.upload_bytes(f"{n}.txt", b"x").task_id for n in range(20)]
    seen = list(client.watch(*tasks))
    assert {task.task_id for task in seen if task.ended} == set(tasks)
    assert len(seen) == 3 * len(tasks)


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Pauses between attempts take no time here; what they would be."""
    pauses: list[float] = []
    monkeypatch.setattr("deploy.client.transport.time.sleep", pauses.append)
    return pauses


def update(number: int, status: str) -> str:
    task = {
        "task_id": "t",
        "document_id": "d",
        "type": "DOCUMENT_UPLOAD",
        "status": status,
        "overall_progress": 46,
        "error_message": "a\u2028b\x85c",
        "task_details": [],
    }
    return f"event: task_update\r\nid: {number}\r\ndata: {json.dumps(task, ensure_ascii=False)}\r\n\r\n"


def test_a_live_stream_goes_on_after_a_restart_where_it_was(hurried: list[float]) -> None:
    asked: list[str | None] = []
    answers: list[httpx.Response | Exception] = [
        httpx.Response(200, text=update(1, "PENDING") + ": ping\r\n\r\n" + update(2, "RUNNING")),
        httpx.ConnectError("refused"),
        httpx.Response(503, headers={"Retry-After": "7"}, json={}),
        httpx.Response(200, text=update(3, "COMPLETED")),
    ]

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.headers.get("last-event-id"))
        response = answers.pop(0)
        if isinstance(response, Exception):
            raise response
        return response

    with answered_by(answer) as client:
        seen = list(client.watch("t"))
    assert [task.status for task in seen] == ["PENDING", "RUNNING", "COMPLETED"]
    assert seen[0].error_message == "a\u2028b\x85c"
    assert asked == [None, "2", "2", "2"]
    assert 7.0 in hurried


def test_a_live_stream_that_is_refused_is_an_error() -> None:
    body = {"error": {"code": "FORBIDDEN", "message": "Not yours.", "details": {}}}
    with answered_by(lambda _: httpx.Response(403, json=body)) as client, pytest.raises(ApiError, match="Not yours"):
        next(client.watch("t"))


def test_polling_outlives_an_api_that_restarts(api: FakeApi, hurried: list[float]) -> None:
    task_id = str(api.announce({"filename": "a.txt", "content_type": "text/plain", "size": 1})[1]["task_id"])
    refused = iter([False, True, False])

    def answer(_: httpx.Request) -> httpx.Response:
        if next(refused):
            raise httpx.ConnectError("refused")
        status, body = api.task(task_id)
        return httpx.Response(status, json=body)

    with answered_by(answer) as client:
        assert [task.status for task in client.tasks.poll(task_id)] == ["RUNNING", "COMPLETED"]


@pytest.mark.parametrize(
    ("method", "status", "tries"), [("GET", 429, 2), ("GET", 503, 2), ("POST", 429, 2), ("POST", 503, 1)]
)
def test_what_the_api_puts_off_is_tried_again_when_it_says_where_that_is_safe(
    hurried: list[float], method: str, status: int, tries: int
) -> None:
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.method)
        body = {"error": {"code": "LATER", "message": "Later.", "details": {"n": 1}}}
        return httpx.Response(status if len(asked) == 1 else 404, headers={"Retry-After": "3"}, json=body)

    with answered_by(answer) as client, pytest.raises(ApiError) as caught:
        client.task("t") if method == "GET" else client.tasks.retry("t")
    assert len(asked) == tries
    assert hurried == [3.0] * (tries - 1)
    assert (caught.value.code, caught.value.message, caught.value.details) == ("LATER", "Later.", {"n": 1})


def test_who_is_to_come_back_in_an_hour_is_told_at_once(hurried: list[float]) -> None:
    response = httpx.Response(429, headers={"Retry-After": "3600"}, json={})
    with answered_by(lambda _: response) as client, pytest.raises(ApiError, match="429"):
        client.task("t")
    assert hurried == []


def test_a_proxy_of_the_environment_is_not_used_for_this_machine(api: FakeApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.delenv("NO_PROXY", raising=False)
    with Client(api.url, KEY) as client:
        assert client.readiness().ready
