"""The HTTP client that the command line uses: typed, streaming, with a timeout on every call."""

from __future__ import annotations

import mimetypes
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from ipaddress import ip_address
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self, TypeVar
from urllib.parse import urlsplit

import httpx
import msgspec

from common.errors import BrigadeError, Unavailable

TERMINAL = frozenset({"COMPLETED", "FAILED", "CANCELLED"})

_CALL_SECONDS = 30.0
# A store that stops reading for a minute is gone; an upload as a whole may take as long as it needs.
_UPLOAD = httpx.Timeout(60.0, connect=10.0)
_PIECE_BYTES = 256 * 1024
_POLL_SECONDS = 0.15
_WATCHED_AT_ONCE = 16
# An API that restarts is back within this; a wait outlives it.
_PATIENCE_SECONDS = 30.0

_T = TypeVar("_T")


class ApiError(BrigadeError):
    """The API refused the call."""

    code = "API_ERROR"

    def __init__(self, status: int, message: str, code: str, **details: Any) -> None:
        super().__init__(message, code=code, **details)
        self.status = status


class UploadRefused(BrigadeError):
    """The store refused the upload."""

    code = "UPLOAD_REFUSED"


@dataclass(frozen=True, slots=True)
class Ticket:
    """A place in the store for one document: send the bytes to `url` with exactly these headers."""

    document_id: str
    task_id: str
    method: str
    key: str
    url: str
    headers: dict[str, str] = field(default_factory=dict)
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a task; `progress` is 0..100."""

    step_name: str
    step_order: int
    status: str
    progress: float
    details: dict[str, Any] | None = None
    error_message: str | None = None
    attempt: int | None = None
    started_at: datetime | None = None
    completed_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Task:
    """A task and its steps, in their order; `overall_progress` is 0..100."""

    task_id: str
    document_id: str | None
    type: str
    status: str
    overall_progress: float
    task_details: list[Step]
    error_message: str | None = None
    created_at: datetime | None = None
    started_at: datetime | None = None
    completed_at: datetime | None = None
    estimated_completion_time: datetime | None = None
    created_by: str | None = None

    @property
    def ended(self) -> bool:
        return self.status in TERMINAL

    @property
    def reason(self) -> str:
        """Why it did not complete, for a person."""
        if self.error_message:
            return self.error_message
        failed = (step for step in self.task_details if step.status == "FAILED")
        return next((f"{step.step_name} failed: {step.error_message}" for step in failed), self.status.lower())


@dataclass(frozen=True, slots=True)
class Hit:
    """A passage: the characters [start, end) of its document's text."""

    document_id: str
    document_name: str
    version: int
    chunk: int
    page: int
    start: int
    end: int
    text: str
    score: float


@dataclass(frozen=True, slots=True)
class Answer:
    hits: list[Hit]
    took_ms: float


@dataclass(frozen=True, slots=True)
class Readiness:
    """What `/readyz` says: by server "ok" or what is wrong with it."""

    status: str
    checks: dict[str, str] = field(default_factory=dict)

    @property
    def ready(self) -> bool:
        return self.status == "ready"


class Client:
    """Calls the API at `url` with `api_key`. Safe to share between threads.

    Raises `Unavailable` when nobody answers, `ApiError` when the API refuses, `UploadRefused` when the store does.
    """

    def __init__(self, url: str, api_key: str, *, transport: httpx.BaseTransport | None = None) -> None:
        self.url = url.rstrip("/")
        self._api = _http(self.url, transport, _CALL_SECONDS, {"Authorization": f"Bearer {api_key}"})
        self._transport = transport

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        self._api.close()

    def readiness(self) -> Readiness:
        response = self._send("GET", "/readyz")
        if response.status_code not in (200, 503):
            raise _api_error(response)
        return _decode(response, Readiness)

    def announce(self, name: str, size: int, content_type: str, knowledge_base: str | None = None) -> Ticket:
        """Ask for a place to upload `size` bytes to."""
        body: dict[str, Any] = {"filename": name, "size": size, "content_type": content_type}
        if knowledge_base:
            body["knowledge_base_id"] = knowledge_base
        return self._call("POST", "/v1/uploads", Ticket, body)

    def upload(
        self, path: Path, *, knowledge_base: str | None = None, on_bytes: Callable[[int], object] = lambda _: None
    ) -> Ticket:
        """Announce a file and send it, piece by piece; `on_bytes` hears the size of each piece."""
        with path.open("rb") as file:
            size = path.stat().st_size
            ticket = self.announce(path.name, size, content_type(path), knowledge_base)
            self._put(ticket, _pieces(file, on_bytes), size)
        return ticket

    def upload_bytes(self, name: str, data: bytes, *, on_bytes: Callable[[int], object] = lambda _: None) -> Ticket:
        """As `upload`, for a document that is in memory."""
        ticket = self.announce(name, len(data), content_type(Path(name)))
        self._put(ticket, iter([data]), len(data))
        on_bytes(len(data))
        return ticket

    def task(self, task_id: str) -> Task:
        return self._call("GET", f"/v1/tasks/{task_id}", Task)

    def watch(self, *task_ids: str) -> Iterator[Task]:
        """Each task now and after each look at it, in turn, until all have ended, whatever restarts meanwhile.

        Looks at a few at a time, in their order: of a thousand tasks the last ones are not worth a question yet.
        """
        open_ids = list(task_ids)
        answered = time.monotonic()
        while open_ids:
            for task_id in open_ids[:_WATCHED_AT_ONCE]:
                try:
                    task = self.task(task_id)
                except Unavailable:
                    if time.monotonic() - answered > _PATIENCE_SECONDS:
                        raise
                    break
                answered = time.monotonic()
                if task.ended:
                    open_ids.remove(task_id)
                yield task
            if open_ids:
                time.sleep(_POLL_SECONDS)

    def search(self, query: str, *, top_k: int = 5, mode: str = "hybrid", documents: Sequence[str] = ()) -> Answer:
        body: dict[str, Any] = {"query": query, "top_k": top_k, "mode": mode}
        if documents:
            body["document_ids"] = list(documents)
        return self._call("POST", "/v1/search", Answer, body)

    def _call(self, method: str, path: str, kind: type[_T], body: Mapping[str, Any] | None = None) -> _T:
        response = self._send(method, path, body)
        if response.is_success:
            return _decode(response, kind)
        raise _api_error(response)

    def _send(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> httpx.Response:
        try:
            return self._api.request(method, self.url + path, json=body)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise Unavailable(f"Nothing answers at {self.url}: {_said(error)}. Is Bucket Brigade running?") from error

    def _put(self, ticket: Ticket, pieces: Iterator[bytes], size: int) -> None:
        # The store's URL is its own credential: our key never goes there.
        headers = {"Content-Length": str(size)} | ticket.headers
        with _http(ticket.url, self._transport, _UPLOAD) as store:
            try:
                response = store.request(ticket.method, ticket.url, content=pieces, headers=headers)
            except httpx.LocalProtocolError as error:
                raise UploadRefused("The file changed its size while it was sent: upload it again.") from error
            except httpx.HTTPError as error:
                raise Unavailable(f"The store at {_place(ticket.url)} broke off the upload: {_said(error)}.") from error
        if not response.is_success:
            raise UploadRefused(f"The store refused the upload: {response.status_code} {_store_says(response.text)}")


def content_type(path: Path) -> str:
    """A guess by name; what the document is will be judged by its content."""
    return mimetypes.guess_type(path.name)[0] or "application/octet-stream"


def _http(
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


def _pieces(file: BinaryIO, on_bytes: Callable[[int], object]) -> Iterator[bytes]:
    while piece := file.read(_PIECE_BYTES):
        yield piece
        on_bytes(len(piece))


def _decode(response: httpx.Response, kind: type[_T]) -> _T:
    try:
        return msgspec.json.decode(response.content, type=kind)
    except msgspec.MsgspecError as error:
        message = f"{_place(str(response.url))} answered what Bucket Brigade would not: {error}."
        raise ApiError(response.status_code, message, "UNEXPECTED_ANSWER") from error


def _api_error(response: httpx.Response) -> ApiError:
    try:
        said = response.json()["error"]
        return ApiError(response.status_code, str(said["message"]), str(said["code"]), **(said.get("details") or {}))
    except (ValueError, LookupError, TypeError, AttributeError):
        message = f"{response.request.method} {response.url} answered {response.status_code} {response.reason_phrase}."
        return ApiError(response.status_code, message, "API_ERROR")


def _said(error: Exception) -> str:
    return str(error) or type(error).__name__


def _place(url: str) -> str:
    """The URL without its query, which may be a signature."""
    return "{0.scheme}://{0.netloc}{0.path}".format(urlsplit(url))


def _store_says(body: str) -> str:
    """Code and message of S3's XML error, by pattern: too small a need for a parser of hostile XML."""
    found = [re.search(rf"<{name}>([^<]*)</{name}>", body) for name in ("Code", "Message")]
    return ": ".join(match[1] for match in found if match) or "without a reason"
