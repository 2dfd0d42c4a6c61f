"""Tick: clear away what ended tasks left behind. The index holds the versions that show, and nothing else, in the end.

A version that was superseded, cancelled or failed may have left vectors; every task leaves its pin and artifacts. They
are not needed by anybody: search shows only the newest completed version, so there is no hurry.
"""

from __future__ import annotations

import random
from typing import Any

import structlog
from sqlalchemy import Row, text

from common.errors import Unavailable
from common.services import Services

log = structlog.get_logger()

_AT_ONCE = 100
# Then a server is away, and the rest would only wait for it too.
_MOST_REFUSALS = 3


def tidy(services: Services) -> None:
    """Vectors of versions that do not show any more, and artifacts of all ended tasks but the one that shows."""
    with services.database.transaction() as connection:
        left = connection.execute(
            text("""
                SELECT task.id, task.document_id, task.version
                FROM tasks AS task
                WHERE task.tidied_at IS NULL AND task.completed_at < now() - :grace * interval '1 second'
                    AND (task.status = 'CANCELLED'
                         OR task.status IN ('COMPLETED', 'FAILED') AND EXISTS (
                             SELECT 1 FROM tasks AS newer
                             WHERE newer.document_id = task.document_id AND newer.status = 'COMPLETED'
                                 AND (newer.version > task.version OR newer.type = 'DOCUMENT_DELETE')))
                ORDER BY task.completed_at LIMIT :limit
            """),
            # A run that lost its lease may write for a while yet.
            {"grace": services.settings.lease_seconds, "limit": _AT_ONCE},
        ).all()
    refusals = 0
    # In any order: one that is refused for ever must not stand before all others.
    for row in random.sample(left, len(left)):
        try:
            _clear(services, row)
        except Unavailable as error:
            refusals += 1
            log.warning("tidy.put_off", task=row.id, reason=error.message)
            if refusals == _MOST_REFUSALS:
                raise
    if left:
        log.info("tidy.done", tasks=len(left) - refusals)


def _clear(services: Services, task: Row[Any]) -> None:
    services.index.delete_versions(task.document_id, [task.version])
    services.objects.delete_prefix(f"artifacts/{task.id}/")
    with services.database.transaction() as connection:
        connection.execute(text("UPDATE tasks SET tidied_at = now() WHERE id = :id"), {"id": task.id})
