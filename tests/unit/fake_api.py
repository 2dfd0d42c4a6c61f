"""The HTTP API and the store as the command line sees them, over real sockets: the wire is what counts."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

KEY = "bb_the-key-of-the-fake-api-0123456789"
HIT: dict[str, Any] = {
    "document_id": "d0",
    "document_name": "bucket-brigade.pdf",
    "knowledge_base_id": "k",
    "knowledge_base_name": "manuals",
    "version": 1,
    "chunk": 3,
    "page": 2,
    "start": 10,
    "end": 40,
    "text": "北宋的都城开封设有专门的救火队伍",
    "score": 0.0325,
    "headings": ["Fire", "Kaifeng"],
    "places": [{"page": 2, "box": [72.0, 100.0, 300.5, 112.0]}],
    "found_by": ["dense", "keyword"],
    "highlights": [[12, 16]],
    "before": [],
    "after": [],
}
STEPS = ("UPLOAD", "VALIDATE", "EXTRACT_TEXT", "PREPROCESS", "SPLIT", "VECTORIZE", "STORE")


@dataclass
class FakeApi:
    """`looks`: after how many a task ends. Names in `failing` end as FAILED, those in `refused` the store refuses.

    `more`: the cursor that a search answers. `answers`: to further calls, by method and path; what else they were
    sent is in `asked`.
    """

    url: str
    looks: int = 2
    failing: frozenset[str] = frozenset()
    refused: frozenset[str] = frozenset()
    readiness: list[dict[str, Any]] = field(default_factory=list)
    hits: list[dict[str, Any]] = field(default_factory=list)
    more: str | None = None
    names: dict[str, str] = field(default_factory=dict)
    stored: dict[str, bytes] = field(default_factory=dict)
    store_headers: list[dict[str, str]] = field(default_factory=list)
    searches: list[dict[str, Any]] = field(default_factory=list)
    seen: dict[str, int] = field(default_factory=dict)
    there: dict[str, str] = field(default_factory=dict)
    announced: list[dict[str, Any]] = field(default_factory=list)
    answers: dict[str, tuple[int, Any]] = field(default_factory=dict)
    asked: list[tuple[str, Any]] = field(default_factory=list)

    def announce(self, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        self.announced.append(body)
        if body["filename"] in self.there and not body.get("allow_duplicate"):
            known = self.there[body["filename"]]
            return 200, {"document_id": known, "task_id": f"task-{known}", "key": "incoming/k", "duplicate": True}
        document_id = f"d{len(self.names)}"
        self.names[document_id] = body["filename"]
        key = f"incoming/{document_id}/{body['filename']}"
        headers = {"Content-Type": body["content_type"], "Content-Length": str(body["size"]), "x-amz-meta-task": "t"}
        url = f"{self.url}/store/{document_id}?X-Amz-Signature=secret"
        return 201, {
            "document_id": document_id,
            "task_id": f"task-{document_id}",
            "method": "PUT",
            "key": key,
            "url": url,
            "headers": headers,
            "expires_at": "2030-01-01T00:00:00Z",
        }

    def task(self, task_id: str) -> tuple[int, dict[str, Any]]:
        document_id = task_id.removeprefix("task-")
        if document_id not in self.names:
            return 404, {"error": {"code": "NOT_FOUND", "message": f"There is no task {task_id}.", "details": {}}}
        self.seen[task_id] = self.seen.get(task_id, 0) + 1
        ended = self.seen[task_id] >= self.looks
        failed = ended and self.names[document_id] in self.failing
        status = "FAILED" if failed else "COMPLETED" if ended else "RUNNING"
        steps = [
            {
                "step_name": name,
                "step_order": order,
                "status": "COMPLETED" if order == 0 else status,
                "progress": 100 if ended or order == 0 else 40,
                "details": {"pages": 4} if name == "EXTRACT_TEXT" else {},
                "error_message": None,
            }
            for order, name in enumerate(STEPS)
        ]
        return 200, {
            "task_id": task_id,
            "document_id": document_id,
            "type": "DOCUMENT_UPLOAD",
            "status": status,
            "overall_progress": 100 if ended else 46,
            "error_message": "This PDF has no text layer." if failed else None,
            "created_at": "2026-11-22T08:00:00.123Z",
            "task_details": steps,
            "added_later": True,
        }


@contextmanager
def fake_api() -> Iterator[FakeApi]:
    """A running fake, ended afterwards."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as server:
        api = FakeApi(f"http://127.0.0.1:{server.server_port}")
        server.api = api  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield api
        finally:
            server.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    @property
    def api(self) -> FakeApi:
        api: FakeApi = self.server.api  # type: ignore[attr-defined]
        return api

    def do_GET(self) -> None:
        if self._answered_as_told():
            return
        if self.path == "/readyz":
            answer = self.api.readiness.pop(0) if self.api.readiness else {"status": "ready", "checks": {}}
            self._answer(200 if answer["status"] == "ready" else 503, answer)
        elif self._may() and self.path.endswith("/events"):
            self._stream(self.path.removeprefix("/v1/tasks/").removesuffix("/events"))
        elif self._may():
            self._answer(*self.api.task(self.path.removeprefix("/v1/tasks/")))

    def do_POST(self) -> None:
        if self._answered_as_told():
            return
        body = json.loads(self._body())
        if not self._may():
            return
        if self.path == "/v1/uploads":
            self._answer(*self.api.announce(body))
        else:
            self.api.searches.append(body)
            self._answer(200, {"hits": self.api.hits, "took_ms": 3.5, "next_cursor": self.api.more})

    def do_DELETE(self) -> None:
        self._answered_as_told()

    def do_PATCH(self) -> None:
        self._answered_as_told()

    def do_PUT(self) -> None:
        if self._answered_as_told():
            return
        document_id = self.path.removeprefix("/store/").partition("?")[0]
        self.api.store_headers.append({name.lower(): value for name, value in self.headers.items()})
        body = self._body()
        if self.api.names[document_id] in self.api.refused:
            xml = b"<Error><Code>AccessDenied</Code><Message>Signature does not match</Message></Error>"
            self._send(403, xml, "application/xml")
        else:
            self.api.stored[document_id] = body
            self._send(200, b"", "text/plain")

    def _answered_as_told(self) -> bool:
        path, _, query = self.path.partition("?")
        answer = self.api.answers.get(f"{self.command} {path}")
        if answer is None:
            return False
        body = self._body()
        self.api.asked.append((f"{self.command} {path}", json.loads(body) if body else parse_qs(query)))
        status, value = answer
        if isinstance(value, bytes):
            self._send(status, value, "application/octet-stream")
        else:
            self._answer(status, value)
        return True

    def _stream(self, task_id: str) -> None:
        """Every look at the task as an event, to its end. The stream ends with the connection."""
        status, task = self.api.task(task_id)
        if status != 200:
            self._answer(status, task)
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        while True:
            told = f"event: task_update\r\nid: {self.api.seen[task_id]}\r\ndata: {json.dumps(task)}\r\n\r\n"
            self.wfile.write(f": ping\r\n\r\n{told}".encode())
            if task["status"] != "RUNNING":
                return
            _, task = self.api.task(task_id)

    def _may(self) -> bool:
        if self.headers["Authorization"] == f"Bearer {KEY}":
            return True
        self._answer(401, {"error": {"code": "UNAUTHENTICATED", "message": "Send an API key.", "details": {}}})
        return False

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers["Content-Length"] or 0))

    def _answer(self, status: int, value: dict[str, Any]) -> None:
        self._send(status, json.dumps(value).encode(), "application/json")

    def _send(self, status: int, body: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass
