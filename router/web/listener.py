"""What Postgres tells this process: one connection that listens, made anew whenever it is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import anyio
import psycopg2
import structlog
from psycopg2.extensions import connection as Connection  # noqa: N812 - the class has a function's name there

from common.db import connection_options, first_line
from common.settings import Settings
from common.telemetry import LISTENING

log = structlog.get_logger()

# The channels of migration 0003. The payload of the first is a task's id; the second has none.
TASKS = "brigade_tasks"
RIGHTS = "brigade_auth"

_FIRST_DELAY_SECONDS = 0.1
_MAX_DELAY_SECONDS = 5.0


class Listener:
    """`heard(channel, payload)` is called for every notification, `back()` each time that listening begins: what
    changed before was not heard. Both on the event loop, where they must not wait."""

    def __init__(self, settings: Settings, heard: Callable[[str, str], None], back: Callable[[], None]) -> None:
        self._url = settings.database_url.get_secret_value()
        self._timeout = settings.server_timeout_seconds
        self._heard = heard
        self._back = back
        self.connected = False

    async def run(self) -> None:
        """Until it is cancelled."""
        delay = _FIRST_DELAY_SECONDS
        while True:
            try:
                connection = await anyio.to_thread.run_sync(self._connect, abandon_on_cancel=True)
            except psycopg2.Error as error:
                log.warning("listen.unavailable", reason=first_line(error), again_seconds=delay)
                await asyncio.sleep(delay)
                delay = min(2 * delay, _MAX_DELAY_SECONDS)
                continue
            delay = _FIRST_DELAY_SECONDS
            try:
                log.warning("listen.lost", reason=first_line(await self._listen(connection)))
            finally:
                connection.close()

    def _connect(self) -> Connection:
        connection: Connection = psycopg2.connect(self._url, **connection_options(self._timeout))
        connection.autocommit = True  # inside a transaction nothing is told
        with connection.cursor() as cursor:
            cursor.execute(f"LISTEN {TASKS}; LISTEN {RIGHTS}; SET idle_session_timeout = 0")
        return connection

    async def _listen(self, connection: Connection) -> psycopg2.Error:
        """Hear until the connection is lost; returns why."""
        loop = asyncio.get_running_loop()
        lost: asyncio.Future[psycopg2.Error] = loop.create_future()

        def readable() -> None:
            try:
                connection.poll()
            except psycopg2.Error as error:
                loop.remove_reader(descriptor)
                lost.set_result(error)
            notices, connection.notifies[:] = list(connection.notifies), []
            for notice in notices:
                self._heard(notice.channel, notice.payload)

        descriptor = connection.fileno()
        loop.add_reader(descriptor, readable)
        try:
            self._back()
            self._tell(connected=True)
            return await lost
        finally:
            self._tell(connected=False)
            loop.remove_reader(descriptor)

    def _tell(self, *, connected: bool) -> None:
        self.connected = connected
        LISTENING.set(connected)
