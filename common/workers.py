"""Which workers are alive, as they say themselves. Who waits for a step learns from it whether anybody runs it.

All take an open transaction.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, text

# Notifications are no step, and have workers too.
INGRESS = "INGRESS"

BEAT_SECONDS = 3
# Four beats missed: a machine under load skips one or two.
SILENT_SECONDS = 4 * BEAT_SECONDS
# The row of a dead worker says since when it is silent, for as long as anybody may ask about what it held.
_FORGET_SECONDS = 3600


def beat(connection: Connection, worker_id: str, functions: Sequence[str], *, threads: int, connected: bool) -> None:
    """The worker is alive and runs these steps, so many at once (INGRESS: takes notifications in).

    Clears away who died long ago.
    """
    connection.execute(
        text("""
            INSERT INTO workers (id, functions, threads, connected) VALUES (:id, :functions, :threads, :connected)
            ON CONFLICT (id) DO UPDATE
                SET functions = excluded.functions, threads = excluded.threads, connected = excluded.connected,
                    seen_at = now()
        """),
        {"id": worker_id, "functions": list(functions), "threads": threads, "connected": connected},
    )
    connection.execute(
        text("DELETE FROM workers WHERE seen_at < now() - :seconds * interval '1 second'"),
        {"seconds": _FORGET_SECONDS},
    )


def leave(connection: Connection, worker_id: str) -> None:
    """The worker ends."""
    connection.execute(text("DELETE FROM workers WHERE id = :id"), {"id": worker_id})
