"""A document leaves: everything that was made of it is deleted. A second run finds nothing, and is content."""

from __future__ import annotations

from common.context import Context


def remove(ctx: Context) -> None:
    ctx.services.index.delete_document(ctx.target.document_id)
