"""What mends a difference: never another way than the one by which it should have been right."""

from __future__ import annotations

from sqlalchemy import Connection, text

from common import documents, removals
from common.errors import Conflict, NotFound
from common.pipelines import Pipeline


def renew(connection: Connection, document_id: str, pipeline: Pipeline) -> bool:
    """Process the document again; what it shows now, it shows until that is done.

    False: it was deleted meanwhile; or its newest version has failed, and is other bytes than those that it shows: to
    process it again is to process those.
    """
    found = connection.execute(
        text("""
            SELECT document.user_id, newest.etag = showing.etag AS mends
            FROM documents AS document
                CROSS JOIN LATERAL (
                    SELECT etag FROM document_versions WHERE document_id = document.id
                    ORDER BY version DESC LIMIT 1) AS newest
                LEFT JOIN LATERAL (
                    SELECT etag FROM document_versions AS version
                        JOIN tasks AS task ON task.id = version.task_id AND task.status = 'COMPLETED'
                    WHERE version.document_id = document.id ORDER BY version.version DESC LIMIT 1) AS showing ON true
            WHERE document.id = :id
        """),
        {"id": document_id},
    ).one_or_none()
    if found is None or found.mends is False:
        return False
    try:
        documents.reprocess(connection, document_id, pipeline, user_id=found.user_id or documents.ADMIN_USER)
    except (NotFound, Conflict):
        return False
    return True  # nobody waits for it: the relay sends its message


def remove_again(connection: Connection, document_id: str, removal: Pipeline, *, user_id: str, asked: bool) -> None:
    """Begin once more to delete what is out of sight already."""
    removals.begin(connection, [document_id], removal, user_id=user_id, asked=asked)
