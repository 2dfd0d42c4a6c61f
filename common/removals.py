"""Documents that leave: out of sight at once, and then everything of them, by a task that can be repeated.

All take an open transaction. What the task does is functions/ingest/erase.py and functions/ingest/remove.py; what ended
tasks leave behind later is functions/schedule/tidy.py's.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, text

from common import members, tasks
from common.erasing import KnownBytes
from common.errors import NotFound
from common.events import ObjectCreated, sequencer_at
from common.pipelines import Pipeline
from common.steps import StepRef


def begin(
    connection: Connection, document_ids: Sequence[str], pipeline: Pipeline, *, user_id: str, asked: bool
) -> list[StepRef]:
    """Hide the documents, end their tasks, and begin those that clear up; returns the messages to send.

    `asked`: by a person, so that their bytes leave the store too; those of their members, which follow them, always do.
    """
    ids = list(document_ids)
    ready = _begin(connection, ids, pipeline, user_id=user_id, asked=asked)
    while ids := members.of_these(connection, ids):
        ready += _begin(connection, ids, pipeline, user_id=user_id, asked=True)
    return ready


def _begin(
    connection: Connection, document_ids: Sequence[str], pipeline: Pipeline, *, user_id: str, asked: bool
) -> list[StepRef]:
    hidden = connection.execute(
        text("""
            UPDATE documents SET deleted_at = coalesce(deleted_at, now())
            WHERE id IN (SELECT id FROM documents WHERE id = ANY(:ids) ORDER BY id FOR UPDATE) RETURNING id
        """),
        {"ids": list(document_ids)},
    )
    ids = list(hidden.scalars())
    tasks.cancel(connection, open_tasks(connection, ids), code="DOCUMENT_DELETED", message="The document was deleted.")
    skipped = [step.name for step in pipeline.steps if step.when_asked and not asked]
    first = next(order for order, step in enumerate(pipeline.steps, start=1) if step.name not in skipped)
    begun = connection.execute(
        _BEGIN,
        {
            "ids": ids,
            "type": pipeline.name,
            "user": user_id,
            "names": [step.name for step in pipeline.steps],
            "weights": [step.weight for step in pipeline.steps],
            "skipped": skipped,
            "first": first,
        },
    )
    return [StepRef(*row) for row in begun if row.step_order == first]


# Foreign keys are checked when the statement ends, so the order of its parts does not matter.
_BEGIN = text("""
    WITH document AS MATERIALIZED (
        SELECT id, knowledge_base_id, gen_random_uuid()::text AS task, coalesce(
            (SELECT max(version) FROM document_versions WHERE document_id = documents.id), 1) AS version
        FROM documents WHERE id = ANY(:ids)),
    task AS (
        INSERT INTO tasks (id, type, document_id, version, knowledge_base_id, created_by, status, started_at)
        SELECT task, :type, id, version, knowledge_base_id, :user, 'RUNNING', now() FROM document)
    INSERT INTO task_details (task_id, step_order, step_name, lane, weight, status, progress, completed_at, ready_at)
    SELECT document.task, step.ordinality, step.name, document.knowledge_base_id, step.weight,
        CASE WHEN skipped THEN 'SKIPPED' ELSE 'PENDING' END, CASE WHEN skipped THEN 100 ELSE 0 END,
        CASE WHEN skipped THEN now() END, CASE WHEN step.ordinality = :first THEN now() END
    FROM document, unnest(:names ::text[], :weights ::int[]) WITH ORDINALITY AS step (name, weight, ordinality),
        LATERAL (SELECT step.name = ANY(:skipped ::text[]) AS skipped) AS what
    RETURNING task_id, step_order, step_name, batch, lane
""")


def ask(connection: Connection, document_id: str, pipeline: Pipeline, *, user_id: str) -> tuple[str, list[StepRef]]:
    """A person deletes the document: the task that does so, and the messages to send.

    Asked again while that task runs, it is the same; after a failure, a new one. Raises `NotFound` when all is gone.
    """
    found = connection.execute(
        text("SELECT deleted_at FROM documents WHERE id = :id FOR UPDATE"), {"id": document_id}
    ).one_or_none()
    if found is None:
        raise NotFound(f"There is no document {document_id!r}.")
    # One that an event began leaves bytes in the store, so it is not what is asked for.
    running = connection.execute(
        text("""
            SELECT id FROM tasks
            WHERE document_id = :id AND type = :type AND status IN ('PENDING', 'RUNNING')
                AND NOT EXISTS (SELECT 1 FROM task_details WHERE task_id = tasks.id AND status = 'SKIPPED')
            ORDER BY created_at DESC LIMIT 1
        """),
        {"id": document_id, "type": pipeline.name},
    ).scalar_one_or_none()
    if running is not None:
        return running, []
    ready = begin(connection, [document_id], pipeline, user_id=user_id, asked=True)
    return ready[0].task_id, ready


def follow(connection: Connection, event: ObjectCreated, pipeline: Pipeline) -> bool:
    """Whether these are the bytes of an upload that is being deleted, which nobody knew of then: they are so as well.

    What is put under the key once all is gone is another document; so is what is put there after a person has deleted
    the one that had arrived, or after somebody removed its object.
    """
    late = connection.execute(
        text("""
            SELECT id, user_id, deleted_at,
                EXISTS (SELECT FROM document_versions WHERE document_id = documents.id AND etag IS NOT NULL) AS arrived,
                EXISTS (
                    SELECT FROM tasks WHERE document_id = documents.id AND type = :type AND NOT EXISTS (
                        SELECT FROM task_details WHERE task_id = tasks.id AND status = 'SKIPPED')) AS asked
            FROM documents
            WHERE id = :id AND bucket_name = :bucket AND object_key = :key AND deleted_at IS NOT NULL
            FOR UPDATE
        """),
        {"id": event.key.split("/")[1], "bucket": event.bucket, "key": event.key, "type": pipeline.name},
    ).one_or_none()
    if late is None:
        return False
    if late.arrived:
        # What lay there when it was deleted is erased with it, and only its notification is late. Of stores whose
        # sequencers are no times this never holds, as those are greater.
        return bool(late.asked and event.sequencer < sequencer_at(late.deleted_at))
    begin(connection, [late.id], pipeline, user_id=late.user_id, asked=True)
    return True


def open_tasks(connection: Connection, document_ids: Sequence[str]) -> list[str]:
    """Tasks of these documents that have not ended, locked in one order."""
    rows = connection.execute(
        text("""
            SELECT id FROM tasks WHERE document_id = ANY(:ids) AND status IN ('PENDING', 'RUNNING')
            ORDER BY id FOR NO KEY UPDATE
        """),
        {"ids": list(document_ids)},
    )
    return list(rows.scalars())


def known_bytes(connection: Connection, document_id: str) -> KnownBytes | None:
    """What the document's versions know of the store; None when its rows are gone."""
    row = connection.execute(
        text("""
            SELECT document.bucket_name, document.object_key,
                array_remove(array_agg(version.etag), NULL) AS etags,
                array_remove(array_agg(version.store_version_id), NULL) AS version_ids,
                array_remove(array_agg(version.upload_id) FILTER (WHERE version.etag IS NULL), NULL) AS upload_ids,
                live.id IS NOT NULL AS live,
                (SELECT array_agg(store_version_id) FROM document_versions WHERE document_id = live.id) AS others
            FROM documents AS document
                LEFT JOIN document_versions AS version ON version.document_id = document.id
                LEFT JOIN documents AS live ON live.deleted_at IS NULL
                    AND (live.bucket_name, live.object_key) = (document.bucket_name, document.object_key)
            WHERE document.id = :id AND document.deleted_at IS NOT NULL
            GROUP BY document.id, live.id
        """),
        {"id": document_id},
    ).one_or_none()
    if row is None:
        return None
    return KnownBytes(
        bucket=row.bucket_name,
        key=row.object_key,
        etags=frozenset(row.etags),
        version_ids=frozenset(row.version_ids) - frozenset(row.others or ()),
        upload_ids=frozenset(row.upload_ids or ()),
        live=row.live,
        announced=row.object_key.startswith(f"incoming/{document_id}/")
        or members.parent_of(row.object_key) is not None,
    )


def task_ids(connection: Connection, document_id: str) -> list[str]:
    """All tasks that ever worked for the document."""
    return list(connection.execute(text("SELECT id FROM tasks WHERE document_id = :id"), {"id": document_id}).scalars())


def forget(connection: Connection, document_id: str) -> None:
    """Delete the rows of a document whose vectors and artifacts are gone, and its text in those of its tasks.

    The tasks stay: they say what was done. So does the document while another removal is still to take its bytes, which
    only these rows know; that one comes here in its turn.
    """
    connection.execute(text("SELECT 1 FROM documents WHERE id = :id FOR UPDATE"), {"id": document_id})
    connection.execute(
        text("""
            UPDATE task_details SET output = NULL, output_key = NULL, output_cuts = NULL
            WHERE (output IS NOT NULL OR output_key IS NOT NULL)
                AND task_id IN (SELECT id FROM tasks WHERE document_id = :id)
        """),
        {"id": document_id},
    )
    connection.execute(
        text("""
            DELETE FROM documents WHERE id = :id AND deleted_at IS NOT NULL AND NOT EXISTS (
                SELECT FROM tasks JOIN task_details AS step ON step.task_id = tasks.id
                WHERE tasks.document_id = :id AND tasks.status = 'RUNNING'
                    AND step.step_name = 'ERASE' AND step.status IN ('PENDING', 'RUNNING'))
        """),
        {"id": document_id},
    )
