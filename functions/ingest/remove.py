"""REMOVE: a document leaves, with everything that was made of it. A second run finds nothing, and is content."""

from __future__ import annotations

from common import documents
from common.context import Context


def remove(ctx: Context) -> None:
    """Vectors first, rows last: while anything is left, the document's rows say so."""
    services, document_id = ctx.services, ctx.target.document_id
    services.index.delete_document(document_id)
    with services.database.transaction() as connection:
        tasks = documents.task_ids(connection, document_id)
    for task_id in tasks:
        ctx.check_cancelled()
        services.objects.delete_prefix(f"artifacts/{task_id}/")
    with services.database.transaction() as connection:
        documents.forget(connection, document_id)
