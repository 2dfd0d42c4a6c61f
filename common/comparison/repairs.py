"""What mends a difference: never another way than the one by which it should have been right."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, text

from common import documents, removals
from common.errors import Conflict, NotFound
from common.pipelines import Pipeline


def renew(connection: Connection, document_id: str, pipeline: Pipeline) -> bool:
    """Process the document again; what it shows now, it shows until that is done. False: it was deleted meanwhile."""
    owner = connection.execute(
        text("SELECT user_id FROM documents WHERE id = :id"), {"id": document_id}
    ).scalar_one_or_none()
    try:
        documents.reprocess(connection, document_id, pipeline, user_id=owner or documents.ADMIN_USER)
    except (NotFound, Conflict):
        return False
    return True  # nobody waits for it: the relay sends its message


def remove_again(
    connection: Connection, document_ids: Sequence[str], removal: Pipeline, *, user_id: str, asked: bool
) -> None:
    """Begin once more to delete what is out of sight already."""
    removals.begin(connection, document_ids, removal, user_id=user_id, asked=asked)
