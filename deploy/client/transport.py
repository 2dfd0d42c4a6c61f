"""Calls to the API over httpx: errors made ours, answers decoded, and a timeout on every call."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any, Generic, TypeVar
from urllib.parse import quote, urlsplit

import httpx
import msgspec

from common.errors import BrigadeError, Unavailable

_CALL_SECONDS = 30.0
# An API that restarts is back within this, and so is what it had too much of.
PATIENCE_SECONDS = 30.0
RETRY_SECONDS = 0.5

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Operation(Generic[T]):
    """A call under /v1 and the shape of its answer. `repeatable`: twice does no more than once."""

    method: str
    path: str
    answer: type[T]
    repeatable: bool = False


class ApiError(BrigadeError):
    """The API refused the call."""

    code = "API_ERROR"

    def __init__(self, status: int, message: str, code: str, **details: Any) -> None:
        super().__init__(message, code=code, **details)
        self.status = status


class Transport:
    """The API at `url`, called with `credential`: an API key or an access token. Safe to share between threads.

    Raises `Unavailable` when nobody answers, `ApiError` when the API refuses.
    """

    def __init__(self, url: str, credential: str, transport: httpx.BaseTransport | None = None) -> None:
        self.url = url.rstrip("/")
        headers = {"Authorization": f"Bearer {credential}"} if credential else {}
        self.http = http_client(self.url, transport, _CALL_SECONDS, headers)

    def close(self) -> None:
        self.http.close()

    def call(
        self,
        operation: Operation[T],
        body: Mapping[str, Any] | None = None,
        query: Mapping[str, Any] | None = None,
        *,
        patient: bool = False,
        **path: str,
    ) -> T:
        """The answer to a call. Parameters of the query that are None are left out.

        What the API puts off (429; 503 of a call that is repeatable) is tried again when it says, if that is soon.
        `patient`: so is one that nobody answers.
        """
        at = _path(operation, path)
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                response = self.send(operation.method, at, body, query)
            except Unavailable:
                wait = RETRY_SECONDS
                if not (patient and operation.repeatable) or time.monotonic() + wait > deadline:
                    raise
            else:
                put_off = _put_off(response, operation)
                if put_off is None or time.monotonic() + put_off > deadline:
                    return _answer(response, operation.answer)
                wait = put_off
            time.sleep(wait)

    def send(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        query: Mapping[str, Any] | None = None,
    ) -> httpx.Response:
        given = {name: value for name, value in (query or {}).items() if value is not None}
        with self._reached():
            return self.http.request(method, self.url + path, json=body, params=given or None)

    @contextmanager
    def stream(
        self, operation: Operation[Any], headers: Mapping[str, str], timeout: httpx.Timeout, **path: str
    ) -> Iterator[httpx.Response]:
        """An answer that is read while it comes. Raises `Unavailable` as well when it breaks off, or is put off."""
        url = self.url + _path(operation, path)
        with self._reached(), self.http.stream(operation.method, url, headers=headers, timeout=timeout) as response:
            if not response.is_success:
                response.read()
                error, wait = api_error(response), _put_off(response, operation)
                raise error if wait is None else Unavailable(error.message, retry_after=wait)
            yield response

    @contextmanager
    def _reached(self) -> Iterator[None]:
        try:
            yield
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise Unavailable(f"Nothing answers at {self.url}: {said(error)}. Is Bucket Brigade running?") from error


def _path(operation: Operation[Any], names: Mapping[str, str]) -> str:
    return "/v1" + operation.path.format_map({name: quote(value, safe="") for name, value in names.items()})


def _answer(response: httpx.Response, kind: type[T]) -> T:
    if response.is_success:
        return decode(response.content or b"null", kind, str(response.url))
    raise api_error(response)


def _put_off(response: httpx.Response, operation: Operation[Any]) -> float | None:
    """In how many seconds to ask again; None: this is the answer."""
    told = response.headers.get("retry-after", "")
    # What was too much was not begun; what a server behind failed at may have been half done.
    if told.isdecimal() and (response.status_code == 429 or (response.status_code == 503 and operation.repeatable)):
        return float(told)
    return None


def http_client(
    url: str,
    transport: httpx.BaseTransport | None,
    timeout: float | httpx.Timeout,
    headers: Mapping[str, str] | None = None,
) -> httpx.Client:
    # A proxy from the environment cannot reach this machine's own loopback.
    return httpx.Client(transport=transport, timeout=timeout, headers=headers, trust_env=not is_loopback(url))


def is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def decode(content: bytes, kind: type[T], url: str) -> T:
    """What this URL answered, as `kind`."""
    try:
        return msgspec.json.decode(content, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        message = f"{place(url)} answered what Bucket Brigade would not: {error}."
        raise ApiError(200, message, "UNEXPECTED_ANSWER") from error


def api_error(response: httpx.Response) -> ApiError:
    try:
        error = response.json()["error"]
        return ApiError(response.status_code, str(error["message"]), str(error["code"]), **(error.get("details") or {}))
    except (ValueError, LookupError, TypeError, AttributeError):
        asked = f"{response.request.method} {place(str(response.url))}"
        message = f"{asked} answered {response.status_code} {response.reason_phrase}."
        return ApiError(response.status_code, message, "API_ERROR")


def said(error: Exception) -> str:
    return str(error) or type(error).__name__


def place(url: str) -> str:
    """The URL without its query, which may be a signature."""
    return "{0.scheme}://{0.netloc}{0.path}".format(urlsplit(url))
