"""The client in Python: what the command line uses, and who writes programs may."""

from __future__ import annotations

import mimetypes
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from common.errors import Unavailable
from deploy.client.shapes import Answer, Readiness, Task, Ticket
from deploy.client.store import pieces_of, put
from deploy.client.transport import Transport, api_error, decode

_POLL_SECONDS = 0.15
_WATCHED_AT_ONCE = 16
# An API that restarts is back within this; a wait outlives it.
_PATIENCE_SECONDS = 30.0


class Client:
    """Calls the API at `url` with `api_key`. Safe to share between threads.

    Raises `Unavailable` when nobody answers, `ApiError` when the API refuses, `UploadRefused` when the store does.
    """

    def __init__(self, url: str, api_key: str, *, transport: httpx.BaseTransport | None = None) -> None:
        self._api = Transport(url, api_key, transport)
        self.url = self._api.url
        self._transport = transport

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        self._api.close()

    def readiness(self) -> Readiness:
        response = self._api.send("GET", "/readyz")
        if response.status_code not in (200, 503):
            raise api_error(response)
        return decode(response, Readiness)

    def announce(self, name: str, size: int, content_type: str, knowledge_base: str | None = None) -> Ticket:
        """Ask for a place to upload `size` bytes to."""
        body: dict[str, Any] = {"filename": name, "size": size, "content_type": content_type}
        if knowledge_base:
            body["knowledge_base_id"] = knowledge_base
        return self._api.call("POST", "/uploads", Ticket, body)

    def upload(
        self, path: Path, *, knowledge_base: str | None = None, on_bytes: Callable[[int], object] = lambda _: None
    ) -> Ticket:
        """Announce a file and send it, piece by piece; `on_bytes` hears the size of each piece."""
        with path.open("rb") as file:
            size = path.stat().st_size
            ticket = self.announce(path.name, size, content_type(path), knowledge_base)
            put(ticket, pieces_of(file, on_bytes), size, self._transport)
        return ticket

    def upload_bytes(self, name: str, data: bytes, *, on_bytes: Callable[[int], object] = lambda _: None) -> Ticket:
        """As `upload`, for a document that is in memory."""
        ticket = self.announce(name, len(data), content_type(Path(name)))
        put(ticket, iter([data]), len(data), self._transport)
        on_bytes(len(data))
        return ticket

    def task(self, task_id: str) -> Task:
        return self._api.call("GET", f"/tasks/{task_id}", Task)

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
        return self._api.call("POST", "/search", Answer, body)


def content_type(path: Path) -> str:
    """A guess by name; what the document is will be judged by its content."""
    return mimetypes.guess_type(path.name)[0] or "application/octet-stream"
