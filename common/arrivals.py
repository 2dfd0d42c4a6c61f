"""Many events at once, as when thousands of objects are dropped: those that are known, and drops at fresh keys.

What these two are not is for common/documents.py, one at a time. All take an open transaction.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from pathlib import PurePosixPath

from sqlalchemy import Connection, text

from common import members
from common.bindings import OF_KEY
from common.documents import ADMIN_USER, DEFAULT_KNOWLEDGE_BASE
from common.events import ObjectCreated, ObjectEvent
from common.pipelines import Pipeline
from common.steps import StepRef, as_json


def known(connection: Connection, events: Sequence[ObjectEvent]) -> set[int]:
    """Those of the events, by their place, that are no news, as common/event_log.py decides it, but without a lock:
    what is told twice is not worth one."""
    rows = connection.execute(
        text("""
            SELECT given.number
            FROM unnest(:buckets ::text[], :keys ::text[], :sequencers ::text[], :etags ::text[])
                    WITH ORDINALITY AS given (bucket, key, sequencer, etag, number)
                JOIN events_seen AS seen ON (seen.bucket_name, seen.object_key) = (given.bucket, given.key)
            WHERE seen.sequencer >= given.sequencer
                OR given.sequencer <= seen.until AND given.etag IS NOT DISTINCT FROM seen.etag
        """),
        {
            "buckets": [event.bucket for event in events],
            "keys": [event.key for event in events],
            "sequencers": [event.sequencer for event in events],
            "etags": [getattr(event, "etag", None) for event in events],
        },
    )
    return {number - 1 for number in rows.scalars()}


def drop(connection: Connection, events: Sequence[ObjectCreated], pipeline: Pipeline) -> dict[int, StepRef]:
    """Documents for objects at keys of which nothing was ever heard, their tasks begun: the steps that are ready, by
    the event's place. One statement makes all of them. Each key may be among the events once.

    Raises IntegrityError if one of the keys is taken in the same moment.
    """
    first = next(order for order, step in enumerate(pipeline.steps, start=1) if step.function)
    files = [
        {
            "number": number,
            "document": str(uuid.uuid4()),
            "task": str(uuid.uuid4()),
            "bucket": event.bucket,
            "key": event.key,
            "name": PurePosixPath(event.key).name or event.key,
            "parent": members.parent_of(event.key),
            "path": members.path_of(event.key),
            "sequencer": event.sequencer,
            "etag": event.etag,
            "size": event.size,
            "content_type": event.content_type,
            "store_version": event.version_id,
        }
        for number, event in enumerate(events)
    ]
    taken = connection.execute(
        _DROP,
        {
            "files": as_json({"files": files}),
            "base": DEFAULT_KNOWLEDGE_BASE,
            "owner": ADMIN_USER,
            "type": pipeline.name,
            "names": [step.name for step in pipeline.steps],
            "weights": [step.weight for step in pipeline.steps],
            "first": first,
        },
    )
    name = pipeline.steps[first - 1].name
    return {row.number: StepRef(row.task, first, name, 0, row.base) for row in taken}


# Foreign keys are checked when the statement ends, so the order of its parts does not matter. Keys are locked in their
# order, so that two who drop some of the same do not wait for each other in a circle.
_DROP = text(f"""
    WITH file AS MATERIALIZED (
        SELECT * FROM jsonb_to_recordset(:files ::jsonb -> 'files') AS file (
            number int, document text, task text, bucket text, key text, name text, parent text, path text,
            sequencer text, etag text, size bigint, content_type text, store_version text)),
    parent AS MATERIALIZED (
        SELECT id, bucket_name, user_id, knowledge_base_id FROM documents
        WHERE id IN (SELECT parent FROM file) AND deleted_at IS NULL ORDER BY id FOR SHARE),
    fresh AS MATERIALIZED (
        SELECT file.*, coalesce(parent.knowledge_base_id, bound.knowledge_base_id, :base) AS base,
            coalesce(parent.user_id, bound.user_id, :owner) AS owner
        FROM file LEFT JOIN parent ON (parent.id, parent.bucket_name) = (file.parent, file.bucket)
            LEFT JOIN LATERAL ({OF_KEY.format(bucket="file.bucket", key="file.key")}) AS bound ON true
        -- A member whose parent is not there is for common/documents.py.
        WHERE (file.parent IS NULL OR parent.id IS NOT NULL) AND NOT EXISTS (
                SELECT FROM documents
                WHERE (bucket_name, object_key) = (file.bucket, file.key) AND deleted_at IS NULL)
            -- Announced once, and not there any more: its tasks know whose it is.
            AND NOT EXISTS (SELECT FROM tasks WHERE document_id = split_part(file.key, '/', 2))
        ORDER BY bucket, key),
    seen AS (
        INSERT INTO events_seen (bucket_name, object_key, sequencer, etag)
        SELECT bucket, key, sequencer, etag FROM fresh
        ON CONFLICT DO NOTHING RETURNING bucket_name, object_key),
    taken AS MATERIALIZED (
        SELECT fresh.* FROM fresh JOIN seen ON (bucket_name, object_key) = (bucket, key)),
    document AS (
        INSERT INTO documents (id, name, bucket_name, object_key, knowledge_base_id, user_id, parent_id, metadata)
        SELECT document, name, bucket, key, base, owner, parent,
            CASE WHEN parent IS NULL THEN '{{}}' ELSE jsonb_build_object('path', path) END FROM taken),
    version AS (
        INSERT INTO document_versions
            (document_id, version, task_id, file_size, content_type, etag, store_version_id)
        SELECT document, 1, task, size, content_type, etag, store_version FROM taken),
    task AS (
        INSERT INTO tasks (id, type, document_id, version, knowledge_base_id, created_by, status, started_at)
        SELECT task, :type, document, 1, base, owner, 'RUNNING', now() FROM taken),
    step AS (
        INSERT INTO task_details (task_id, step_order, step_name, lane, weight, status, progress, details,
            started_at, completed_at, ready_at)
        SELECT taken.task, step.ordinality, step.name, taken.base, step.weight,
            CASE WHEN done THEN 'COMPLETED' ELSE 'PENDING' END, CASE WHEN done THEN 100 ELSE 0 END,
            CASE WHEN done THEN jsonb_build_object('size', taken.size, 'etag', taken.etag) ELSE '{{}}' END,
            CASE WHEN done THEN now() END, CASE WHEN done THEN now() END,
            CASE WHEN step.ordinality = :first THEN now() END
        FROM taken, unnest(:names ::text[], :weights ::int[]) WITH ORDINALITY AS step (name, weight, ordinality),
            LATERAL (SELECT step.ordinality < :first AS done) AS what)
    SELECT number, task, base FROM taken
""")  # noqa: S608 - of a constant
