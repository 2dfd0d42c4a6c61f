"""The API as `brigade api` serves it, in a thread: with settings, servers and people of the test's own."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Any, Self

import httpx

from common import api_keys
from common.principal import ALL_SCOPES
from common.services import Services
from common.settings import Settings
from deploy.local.state import free_port
from router.app import create_app
from router.web.server import make_server
from tests.processes import wait_until


class WholeApi:
    """`with WholeApi(settings, **changes) as api`. `key` is an admin's; `http` shows it."""

    def __init__(self, settings: Settings, **changes: Any) -> None:
        self.settings = settings.model_copy(update={"api_port": free_port(), "failures_per_minute": 0, **changes})
        self.url = f"http://127.0.0.1:{self.settings.api_port}"
        self._server, self._listener = make_server(create_app(self.settings), self.settings)
        self._thread = threading.Thread(target=self._server.run, args=([self._listener],), name="api")

    def __enter__(self) -> Self:
        self._thread.start()
        wait_until(lambda: self._server.started, seconds=30, what="the API listens")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.should_exit = True
        self._thread.join()

    def http(self, key: str) -> httpx.Client:
        return httpx.Client(base_url=self.url, headers={"X-API-Key": key}, timeout=30, trust_env=False)


def admin_key(settings: Settings, user_id: str = "admin") -> str:
    """A fresh key of this admin's."""
    services = Services(settings)
    with services.database.transaction() as connection:
        key, _ = api_keys.create(connection, user_id, name="test", scopes=ALL_SCOPES, expires_at=None)
    services.close()
    return key
