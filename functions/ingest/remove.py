"""REMOVE: a document leaves, with everything that was made of it. A second run finds nothing, and is content."""

from __future__ import annotations

from common import removals
from common.context import Context
from common.errors import Retryable


def remove(ctx: Context) -> None:
    """Vectors first, rows last: while anything is left, the document's rows say so.

    Raises `Retryable` while Milvus still has a vector of it.
    """
    services, document_id = ctx.services, ctx.target.document_id
    services.index.delete_document(document_id)
    if left := services.index.count(document_id):
        raise Retryable(f"Milvus still holds {left:,} of the document's vectors.", code="VECTORS_LEFT")
    services.failpoints.reach("after_vectors", "REMOVE")
    with services.database.transaction() as connection:
        tasks = removals.task_ids(connection, document_id)
    for task_id in tasks:
        ctx.check_cancelled()
        services.objects.delete_prefix(f"artifacts/{task_id}/")
    with services.database.transaction() as connection:
        removals.forget(connection, document_id)
