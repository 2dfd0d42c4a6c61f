"""Documents that are processed again: after their base's chunking, or the model, was changed.

A base that is to be re-indexed says since when: every version that is older is due. Each document is processed again as
one that a person asks for, so it shows what it did until that is done; and since its version is then a younger one,
whoever is broken off goes on where it was. Which collection is written, of those that the index has, is noted here as
well: the last that `brigade migrate` has made. All take an open transaction.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, text

_NEWEST = """
    FROM documents AS document
        JOIN knowledge_bases AS home ON home.id = document.knowledge_base_id AND home.deleted_at IS NULL
        JOIN LATERAL (
            SELECT version, created_at, task_id FROM document_versions
            -- What was only announced has nothing to process.
            WHERE document_id = document.id AND etag IS NOT NULL ORDER BY version DESC LIMIT 1) AS newest ON true
        JOIN tasks AS task ON task.id = newest.task_id
"""
_OPEN = "task.status IN ('PENDING', 'RUNNING')"
_DUE = f"document.deleted_at IS NULL AND newest.created_at < home.reindex_before AND NOT {_OPEN}"
# Of `base`: those that are due, or will be when they have ended, and those that are being processed again.
REMAINING = f"""
    SELECT count(*) {_NEWEST}
    WHERE home.id = {{base}} AND document.deleted_at IS NULL
        AND (newest.created_at < home.reindex_before OR newest.version > 1 AND {_OPEN})
"""
_COLLECTION = """
    (SELECT details ->> 'collection' FROM task_details
     WHERE (task_id, step_name, batch) = (task.id, 'STORE', 0))
"""


@dataclass(frozen=True, slots=True)
class Marked:
    """A base whose versions from `before` then are due."""

    base_id: str
    owner_id: str
    before: datetime


def mark(connection: Connection, base_id: str | None = None) -> int:
    """All documents of the base are due, or None: of all bases; those that are being processed again too. How many
    bases."""
    marked = connection.execute(
        text("""
            UPDATE knowledge_bases SET reindex_before = now()
            WHERE deleted_at IS NULL AND (CAST(:id AS text) IS NULL OR id = :id)
        """),
        {"id": base_id},
    )
    return marked.rowcount


def marked(connection: Connection) -> list[Marked]:
    rows = connection.execute(
        text("""
            SELECT id, owner_id, reindex_before FROM knowledge_bases
            WHERE reindex_before IS NOT NULL AND deleted_at IS NULL ORDER BY reindex_before, id
        """)
    )
    return [Marked(*row) for row in rows]


def count_open(connection: Connection, base_id: str | None = None) -> int:
    """How many documents of the base, or of all, are being processed for another time."""
    found = connection.execute(
        text("""
            SELECT count(*) FROM tasks
            WHERE completed_at IS NULL AND type = 'DOCUMENT_UPLOAD' AND version > 1
                AND (CAST(:id AS text) IS NULL OR knowledge_base_id = :id)
        """),
        {"id": base_id},
    )
    return int(found.scalar_one())


def due(connection: Connection, base_id: str, *, limit: int) -> list[str]:
    """Documents of the base that are to be processed again, the oldest first."""
    rows = connection.execute(
        text(f"""
            SELECT document.id {_NEWEST} WHERE home.id = :base AND {_DUE}
            ORDER BY document.created_at, document.id LIMIT :limit
        """),
        {"base": base_id, "limit": limit},
    )
    return list(rows.scalars())


def is_due(connection: Connection, document_id: str) -> bool:
    """Whether it still is, until the transaction ends."""
    connection.execute(text("SELECT FROM documents WHERE id = :id FOR UPDATE"), {"id": document_id})
    found = connection.execute(
        text(f"SELECT 1 {_NEWEST} WHERE document.id = :id AND {_DUE}"),
        {"id": document_id},
    )
    return found.first() is not None


def finish(connection: Connection, done: Marked) -> bool:
    """The base is no more to be re-indexed, if nothing of it remains and nobody has asked for it again."""
    finished = connection.execute(
        text(f"""
            UPDATE knowledge_bases AS marked SET reindex_before = NULL
            WHERE id = :id AND reindex_before = :before AND ({REMAINING.format(base=":id")}) = 0
        """),  # noqa: S608 - of constants in this file
        {"id": done.base_id, "before": done.before},
    )
    return bool(finished.rowcount)


# The collections of the index: common/index knows what is there, Postgres which one is to be written.


@dataclass(frozen=True, slots=True)
class Noted:
    """`model`: its name; `fingerprint`: what tells it from others, whatever the schema of the collection."""

    collection: str
    model: str
    fingerprint: str


def current(connection: Connection) -> Noted | None:
    """The collection that is written."""
    row = connection.execute(
        text("SELECT name, model, fingerprint FROM collections ORDER BY made_at DESC LIMIT 1")
    ).one_or_none()
    return None if row is None else Noted(*row)


def note(connection: Connection, made: Noted) -> None:
    """From now on this one is written."""
    connection.execute(
        text("""
            INSERT INTO collections (name, model, fingerprint, made_at)
            VALUES (:name, :model, :fingerprint, clock_timestamp())
            ON CONFLICT (name) DO UPDATE SET model = excluded.model, made_at = excluded.made_at
        """),
        {"name": made.collection, "model": made.model, "fingerprint": made.fingerprint},
    )


def forget(connection: Connection, collection: str) -> None:
    """It is gone."""
    connection.execute(text("DELETE FROM collections WHERE name = :name"), {"name": collection})


def strayed(connection: Connection, collection: str, *, limit: int) -> list[tuple[str, str]]:
    """Documents of which a worker that had not heard of this collection yet has put the newest version into another;
    each with its base's owner. Those of bases that are being re-indexed have time."""
    rows = connection.execute(
        text(f"""
            SELECT document.id, home.owner_id {_NEWEST}
            WHERE document.deleted_at IS NULL AND home.reindex_before IS NULL AND task.status = 'COMPLETED'
                AND {_COLLECTION} IS DISTINCT FROM :collection LIMIT :limit
        """),  # noqa: S608 - of constants in this file
        {"collection": collection, "limit": limit},
    )
    return [(row.id, row.owner_id) for row in rows]


def is_needed(connection: Connection, collection: str, *, first: str) -> bool:
    """Whether a version that shows has its vectors in this collection. `first`: the one of versions that name none."""
    found = connection.execute(
        text(f"""
            SELECT EXISTS (SELECT FROM knowledge_bases WHERE reindex_before IS NOT NULL AND deleted_at IS NULL)
                OR EXISTS (
                    SELECT FROM documents AS document
                        JOIN LATERAL (
                            SELECT one.id FROM tasks AS one
                                JOIN document_versions AS version ON version.task_id = one.id
                            WHERE version.document_id = document.id AND one.status = 'COMPLETED'
                            ORDER BY version.version DESC LIMIT 1) AS task ON true
                    WHERE document.deleted_at IS NULL AND coalesce({_COLLECTION}, :first) = :collection)
        """),  # noqa: S608 - of constants in this file
        {"collection": collection, "first": first},
    )
    return bool(found.scalar_one())
