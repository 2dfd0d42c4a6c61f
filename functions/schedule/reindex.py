"""Tick: documents of bases that are re-indexed are processed again, a bounded number of them at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import structlog
from sqlalchemy import Connection

from common import documents, reindexing
from common.errors import Conflict, NotFound
from common.pipelines import Pipeline
from common.reindexing import Marked
from common.services import Services

log = structlog.get_logger()


def reindex(services: Services, pipeline: Pipeline) -> None:
    """Begin what there is room for, the relay sends the messages. Collections that nothing shows of any more go."""
    with services.database.transaction() as connection:
        marked = reindexing.marked(connection)
    for one in marked:
        _base(services, pipeline, one)
    if others := services.index.others():
        _change_over(services, pipeline, others)


def _base(services: Services, pipeline: Pipeline, marked: Marked) -> None:
    with services.database.transaction() as connection:
        room = services.settings.reindex_documents - reindexing.count_open(connection, marked.base_id)
        due = reindexing.due(connection, marked.base_id, limit=max(room, 0))
    begun = _begin(services, pipeline, ((document, marked.owner_id) for document in due), reindexing.is_due)
    if begun:
        log.info("knowledge_base.reindexing", knowledge_base=marked.base_id, documents=begun)
    elif room > 0:
        with services.database.transaction() as connection:
            finished = reindexing.finish(connection, marked)
        if finished:
            log.info("knowledge_base.reindexed", knowledge_base=marked.base_id)


def _begin(
    services: Services,
    pipeline: Pipeline,
    wanted: Iterable[tuple[str, str]],
    still: Callable[[Connection, str], bool] = lambda *_: True,
) -> int:
    """Each in a transaction of its own, so that whoever is ended here has lost nothing."""
    begun = 0
    for document_id, owner_id in wanted:
        with services.database.transaction() as connection:
            if not still(connection, document_id):
                continue
            try:
                documents.reprocess(connection, document_id, pipeline, user_id=owner_id)
            except (NotFound, Conflict):  # deleted meanwhile
                continue
        services.failpoints.reach("after_reprocess", "REINDEX")
        begun += 1
    return begun


def _change_over(services: Services, pipeline: Pipeline, others: Iterable[str]) -> None:
    """Until every version that shows is in the collection of the present model."""
    index = services.index
    with services.database.transaction() as connection:
        noted = reindexing.current(connection)
        if noted is None or noted.collection != index.name:
            log.warning("index.outdated", collection=index.name, wanted=noted.collection if noted else None)
            return
        room = services.settings.reindex_documents - reindexing.count_open(connection)
        strayed = reindexing.strayed(connection, index.name, limit=max(room, 0))
    _begin(services, pipeline, strayed)
    for name in others:
        with services.database.transaction() as connection:
            if reindexing.is_needed(connection, name, first=services.settings.collection):
                continue
            reindexing.forget(connection, name)
        index.drop(name)
        log.info("index.dropped", collection=name)
