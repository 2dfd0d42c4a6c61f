"""Tick: clear away what ended tasks left behind. The index holds the versions that show, and nothing else, in the end.

A version that was superseded, cancelled or failed may have left vectors; every task leaves its pin and artifacts. They
are not needed by anybody: search shows only the newest completed version, so there is no hurry.
"""

from __future__ import annotations

import structlog
from sqlalchemy import text

from common.services import Services

log = structlog.get_logger()

_AT_ONCE = 100


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
    if not left:
        return
    for row in left:
        services.index.delete_versions(row.document_id, [row.version])
        services.objects.delete_prefix(f"artifacts/{row.id}/")
    with services.database.transaction() as connection:
        connection.execute(
            text("UPDATE tasks SET tidied_at = now() WHERE id = ANY(:ids)"), {"ids": [row.id for row in left]}
        )
    log.info("tidy.done", tasks=len(left))
