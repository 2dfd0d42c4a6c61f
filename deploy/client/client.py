"""The client in Python: what the command line uses, and who writes programs may."""

from __future__ import annotations

import hashlib
import mimetypes
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self, Unpack

import httpx

from deploy.client import calls
from deploy.client.dead_letters import DeadLetters
from deploy.client.documents import Documents
from deploy.client.knowledge_bases import KnowledgeBases
from deploy.client.people import People
from deploy.client.search_shapes import Answer, Hit, SearchOptions
from deploy.client.shapes import Readiness, Task, Ticket
from deploy.client.store import Store
from deploy.client.tasks import Tasks
from deploy.client.transport import Transport, api_error, decode
from deploy.client.uploads import Uploads, sha256_of


class Client:
    """Calls the API at `url` with `credential`: an API key or an access token. Safe to share between threads.

    Raises `Unavailable` when nobody answers, `ApiError` when the API refuses, `UploadRefused` or `DownloadRefused` when
    the store does.
    """

    def __init__(self, url: str, credential: str, *, transport: httpx.BaseTransport | None = None) -> None:
        self._transport = transport
        self._api = Transport(url, credential, transport)
        self._store = Store(transport)
        self.url = self._api.url
        self.uploads = Uploads(self._api, self._store)
        self.documents = Documents(self._api, self._store)
        self.tasks = Tasks(self._api)
        self.knowledge_bases = KnowledgeBases(self._api)
        self.people = People(self._api)
        self.dead_letters = DeadLetters(self._api)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        self._api.close()
        self._store.close()

    def log_in(self, username: str, password: str) -> Client:
        """Another client, with an access token of this user's. Its caller closes it."""
        token = self._api.call(calls.LOG_IN, {"username": username, "password": password})
        return Client(self.url, token.access_token, transport=self._transport)

    def readiness(self) -> Readiness:
        response = self._api.send("GET", "/readyz")
        if response.status_code not in (200, 503):
            raise api_error(response)
        return decode(response.content, Readiness, self.url)

    def announce(self, name: str, size: int, content_type: str, knowledge_base: str | None = None) -> Ticket:
        """Ask for a place to upload `size` bytes to."""
        return self.uploads.announce(name, size, content_type, knowledge_base)

    def upload(
        self,
        path: Path,
        *,
        knowledge_base: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        allow_duplicate: bool = False,
        method: str | None = None,
        on_bytes: Callable[[int], object] = lambda _: None,
    ) -> Ticket:
        """Upload a file, or go on with an upload of it that was broken off. A `duplicate` is not sent.

        `method`: put or multipart; None: the API chooses, by the size. `on_bytes`: see `Uploads.send`.
        """
        ticket = self.uploads.announce(
            path.name,
            path.stat().st_size,
            content_type(path),
            knowledge_base,
            sha256=sha256_of(path),
            metadata=metadata,
            method=method,
            allow_duplicate=allow_duplicate,
        )
        self.uploads.send(ticket, path, on_bytes)
        return ticket

    def upload_bytes(self, name: str, data: bytes, *, on_bytes: Callable[[int], object] = lambda _: None) -> Ticket:
        """As `upload`, for a small document that is in memory."""
        sha256 = hashlib.sha256(data).hexdigest()
        ticket = self.uploads.announce(name, len(data), content_type(Path(name)), sha256=sha256, method="put")
        if not ticket.duplicate:
            self._store.put(ticket.url, iter([data]), {"Content-Length": str(len(data))} | ticket.headers)
            on_bytes(len(data))
        return ticket

    def task(self, task_id: str) -> Task:
        return self.tasks.get(task_id)

    def watch(self, *task_ids: str) -> Iterator[Task]:
        """Each task now and as it moves, until all have ended: one by its live stream, many by looking at them."""
        return self.tasks.events(task_ids[0]) if len(task_ids) == 1 else self.tasks.poll(*task_ids)

    def search(self, query: str, *, cursor: str | None = None, **options: Unpack[SearchOptions]) -> Answer:
        """The best passages; the next best with the `next_cursor` of the answer before, all else being the same."""
        body: dict[str, Any] = {"query": query, "cursor": cursor, **options}
        bases = body.pop("knowledge_base", None)
        body["knowledge_base_ids"] = [bases] if isinstance(bases, str) else bases
        body["document_ids"] = body.pop("documents", None)
        return self._api.call(calls.SEARCH, {name: value for name, value in body.items() if value is not None})

    def passages(self, query: str, **options: Unpack[SearchOptions]) -> Iterator[Hit]:
        """All hits, the best first: the next page, of `top_k`, is asked for when it is needed."""
        cursor = None
        while True:
            answer = self.search(query, cursor=cursor, **options)
            yield from answer.hits
            cursor = answer.next_cursor
            if cursor is None:
                return


def content_type(path: Path) -> str:
    """A guess by name; what the document is will be judged by its content."""
    return mimetypes.guess_type(path.name)[0] or "application/octet-stream"
