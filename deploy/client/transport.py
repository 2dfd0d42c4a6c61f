"""Calls to the API over httpx: errors made ours, answers decoded, and a timeout on every call."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address
from typing import Any, TypeVar
from urllib.parse import urlsplit

import httpx
import msgspec

from common.errors import BrigadeError, Unavailable

_CALL_SECONDS = 30.0

_T = TypeVar("_T")


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
        method: str,
        path: str,
        kind: type[_T],
        body: Mapping[str, Any] | None = None,
        query: Mapping[str, Any] | None = None,
    ) -> _T:
        """The answer to a call under /v1, as `kind`. Parameters of the query that are None are left out."""
        response = self.send(method, "/v1" + path, body, query)
        if response.is_success:
            return decode(response, kind)
        raise api_error(response)

    def send(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        query: Mapping[str, Any] | None = None,
    ) -> httpx.Response:
        given = {name: value for name, value in (query or {}).items() if value is not None}
        try:
            return self.http.request(method, self.url + path, json=body, params=given or None)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise Unavailable(f"Nothing answers at {self.url}: {said(error)}. Is Bucket Brigade running?") from error


def http_client(
    url: str,
    transport: httpx.BaseTransport | None,
    timeout: float | httpx.Timeout,
    headers: Mapping[str, str] | None = None,
) -> httpx.Client:
    # A proxy from the environment cannot reach this machine's own loopback.
    return httpx.Client(transport=transport, timeout=timeout, headers=headers, trust_env=not _is_loopback(url))


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def decode(response: httpx.Response, kind: type[_T]) -> _T:
    try:
        return msgspec.json.decode(response.content, type=kind)
    except msgspec.MsgspecError as error:
        message = f"{place(str(response.url))} answered what Bucket Brigade would not: {error}."
        raise ApiError(response.status_code, message, "UNEXPECTED_ANSWER") from error


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
