"""Postgres: one engine a process, short transactions, and a lock that all processes share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, create_engine, text
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from common.errors import Unavailable
from common.settings import Settings

# SQLSTATE: connection lost, read-only after a failover, deadlock, resources, shutdown, a table not migrated yet.
_PASSING = ("08", "25006", "40", "53", "55P03", "57", "42P01")


class Database:
    def __init__(self, settings: Settings, *, connections: int | None = None) -> None:
        """`connections`: how many may be open at once; default: a thread each for work, and a few more."""
        timeout = settings.server_timeout_seconds
        url = settings.database_url.get_secret_value().replace("postgresql://", "postgresql+psycopg2://", 1)
        self._engine = create_engine(
            url,
            pool_size=connections or settings.work_threads + 4,
            max_overflow=0,
            pool_timeout=timeout,
            pool_pre_ping=True,  # 0.1 ms that spare a failed step after every restart of Postgres
            connect_args=connection_options(timeout),
        )

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """One transaction: committed at the end, rolled back on any error; `Unavailable` when Postgres is."""
        with _translated(), self._engine.begin() as connection:
            yield connection

    @contextmanager
    def exclusive(self, name: str) -> Iterator[Connection]:
        """Hold the lock `name` that all processes of this database share; a holder that dies lets go of it."""
        with self.transaction() as connection:
            # Waiting in line behind long writers is what this is for, so no timeout.
            connection.execute(text("SET LOCAL statement_timeout = 0"))
            connection.execute(text("SELECT pg_advisory_xact_lock(hashtextextended(:name, 0))"), {"name": name})
            yield connection

    @contextmanager
    def shared(self, name: str) -> Iterator[None]:
        """Hold the lock `name` beside others who share it; whoever holds it exclusively is waited for."""
        with self.transaction() as connection:
            connection.execute(text("SELECT pg_advisory_xact_lock_shared(hashtextextended(:name, 0))"), {"name": name})
            yield

    @contextmanager
    def alone(self, name: str) -> Iterator[bool]:
        """Whether the lock `name` was free, and is ours now. For what takes minutes: no transaction is open meanwhile.

        A holder that dies, or loses its connection, lets go of it; so what it guards must bear two at once.
        """
        with _translated(), self._engine.connect() as connection:
            connection.execution_options(isolation_level="AUTOCOMMIT")
            lock = {"name": name}
            ours = connection.scalar(text("SELECT pg_try_advisory_lock(hashtextextended(:name, 0))"), lock)
            try:
                yield bool(ours)
            finally:
                if ours:
                    connection.execute(text("SELECT pg_advisory_unlock(hashtextextended(:name, 0))"), lock)

    def ping(self) -> None:
        with self.transaction() as connection:
            connection.execute(text("SELECT 1"))

    def close(self) -> None:
        self._engine.dispose()


@contextmanager
def _translated() -> Iterator[None]:
    """Postgres's errors as ours."""
    try:
        yield
    except (OperationalError, InterfaceError, PoolTimeoutError) as error:
        raise Unavailable(f"Postgres did not answer: {first_line(error)}", server="postgres") from error
    except DBAPIError as error:
        if error.connection_invalidated or str(getattr(error.orig, "pgcode", "")).startswith(_PASSING):
            raise Unavailable(f"Postgres cannot do this now: {first_line(error)}", server="postgres") from error
        raise


def connection_options(timeout: float) -> dict[str, Any]:
    """How libpq connects, so that nothing waits for longer than `timeout` seconds."""
    return {
        "connect_timeout": max(2, int(timeout)),
        # A statement waits for row locks at most; none of ours computes for seconds.
        "options": f"-c statement_timeout={int(timeout * 1000)} -c timezone=UTC",
        # A black-holed connection ends as an error, not as a hang.
        "tcp_user_timeout": int(timeout * 1000),
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 3,
    }


def first_line(error: Exception) -> str:
    """What a driver's error says, without its hints and positions."""
    return str(getattr(error, "orig", None) or error).strip().split("\n", 1)[0]
