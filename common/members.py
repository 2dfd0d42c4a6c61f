"""Members: what an archive or an e-mail holds, as documents of their own.

EXTRACT_TEXT puts each into the bucket, under `incoming/<the parent's id>.parts/`, and that is all: its notification, or
the sweep, makes a document of it as of any object, which belongs to its parent's base and owner, and leaves with it.
Only who may write that bucket can put anything there; announced uploads have keys of another form. All take an open
transaction.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from sqlalchemy import Connection, text

from common.errors import LeaseLost, Retryable

_KEY = re.compile(r"incoming/([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\.parts/(.+)", re.DOTALL)


def prefix_of(document_id: str) -> str:
    """What the keys of its members begin with."""
    return f"incoming/{document_id}.parts/"


def parent_of(key: str) -> str | None:
    """The document that an object under this key would be a member of."""
    found = _KEY.fullmatch(key)
    return found[1] if found else None


def path_of(key: str) -> str | None:
    """Where in its archive a member is."""
    found = _KEY.fullmatch(key)
    return found[2] if found else None


@dataclass(frozen=True, slots=True)
class Parent:
    """`document_id` None: it is gone, and only its tasks know whose it was."""

    document_id: str | None
    user_id: str
    knowledge_base_id: str


def hold_parent(connection: Connection, bucket: str, key: str) -> Parent | None:
    """The parent of what arrives under this key, which is not deleted until the transaction ends.

    None: there is none, and never was; or it is in another bucket, so that who may write this one has no say there.
    """
    parent_id = parent_of(key)
    if parent_id is None:
        return None
    found = connection.execute(
        text("""
            SELECT id, user_id, knowledge_base_id FROM documents
            WHERE id = :id AND bucket_name = :bucket AND deleted_at IS NULL FOR SHARE
        """),
        {"id": parent_id, "bucket": bucket},
    ).one_or_none()
    # A statement of its own, which sees that the parent was deleted where the first had to wait for that.
    gone = (
        found
        or connection.execute(
            text("""
            SELECT NULL, created_by, knowledge_base_id FROM tasks
            WHERE document_id = :id AND type = 'DOCUMENT_UPLOAD' AND NOT EXISTS (
                SELECT FROM documents WHERE id = :id AND (deleted_at IS NULL OR bucket_name <> :bucket))
            ORDER BY created_at LIMIT 1
        """),
            {"id": parent_id, "bucket": bucket},
        ).one_or_none()
    )
    return Parent(*gone) if gone else None


def of_these(connection: Connection, document_ids: list[str]) -> list[str]:
    """Their live members, locked in one order. Their own locks must be held, so that no further one can arrive."""
    rows = connection.execute(
        text("SELECT id FROM documents WHERE parent_id = ANY(:ids) AND deleted_at IS NULL ORDER BY id FOR UPDATE"),
        {"ids": document_ids},
    )
    return list(rows.scalars())


@dataclass(frozen=True, slots=True)
class Room:
    """What a document may still unfold to. `levels`: 0 where it lies too deep; `has_any`: it has unfolded before."""

    levels: int
    count: int
    bytes: int
    has_any: bool = False


def room(connection: Connection, document_id: str, *, levels: int, count: int, size: int) -> Room:
    """The budgets are those of the outermost archive with everything in it: what others took of them is gone."""
    row = connection.execute(_ROOM, {"id": document_id}).one()
    return Room(
        levels=max(levels - row.depth, 0),
        count=max(count - int(row.others), 0),
        bytes=max(size - int(row.size), 0),
        has_any=row.own > 0,
    )


def take(
    connection: Connection, document_id: str, task_id: str, *, count: int, size: int, most: int, most_bytes: int
) -> None:
    """Write down what this document unfolds to.

    Raises `Retryable` where others took the room for it meanwhile, `LeaseLost` where the task has ended, as by a newer
    version.
    """
    connection.execute(_HOLD_OUTERMOST, {"id": document_id})
    row = connection.execute(_ROOM, {"id": document_id}).one()
    if row.others and (row.others + count > most or row.size + size > most_bytes):
        raise Retryable("Another archive within the same one was unfolded meanwhile.", code="MEMBERS_TAKEN")
    taken = connection.execute(
        text("""
            UPDATE documents SET member_count = :count, member_bytes = :size
            FROM tasks WHERE tasks.id = :task AND tasks.status = 'RUNNING' AND documents.id = :id
        """),
        {"id": document_id, "task": task_id, "count": count, "size": size},
    )
    if not taken.rowcount:
        raise LeaseLost


def unfolded_before(connection: Connection, task_id: str) -> bool:
    """Whether these very bytes were taken apart to the end already, and no others since: what is missing now of their
    members was deleted."""
    found = connection.execute(
        text("""
            SELECT FROM document_versions AS this JOIN document_versions AS before
                ON before.document_id = this.document_id AND before.version < this.version AND before.etag = this.etag
            JOIN tasks ON tasks.id = before.task_id AND tasks.status = 'COMPLETED'
            WHERE this.task_id = :task AND NOT EXISTS (
                SELECT FROM document_versions AS other WHERE other.document_id = this.document_id
                    AND other.version > before.version AND other.version < this.version
                    AND other.etag IS DISTINCT FROM this.etag)
            LIMIT 1
        """),
        {"task": task_id},
    )
    return found.first() is not None


# A document's line of parents, the outermost last; a key names its parent, so there is no circle.
_UP = """
    WITH RECURSIVE up (id, parent_id, depth) AS (
        SELECT id, parent_id, 0 FROM documents WHERE id = :id
        UNION ALL
        SELECT parent.id, parent.parent_id, depth + 1 FROM up JOIN documents AS parent ON parent.id = up.parent_id)
"""
_HOLD_OUTERMOST = text(f"""
    {_UP} SELECT FROM documents WHERE id = (SELECT id FROM up ORDER BY depth DESC LIMIT 1) FOR NO KEY UPDATE
""")  # noqa: S608 - of constants
_ROOM = text(f"""
    {_UP},
    down (id) AS (
        (SELECT id FROM up ORDER BY depth DESC LIMIT 1)
        UNION ALL
        SELECT member.id FROM down JOIN documents AS member ON member.parent_id = down.id)
    SELECT coalesce((SELECT max(depth) FROM up), 0) AS depth,
        coalesce(sum(member_count) FILTER (WHERE id <> :id), 0) AS others,
        coalesce(sum(member_bytes) FILTER (WHERE id <> :id), 0) AS size,
        coalesce(max(member_count) FILTER (WHERE id = :id), 0) AS own
    FROM documents WHERE id IN (SELECT id FROM down)
""")  # noqa: S608 - of constants
