"""Users for tests: each with a client of their own that shows their access token."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import httpx

from tests.integration.system import System

_PASSWORD = "correct horse battery"


@dataclass(frozen=True)
class Person:
    """`base`: the knowledge base that is theirs from the beginning."""

    id: str
    name: str
    base: str
    http: httpx.Client

    def get(self, path: str, **query: Any) -> Any:
        answer = self.http.get(f"/v1{path}", params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()


@contextmanager
def person(system: System) -> Iterator[Person]:
    name = f"person-{uuid4()}"
    user = system.http.post("/v1/users", json={"username": name, "password": _PASSWORD}).json()
    token = httpx.post(f"{system.url}/v1/auth/token", json={"username": name, "password": _PASSWORD}, timeout=30).json()
    headers = {"Authorization": f"Bearer {token['access_token']}"}
    with httpx.Client(base_url=system.url, headers=headers, timeout=30) as http:
        yield Person(user["id"], name, user["default_knowledge_base_id"], http)


def upload(system: System, http: httpx.Client, name: str, content: bytes, **more: Any) -> str:
    """Announce, put, and wait until it is searchable; the document's id."""
    answer = http.post("/v1/uploads", json={"filename": name, "size": len(content), **more})
    assert answer.status_code == 201, answer.text
    ticket = answer.json()
    assert httpx.put(ticket["url"], content=content, headers=ticket["headers"]).status_code == 200
    task = system.ended(ticket["task_id"])
    assert task.status == "COMPLETED", task
    return str(ticket["document_id"])
