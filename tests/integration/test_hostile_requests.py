"""Requests that mean no good, to every line of the table: each gets a clear error of the one shape, and no 500."""

from __future__ import annotations

import json
import re
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from typing import Any

import httpx
import msgspec
import pytest
from pydantic import SecretStr

from router.web.contract import contract_of
from router.web.endpoints import ENDPOINTS, FORMS, PREFIXES, Endpoint
from tests.integration.system import System
from tests.integration.whole_api import WholeApi

pytestmark = pytest.mark.integration

BODY_BYTES = 64 * 1024
BODY_SECONDS = 0.5

WITH_BODY = [endpoint for endpoint in ENDPOINTS if contract_of(endpoint.handler).body is not None]
WITH_QUERY = [endpoint for endpoint in ENDPOINTS if contract_of(endpoint.handler).query is not None]
WITH_PATH = [endpoint for endpoint in ENDPOINTS if "{" in endpoint.path]


class Api:
    """One API for all of these, with a small appetite."""

    def __init__(self, whole: WholeApi, key: str) -> None:
        self.address = ("127.0.0.1", whole.settings.api_port)
        self.key = key
        self.http = whole.http(key)

    def ask(self, endpoint: Endpoint, path: str | None = None, **options: Any) -> httpx.Response:
        return self.http.request(endpoint.method, path or path_of(endpoint), **options)

    def talk(self, head: str, *bodies: bytes) -> tuple[int, dict[str, Any]]:
        """Send this and no more, and read the answer to its end."""
        with socket.create_connection(self.address, timeout=10) as connection:
            connection.sendall(head.replace("\n", "\r\n").encode("latin-1"))
            for body in bodies:
                connection.sendall(body)
            return answer_on(connection)


@pytest.fixture(scope="module")
def api(system: System) -> Iterator[Api]:
    appetite = {"max_request_bytes": BODY_BYTES, "max_batch_bytes": BODY_BYTES, "request_seconds": BODY_SECONDS}
    with WholeApi(system.settings, requests_per_minute=0, **appetite) as whole:
        made = Api(whole, system.key)
        with closing(made.http):
            yield made


def name(endpoint: Endpoint) -> str:
    return f"{endpoint.method} {endpoint.path}"


def path_of(endpoint: Endpoint, value: str = "no-such-thing") -> str:
    return PREFIXES[0] + re.sub(r"{\w+}", value, endpoint.path)


def answer_on(connection: socket.socket) -> tuple[int, dict[str, Any]]:
    with connection.makefile("rb") as stream:
        status = int(stream.readline().split()[1])
        length = 0
        while line := stream.readline().strip():
            field, _, value = line.partition(b":")
            if field.lower() == b"content-length":
                length = int(value)
        return status, json.loads(stream.read(length))


def refused(answer: httpx.Response | tuple[int, Any], *statuses: int) -> str:
    """The code of the refusal, which must be of the one shape, and tell nothing of the inside."""
    status, body = (answer.status_code, answer.json()) if isinstance(answer, httpx.Response) else answer
    assert status in statuses, body
    assert set(body["error"]) == {"code", "message", "timestamp", "details"}
    assert re.fullmatch(r"[A-Z0-9_]+", body["error"]["code"])
    assert body["error"]["message"]
    assert not re.search(r"Traceback|File \"|psycopg2|sqlalchemy", json.dumps(body))
    return str(body["error"]["code"])


NO_JSON = {
    "nothing": b"",
    "half": b'{"a": ',
    "a list": b"[]",
    "a number": b"1e99999",
    "invalid UTF-8": b'{"a": "\xff\xfe"}',
    "a lone surrogate": rb'{"query": "\ud800", "name": "\ud800", "filename": "\ud800"}',
    "deep": b'{"a":' * 10_000,
    "deep and whole": b"[" * 20_000 + b"]" * 20_000,
}


@pytest.mark.parametrize("endpoint", WITH_BODY, ids=name)
def test_a_body_that_is_none_is_refused(api: Api, endpoint: Endpoint) -> None:
    headers = {"Content-Type": "application/json"}
    for what, body in NO_JSON.items():
        code = refused(api.ask(endpoint, content=body, headers=headers), 400, 404)
        assert code in ("INVALID_BODY", "NOT_FOUND"), what


@pytest.mark.parametrize("endpoint", WITH_BODY, ids=name)
def test_values_of_the_wrong_type_are_refused(api: Api, endpoint: Endpoint) -> None:
    fields = msgspec.structs.fields(contract_of(endpoint.handler).body)
    wrong: tuple[Any, ...] = ({"a": [None]}, [[]], -1.5, 10**400, "\0")
    for value in wrong:
        body = {field.encode_name: value for field in fields}
        content = json.dumps(body).encode()
        refused(api.ask(endpoint, content=content, headers={"Content-Type": "application/json"}), 400, 404)


@pytest.mark.parametrize("endpoint", WITH_BODY, ids=name)
def test_a_field_given_twice_is_no_fault_of_ours(api: Api, endpoint: Endpoint) -> None:
    field = msgspec.structs.fields(contract_of(endpoint.handler).body)[0].encode_name
    content = f'{{"{field}": [], "{field}": {{}}}}'.encode()
    refused(api.ask(endpoint, content=content, headers={"Content-Type": "application/json"}), 400, 404)


@pytest.mark.parametrize("endpoint", WITH_BODY, ids=name)
def test_another_type_of_body_is_refused(api: Api, endpoint: Endpoint) -> None:
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "json", ";"):
        answer = api.ask(endpoint, content=b"{}", headers={"Content-Type": kind})
        assert refused(answer, 415, 404) in ("UNSUPPORTED_MEDIA_TYPE", "NOT_FOUND")


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=name)
def test_a_body_too_large_is_refused_before_it_is_sent(api: Api, endpoint: Endpoint) -> None:
    head = f"{endpoint.method} {path_of(endpoint)} HTTP/1.1\nHost: a\nX-API-Key: {api.key}\n"
    assert refused(api.talk(f"{head}Content-Length: {10**12}\n\n"), 413) == "TOO_LARGE"
    chunk = b"%x\r\n%b\r\n" % (BODY_BYTES + 1, b" " * (BODY_BYTES + 1))
    assert refused(api.talk(f"{head}Transfer-Encoding: chunked\n\n", chunk), 413) == "TOO_LARGE"


@pytest.mark.parametrize("endpoint", WITH_BODY[:1] + WITH_QUERY[:1], ids=name)
def test_a_body_too_slow_is_not_waited_for(api: Api, endpoint: Endpoint) -> None:
    head = f"{endpoint.method} {path_of(endpoint)} HTTP/1.1\nHost: a\nX-API-Key: {api.key}\nContent-Length: 10\n\n"
    began = time.monotonic()
    assert refused(api.talk(head, b"{"), 408) == "REQUEST_TIMEOUT"
    assert time.monotonic() - began < BODY_SECONDS + 5


@pytest.mark.parametrize("endpoint", [endpoint for endpoint in ENDPOINTS if endpoint.batch], ids=name)
def test_a_large_body_is_not_even_read_for_who_is_unknown(api: Api, endpoint: Endpoint) -> None:
    head = f"{endpoint.method} {path_of(endpoint)} HTTP/1.1\nHost: a\nX-API-Key: unknown\nContent-Length: 10\n\n"
    assert refused(api.talk(head), 401) == "UNAUTHENTICATED"


@pytest.mark.parametrize("endpoint", WITH_PATH, ids=name)
def test_an_id_that_names_nothing_is_not_found(api: Api, endpoint: Endpoint) -> None:
    options: dict[str, Any] = {"json": {}} if endpoint in WITH_BODY else {}
    for value in (
        "unknown",
        "%00",
        "a%00b",
        "%0A%0D%1b",
        "..%2f..%2fetc%2fpasswd",
        "%ff%fe",
        "'%20OR%201=1--",
        "x" * 5000,
    ):
        answer = api.ask(endpoint, path_of(endpoint, value), **options)
        refused(answer, 404, 400)


@pytest.mark.parametrize("endpoint", WITH_QUERY, ids=name)
def test_a_query_that_the_call_does_not_take_is_refused(api: Api, endpoint: Endpoint) -> None:
    fields = msgspec.structs.fields(contract_of(endpoint.handler).query)
    for value in ("%00", "%0a", "%ff", "-1", "1e999", "NaN", "null", "9" * 400, "%F0%9F%92%A3" * 500):
        for field in fields:
            answer = api.ask(endpoint, f"{path_of(endpoint)}?{field.encode_name}={value}")
            assert answer.status_code < 500, (field.name, value)
            if answer.status_code >= 400:
                refused(answer, 400, 404, 422)
    many = "&".join(f"p{number}=1" for number in range(5000))
    twice = "&".join([f"{fields[0].encode_name}=1"] * 2)
    for query in (many, twice, "unknown=1"):
        assert refused(api.ask(endpoint, f"{path_of(endpoint)}?{query}"), 400, 404) in ("INVALID_QUERY", "NOT_FOUND")


@pytest.mark.parametrize("endpoint", [e for e in ENDPOINTS if e.rule.scope], ids=name)
@pytest.mark.parametrize(
    "header",
    [
        "X: y",
        "X-API-Key: ",
        "X-API-Key: \xff\xfe",
        "X-API-Key: bb_" + "x" * 40,
        "Authorization: Bearer",
        "Authorization: Bearer " + "e" * 5000,
        "Authorization: Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZG1pbiJ9.",
        "Authorization: Basic YWRtaW46YWRtaW4=",
    ],
)
def test_no_credential_that_is_none_lets_in(api: Api, endpoint: Endpoint, header: str) -> None:
    head = (
        f"{endpoint.method} {path_of(endpoint)} HTTP/1.1\nHost: a\nConnection: close\n{header}\nContent-Length: 0\n\n"
    )
    assert refused(api.talk(head), 401) == "UNAUTHENTICATED"


@pytest.mark.parametrize(
    "path", ["/", "/v1", "/v1/", "/v2/tasks", "/v1/tasks/", "/api/x", "/docs/x", "/%00", "/v1//tasks"]
)
@pytest.mark.parametrize("method", ["GET", "POST", "BREW"])
def test_what_is_not_there_is_said_in_the_one_shape(api: Api, path: str, method: str) -> None:
    if (method, path) != ("GET", "/"):
        refused(api.http.request(method, path), 404, 405)


@pytest.mark.parametrize("path", sorted({line.path for line in (*ENDPOINTS, *FORMS)}))
def test_a_method_that_a_path_has_not_is_told_all_that_it_has(api: Api, path: str) -> None:
    answer = api.http.request("BREW", f"/v1{path}")
    assert refused(answer, 405) == "METHOD_NOT_ALLOWED"
    has = {line.method for line in (*ENDPOINTS, *FORMS) if line.path == path}
    assert set(re.split(r",\s*", answer.headers["allow"])) - {"HEAD", "OPTIONS"} == has
    told = api.http.options(f"/v1{path}")
    assert (told.status_code, told.headers["allow"]) == (204, ", ".join(sorted(answer.headers["allow"].split(", "))))


def test_a_postgres_that_takes_and_says_nothing_is_503_in_time(system: System) -> None:
    one_a_method = {line.method: line for line in ENDPOINTS if line.rule.scope}.values()
    with socket.create_server(("127.0.0.1", 0)) as silent, ExitStack() as stack:
        url = SecretStr(f"postgresql://x@127.0.0.1:{silent.getsockname()[1]}/x")
        whole = stack.enter_context(WholeApi(system.settings, database_url=url, server_timeout_seconds=2))
        http = stack.enter_context(closing(whole.http("bb_" + "k" * 40)))
        pool = stack.enter_context(ThreadPoolExecutor(len(one_a_method)))
        began = time.monotonic()
        answers = list(pool.map(lambda line: http.request(line.method, path_of(line)), one_a_method))
        assert time.monotonic() - began < 8
    for answer in answers:
        assert refused(answer, 503) == "UNAVAILABLE"
        assert int(answer.headers["retry-after"]) > 0
