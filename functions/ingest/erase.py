"""ERASE: a document's bytes leave the store. A second run finds nothing, and is content."""

from __future__ import annotations

from common import erasing, removals
from common.context import Context


def erase(ctx: Context) -> None:
    """The object, its versions, and what a multipart upload left. Notes how many; `left` says why one stays."""
    with ctx.services.database.transaction() as connection:
        known = removals.known_bytes(connection, ctx.target.document_id)
    if known is None:  # REMOVE has been here
        return
    ctx.check_cancelled()
    ctx.note(**erasing.erase(ctx.services.objects, known, check=ctx.check_cancelled))
