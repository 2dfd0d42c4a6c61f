"""Tick: documents of knowledge bases that were deleted follow them: the rest of large ones, and late uploads."""

from __future__ import annotations

import structlog

from common import knowledge_bases
from common.pipelines import Pipeline
from common.services import Services

log = structlog.get_logger()


def empty(services: Services, pipeline: Pipeline) -> None:
    """Begin to delete what is left in them, so many documents a base and tick; the relay sends the messages."""
    with services.database.transaction() as connection:
        for base_id, owner_id in knowledge_bases.to_empty(connection).items():
            begun = knowledge_bases.empty(connection, base_id, pipeline, user_id=owner_id)
            log.info("knowledge_base.emptied", knowledge_base=base_id, documents=len(begun))
