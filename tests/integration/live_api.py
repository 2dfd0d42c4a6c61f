"""The live streams of an API process, served by uvicorn as `brigade api` does, over a real Postgres and no more."""

from __future__ import annotations

import itertools
import json
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import datetime
from types import TracebackType
from typing import Any, Self

import httpx
import pytest
from pydantic import SecretStr
from sqlalchemy import text
from starlette.applications import Starlette
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from common import api_keys, tasks
from common.pipelines import Pipeline, Step
from common.principal import ALL_SCOPES
from common.services import Services
from common.settings import Settings
from deploy.local.state import free_port
from router.app import stream_routes
from router.web.live import Live
from router.web.server import make_server
from router.web.streams import Streams
from tests.processes import wait_until

_PIPELINE = Pipeline("DOCUMENT_UPLOAD", (Step("UPLOAD", weight=10), Step("STORE", weight=90)))


class LiveApi:
    """`with LiveApi(url, **settings) as api`."""

    def __init__(self, database_url: str, **settings: Any) -> None:
        self.settings = Settings(database_url=SecretStr(database_url), api_port=free_port(), **settings)
        self.services = Services(self.settings)
        self.live = Live(self.services)
        self.streams = Streams(self.services, self.live)
        self._host = f"127.0.0.1:{self.settings.api_port}"
        app = Starlette(routes=stream_routes(self.streams), lifespan=self._lifespan)
        self._server, self._listener = make_server(app, self.settings)
        self._thread = threading.Thread(target=self._server.run, args=([self._listener],), name="api")

    @asynccontextmanager
    async def _lifespan(self, _app: Starlette) -> AsyncIterator[None]:
        async with self.live.running(), self.streams.running():
            yield

    def __enter__(self) -> Self:
        self._thread.start()
        wait_until(lambda: self._server.started and self.live.connected, seconds=10, what="the API listens")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.should_exit = True
        self._thread.join()
        self.services.close()

    def connect(self, task_id: str, query: str = "", **options: Any) -> ClientConnection:
        opened: ClientConnection = connect(f"ws://{self._host}/ws/tasks/{task_id}{query}", proxy=None, **options)
        return opened

    def raw(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.settings.api_port), timeout=10)

    @property
    def connections(self) -> int:
        """That uvicorn still has, whether or not anything of ours uses them."""
        return len(self._server.server_state.connections)

    @contextmanager
    def events(self, task_id: str, key: str, **headers: str) -> Iterator[httpx.Response]:
        url = f"http://{self._host}/tasks/{task_id}/events"
        headers = {"X-API-Key": key, **{name.replace("_", "-"): value for name, value in headers.items()}}
        with httpx.stream("GET", url, headers=headers, timeout=10, trust_env=False) as response:
            yield response


class People:
    """Who and what there is: users with keys, bases and tasks. Every change is of a connection of its own."""

    def __init__(self, services: Services) -> None:
        self._database = services.database

    def sql(self, statement: str, **values: Any) -> None:
        with self._database.transaction() as connection:
            connection.execute(text(statement), values)

    def user(self, name: str, *, expires_at: datetime | None = None) -> str:
        """A user with a base of the same name; returns a key."""
        self.sql("INSERT INTO users (id, username) VALUES (:name, :name)", name=name)
        self.sql("INSERT INTO knowledge_bases (id, name, owner_id) VALUES (:name, :name, :name)", name=name)
        with self._database.transaction() as connection:
            key, _ = api_keys.create(connection, name, name="test", scopes=ALL_SCOPES, expires_at=expires_at)
        return key

    def share(self, base: str, user: str, role: str) -> None:
        self.sql("INSERT INTO knowledge_base_members VALUES (:base, :user, :role)", base=base, user=user, role=role)

    def task(self, owner: str, task_id: str) -> str:
        self.sql(
            """
            INSERT INTO documents (id, name, bucket_name, object_key, knowledge_base_id, user_id)
            VALUES (:id, 'a.txt', 'b', :id, :owner, :owner)
            """,
            id=task_id,
            owner=owner,
        )
        with self._database.transaction() as connection:
            tasks.create(connection, _PIPELINE, task_id=task_id, document_id=task_id, version=1, user_id=owner)
        self.sql("UPDATE tasks SET status = 'RUNNING' WHERE id = :id", id=task_id)
        return task_id

    def progress(self, task_id: str, percent: float) -> None:
        """Of its last step: 0.9 of it is the whole's."""
        self.sql(
            "UPDATE task_details SET progress = :percent WHERE (task_id, step_order) = (:id, 2)",
            id=task_id,
            percent=percent,
        )

    def complete(self, task_id: str) -> None:
        self.sql("UPDATE tasks SET status = 'COMPLETED', completed_at = now() WHERE id = :id", id=task_id)


def update(socket: ClientConnection) -> dict[str, Any]:
    """The task of the next message, which must be an update."""
    message = json.loads(socket.recv(timeout=10))
    assert message.keys() == {"event", "data"}
    assert message["event"] == "task_update"
    data: dict[str, Any] = message["data"]
    return data


def closed(socket: ClientConnection) -> int:
    """The code it is closed with, after whatever comes before."""
    with pytest.raises(ConnectionClosed) as caught:
        [socket.recv(timeout=10) for _ in itertools.count()]
    assert caught.value.rcvd is not None
    return caught.value.rcvd.code
