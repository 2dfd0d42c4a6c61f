"""What does not agree, from the tables of `inventory.py`, a page at a time; and the same asked again of a few.

The tables are as old as the listing, and work has gone on: what they say is only suspected. Each kind has a statement
of its own for what is so now, and nothing is reported or repaired that it does not confirm.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, text

# Subjects that are asked about again at once: Milvus Lite looks through all its rows for each question.
_PAGE = 100

Version = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Lost:
    """An object that a row names and the listing lacks. `step`: whose artifact it is; None: a document's own."""

    document_id: str
    bucket: str
    key: str
    task_id: str
    step: str | None


@dataclass(frozen=True, slots=True)
class Stray:
    """Objects under `artifacts/<task_id>/`. `trimmed`: the task's other artifacts are still read."""

    task_id: str
    objects: int
    trimmed: bool


# One row a document: the version that search shows (see common/documents.py), and how many vectors STORE wrote for it.
_SHOWING = """
    SELECT DISTINCT ON (document.id) document.id AS document_id, version.version, task.id AS task_id, task.completed_at,
        (SELECT (details ->> 'vectors')::bigint FROM task_details
         WHERE (task_id, step_name, batch) = (task.id, 'STORE', 0)) AS expected,
        EXISTS (SELECT FROM tasks AS newer
                WHERE newer.document_id = document.id AND newer.version > version.version
                    AND newer.status = 'RUNNING') AS renewed
    FROM documents AS document
        JOIN document_versions AS version ON version.document_id = document.id
        JOIN tasks AS task ON task.id = version.task_id AND task.status = 'COMPLETED'
    WHERE document.deleted_at IS NULL {only}
    ORDER BY document.id, version.version DESC
"""


def suspected_vectors(connection: Connection) -> Iterator[list[Version]]:
    """Showing versions of which the index seemed to hold less or more than STORE wrote."""
    return _pages(
        connection,
        f"""
        WITH showing AS ({_SHOWING.format(only="")}),
        found AS (
            SELECT document_id, version, sum(count) AS count, max(last) AS last FROM listed_vectors GROUP BY 1, 2)
        SELECT document_id, version
        FROM showing LEFT JOIN found USING (document_id, version)
        -- What was completed after the transaction began may not have been listed.
        WHERE completed_at < now() AND (coalesce(count, 0) < expected AND NOT renewed OR last >= expected)
        """,  # noqa: S608 - of constants in this file
    )


def expected_vectors(connection: Connection, versions: Collection[Version]) -> dict[Version, tuple[int, bool]]:
    """Of those of the versions that show now: how many vectors there should be, and whether a newer is being made."""
    rows = connection.execute(
        text(f"""
            WITH showing AS ({_SHOWING.format(only="AND document.id = ANY(:documents)")})
            SELECT * FROM showing WHERE expected IS NOT NULL
        """),  # noqa: S608 - of constants in this file
        {"documents": [document for document, _ in versions]},
    )
    found = {(row.document_id, row.version): (row.expected, row.renewed) for row in rows}
    return {version: found[version] for version in versions if version in found}


# A task that has not been tidied accounts for its vectors: it runs, or shows, or can be retried, or is still to be
# tidied. So does a removal, until it is over for a while. A document without rows has neither, and never will.
_UNACCOUNTED = """
    NOT EXISTS (
        SELECT FROM tasks
        WHERE tasks.document_id = found.document_id
            AND (tasks.type = 'DOCUMENT_DELETE'
                    AND coalesce(tasks.completed_at > now() - :grace * interval '1 second', true)
                 OR tasks.type <> 'DOCUMENT_DELETE' AND tasks.version = found.version
                    AND coalesce(tasks.tidied_at > now() - :grace * interval '1 second', true)))
    AND NOT EXISTS (SELECT FROM documents WHERE id = found.document_id AND deleted_at IS NOT NULL)
"""


def suspected_orphans(connection: Connection, *, grace_seconds: float) -> Iterator[list[Version]]:
    """Versions of which the index held vectors that nothing accounted for."""
    return _pages(
        connection,
        f"SELECT DISTINCT document_id, version FROM listed_vectors AS found WHERE {_UNACCOUNTED}",  # noqa: S608 - of constants in this file
        grace=grace_seconds,
    )


def orphans(connection: Connection, versions: Sequence[Version], *, grace_seconds: float) -> list[Version]:
    """Those that nothing accounts for now, nor before the transaction ends: no version of their documents begins."""
    given = {"documents": [document for document, _ in versions], "versions": [number for _, number in versions]}
    connection.execute(
        text("SELECT FROM documents WHERE id = ANY(:documents) ORDER BY id FOR KEY SHARE"),
        {"documents": given["documents"]},
    )
    rows = connection.execute(
        text(f"""
            SELECT document_id, version FROM unnest(:documents ::text[], :versions ::int[])
                AS found (document_id, version)
            WHERE {_UNACCOUNTED}
        """),  # noqa: S608 - of constants in this file
        {**given, "grace": grace_seconds},
    )
    return [(row.document_id, row.version) for row in rows]


# Nobody takes these up again: a retry is refused once a task is tidied, and a completed one is never run again.
_STRAY = """
    object.key LIKE 'artifacts/_%/%' AND object.modified < now() - :grace * interval '1 second'
    AND (task.id IS NULL OR task.tidied_at < now() - :grace * interval '1 second'
         OR task.trimmed_at < now() - :grace * interval '1 second' AND NOT EXISTS (
             SELECT FROM task_details WHERE task_id = task.id AND output_key = object.key))
"""


def strays(connection: Connection, bucket: str, *, grace_seconds: float) -> Iterator[list[Stray]]:
    """Artifacts that nobody needs, by task. Nothing can make them needed again, so they are not suspected but found."""
    pages = _rows(
        connection,
        f"""
        SELECT split_part(object.key, '/', 2) AS task_id, count(*) AS objects,
            bool_or(task.trimmed_at IS NOT NULL AND task.tidied_at IS NULL) AS trimmed
        FROM listed_objects AS object LEFT JOIN tasks AS task ON task.id = split_part(object.key, '/', 2)
        WHERE object.bucket = :bucket AND {_STRAY} GROUP BY 1
        """,  # noqa: S608 - of constants in this file
        {"bucket": bucket, "grace": grace_seconds},
    )
    return ([Stray(row.task_id, row.objects, row.trimmed) for row in page] for page in pages)


# A task that is to go on needs what its steps made; one that shows, what is read of it (common/contents.py). A document
# of which a newer version is being made is mended when that is done.
_NEEDED = """
    SELECT task.document_id, :bucket AS bucket, step.output_key AS key, task.id AS task_id, step.step_name AS step
    FROM task_details AS step
        JOIN tasks AS task ON task.id = step.task_id
        JOIN documents AS document ON document.id = task.document_id AND document.deleted_at IS NULL
    WHERE step.output_key IS NOT NULL AND task.tidied_at IS NULL
        AND (task.status IN ('RUNNING', 'FAILED')
             OR task.status = 'COMPLETED' AND task.completed_at IS NOT NULL AND step.step_name = ANY(:read))
        AND NOT EXISTS (SELECT FROM tasks AS newer
                        WHERE newer.document_id = task.document_id AND newer.version > task.version
                            AND newer.status IN ('RUNNING', 'COMPLETED'))
"""


def suspected_artifacts(connection: Connection, bucket: str, *, read: Sequence[str]) -> Iterator[list[Lost]]:
    """Artifacts that rows name, that are still needed, and that the listing lacked."""
    pages = _rows(
        connection,
        f"""
        SELECT needed.* FROM ({_NEEDED}) AS needed LEFT JOIN listed_objects AS listed USING (bucket, key)
        WHERE listed.key IS NULL
        """,  # noqa: S608 - of constants in this file
        {"bucket": bucket, "read": list(read)},
    )
    return ([_lost(row) for row in page] for page in pages)


def needed(connection: Connection, lost: Sequence[Lost], *, read: Sequence[str]) -> list[Lost]:
    """Those of them that are needed now."""
    if not lost:
        return []
    rows = connection.execute(
        text(f"{_NEEDED} AND step.task_id = ANY(:tasks)"),
        {"bucket": lost[0].bucket, "read": list(read), "tasks": [one.task_id for one in lost]},
    )
    now = set(map(_lost, rows))
    return [one for one in lost if one in now]


_ARRIVED = """
    SELECT document.id AS document_id, document.bucket_name AS bucket, document.object_key AS key, '' AS task_id,
        NULL AS step
    FROM documents AS document
    WHERE document.deleted_at IS NULL
        AND EXISTS (SELECT FROM document_versions WHERE document_id = document.id AND etag IS NOT NULL)
"""


def suspected_documents(connection: Connection) -> Iterator[list[Lost]]:
    """Documents that show, that have once arrived, and whose object the listing lacked."""
    pages = _rows(
        connection,
        f"""
        SELECT arrived.* FROM ({_ARRIVED}) AS arrived LEFT JOIN listed_objects AS listed USING (bucket, key)
        WHERE listed.key IS NULL
        """,  # noqa: S608 - of constants in this file
        {},
    )
    return ([_lost(row) for row in page] for page in pages)


def live(connection: Connection, lost: Sequence[Lost]) -> list[Lost]:
    """Those of the documents that are not deleted by now."""
    rows = connection.execute(
        text(f"{_ARRIVED} AND document.id = ANY(:documents)"), {"documents": [one.document_id for one in lost]}
    )
    now = set(map(_lost, rows))
    return [one for one in lost if one in now]


def count_suspected(connection: Connection) -> tuple[int, int]:
    """How many documents these are, and of how many."""
    row = connection.execute(
        text(f"""
            SELECT count(*) FILTER (WHERE listed.key IS NULL) AS suspected, count(*) AS arrived
            FROM ({_ARRIVED}) AS arrived LEFT JOIN listed_objects AS listed USING (bucket, key)
        """)  # noqa: S608 - of constants in this file
    ).one()
    return row.suspected, row.arrived


_UNFINISHED = """
    SELECT document.id, document.user_id, coalesce((
        SELECT bool_or(NOT EXISTS (SELECT FROM task_details WHERE task_id = task.id AND status = 'SKIPPED'))
        FROM tasks AS task WHERE task.document_id = document.id AND task.type = 'DOCUMENT_DELETE'), false) AS asked
    FROM documents AS document
    WHERE document.deleted_at < now() - :grace * interval '1 second' AND NOT EXISTS (
        SELECT FROM tasks AS task
        WHERE task.document_id = document.id AND task.type = 'DOCUMENT_DELETE'
            AND coalesce(task.completed_at > now() - :grace * interval '1 second', true))
"""


def suspected_removals(connection: Connection, *, grace_seconds: float) -> Iterator[list[str]]:
    """Documents that were deleted and that no task deleted any more."""
    return ([row.id for row in page] for page in _rows(connection, _UNFINISHED, {"grace": grace_seconds}))


def unfinished_removal(connection: Connection, document_id: str, *, grace_seconds: float) -> Row[Any] | None:
    """Of one of these that is so now, until the transaction ends: its user, and whether a person `asked` for it."""
    connection.execute(text("SELECT FROM documents WHERE id = :id FOR UPDATE"), {"id": document_id})
    return connection.execute(
        text(f"{_UNFINISHED} AND document.id = :id"), {"id": document_id, "grace": grace_seconds}
    ).one_or_none()


def count_documents(connection: Connection) -> int:
    found = connection.execute(text("SELECT count(*) FROM documents WHERE deleted_at IS NULL"))
    return int(found.scalar_one())


def _lost(row: Row[Any]) -> Lost:
    return Lost(row.document_id, row.bucket, row.key, row.task_id, row.step)


def _pages(connection: Connection, statement: str, **values: Any) -> Iterator[list[Version]]:
    return ([(row.document_id, row.version) for row in page] for page in _rows(connection, statement, values))


def _rows(connection: Connection, statement: str, values: Mapping[str, Any]) -> Iterator[Sequence[Row[Any]]]:
    """The rows as they come, a page in memory: all documents may be among them."""
    options = {"stream_results": True, "yield_per": _PAGE}
    yield from connection.execute(text(statement), values, execution_options=options).partitions()
