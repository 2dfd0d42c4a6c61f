"""Everybody who may ask the API for something of somebody's, and what they may ask for."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any
from uuid import uuid4

import httpx
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from common.access import Subject
from common.principal import ALL_SCOPES, Scope
from router.web.endpoints import Endpoint, Form, StreamEndpoint
from tests.integration.system import System

Line = Endpoint | Form | StreamEndpoint

_UNKNOWN = {"prefix": "bb_unknown00", "letter_id": "unknown", "binding_id": "unknown"}
# A socket's close codes as the statuses that they stand for.
_CLOSED = {4001: 401, 4003: 403, 4004: 404}


@dataclass(frozen=True)
class Caller:
    """`role`: in the bases of the test, 0: none."""

    name: str
    key: str
    user_id: str = ""
    role: int = 0
    scopes: frozenset[Scope] = ALL_SCOPES
    is_admin: bool = False


@dataclass(frozen=True)
class Place:
    """A base of the owner's, with a document that was announced and its task."""

    knowledge_base_id: str
    document_id: str
    task_id: str
    user_id: str


class World:
    def __init__(self, system: System) -> None:
        self.system = system
        self.callers: list[Caller] = []
        self.http = httpx.Client(base_url=system.url, timeout=30)

    def __getitem__(self, name: str) -> Caller:
        return next(caller for caller in self.callers if caller.name == name)

    def place(self) -> Place:
        """A new one, since who is let in may leave nothing of it."""
        base = str(uuid4())
        sql = self.system.sql
        sql(
            "INSERT INTO knowledge_bases (id, name, owner_id) VALUES (:base, :base, :owner) RETURNING 1",
            base=base,
            owner=self["owner"].user_id,
        )
        for name in ("reader", "editor"):
            sql(
                "INSERT INTO knowledge_base_members VALUES (:base, :user, :role) RETURNING 1",
                base=base,
                user=self[name].user_id,
                role=name,
            )
        told = self.ask(self["owner"], "POST", "/v1/uploads", json=upload(base))
        assert told.status_code == 201, told.text
        nobody = self.system.http.post("/v1/users", json={"username": str(uuid4())}).json()["id"]
        return Place(base, told.json()["document_id"], told.json()["task_id"], nobody)

    def ask(self, caller: Caller, method: str, path: str, **options: Any) -> httpx.Response:
        """The answer, without the body of one that has no end."""
        headers = {"X-API-Key": caller.key} if caller.key else {}
        with self.http.stream(method, path, headers=headers, **options) as answer:
            if not answer.headers.get("content-type", "").startswith("text/event-stream"):
                answer.read()
        return answer

    def outcome(self, caller: Caller, line: Line, place: Place, prefix: str = "/v1") -> int:
        """401 or 403; 404 for a place that there is not; 200: let in, whatever came of it."""
        if line.rule.subject is Subject.KNOWLEDGE_BASE and caller.user_id:
            # A member who is named is the caller: about others the handler decides.
            place = replace(place, user_id=caller.user_id)
        path = prefix + line.path.format_map(_UNKNOWN | vars(place))
        if line.method == "WS":
            return self.socket(caller, path)
        answer = self.ask(caller, line.method, path, **_content(line))
        assert answer.status_code < 500, (line, caller.name, answer.text)
        if answer.status_code in (401, 403):
            assert set(answer.json()["error"]) == {"code", "message", "timestamp", "details"}
            return answer.status_code
        return 200

    def socket(self, caller: Caller, path: str) -> int:
        url = self.system.url.replace("http", "ws", 1) + path + f"?token={caller.key or 'none'}"
        try:
            with connect(url, open_timeout=30, close_timeout=5) as socket:
                socket.recv(timeout=30)
        except ConnectionClosed as closed:
            return _CLOSED[closed.rcvd.code if closed.rcvd else 0]
        return 200


def _content(line: Line) -> dict[str, Any]:
    """As little as lets a call come as far as its rule."""
    if isinstance(line, Form):
        return {"files": {"file": ("a.txt", b"a")}}
    return {} if line.method == "GET" else {"json": {}}


def upload(base: str) -> dict[str, Any]:
    return {"filename": f"{uuid4()}.txt", "size": 1, "knowledge_base_id": base}
