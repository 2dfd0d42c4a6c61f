"""Knowledge bases: who has them, how their documents are split, and how they end. All take an open transaction."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, RowMapping, text
from sqlalchemy.exc import IntegrityError

from common import removals
from common.access import Role
from common.chunking import Chunking
from common.errors import Conflict, NotFound
from common.pipelines import Pipeline
from common.principal import Principal
from common.reindexing import REMAINING
from common.steps import StepRef
from common.users import clean_username

# Documents that begin to leave in one statement: 0.2 s of it.
AT_ONCE = 1000


@dataclass(frozen=True, slots=True)
class Present:
    """How a document would be processed now: what holds for bases that say nothing, what the model takes at once, and
    the collection that is written."""

    chunking: Chunking
    max_tokens: int
    collection: str


# `held`: by what SPLIT and STORE noted of the versions that show.
_VIEW = f"""
    SELECT base.id, base.name, base.description, base.owner_id, base.created_at,
        base.chunk_size, base.chunk_overlap, base.chunk_by,
        CASE WHEN base.owner_id = :caller THEN 'owner' ELSE member.role END AS role,
        (SELECT count(*) FROM documents WHERE knowledge_base_id = base.id AND deleted_at IS NULL) AS document_count,
        held.chunk_count, held.stale, base.reindex_before,
        CASE WHEN base.reindex_before IS NOT NULL THEN ({REMAINING.format(base="base.id")}) END AS remaining
    FROM knowledge_bases AS base
        LEFT JOIN knowledge_base_members AS member
            ON member.knowledge_base_id = base.id AND member.user_id = :caller
        CROSS JOIN LATERAL (
            SELECT jsonb_build_object(
                'size', least(coalesce(base.chunk_size, CAST(:size AS int)), CAST(:most AS int)),
                'overlap', CASE WHEN base.chunk_size IS NULL THEN CAST(:overlap AS int)
                    ELSE coalesce(base.chunk_overlap, 0) END,
                'by', CASE WHEN base.chunk_size IS NULL THEN CAST(:by AS text)
                    ELSE coalesce(base.chunk_by, 'heading') END) AS now) AS chunking
        CROSS JOIN LATERAL (
            SELECT CAST(coalesce(sum(CAST(store.details ->> 'vectors' AS bigint)), 0) AS bigint) AS chunk_count,
                count(*) FILTER (WHERE split.details -> 'chunking' IS DISTINCT FROM chunking.now
                    OR store.details ->> 'collection' IS DISTINCT FROM :collection) AS stale
            FROM documents AS document
                JOIN LATERAL (
                    SELECT one.task_id FROM document_versions AS one JOIN tasks ON tasks.id = one.task_id
                    WHERE one.document_id = document.id AND tasks.status = 'COMPLETED'
                    ORDER BY one.version DESC LIMIT 1
                ) AS shown ON true
                JOIN task_details AS store
                    ON (store.task_id, store.step_name, store.batch) = (shown.task_id, 'STORE', 0)
                JOIN task_details AS split
                    ON (split.task_id, split.step_name, split.batch) = (shown.task_id, 'SPLIT', 0)
            WHERE document.knowledge_base_id = base.id AND document.deleted_at IS NULL) AS held
    WHERE base.deleted_at IS NULL
"""  # noqa: S608 - of constants


def read_base(connection: Connection, caller: Principal, base_id: str, present: Present) -> RowMapping | None:
    """As clients see it. `role`: the caller's; None for who sees it only because they see all."""
    rows = connection.execute(
        text(f"{_VIEW} AND base.id = :id"), {**_given(present), "caller": caller.user_id, "id": base_id}
    )
    return rows.mappings().one_or_none()


def read_bases(
    connection: Connection, caller: Principal, present: Present, *, position: dict[str, Any], limit: int
) -> Sequence[RowMapping]:
    """The caller's and those shared with them, the newest first; one more than `limit`, if there are as many."""
    rows = connection.execute(
        text(f"""
            {_VIEW} AND (:all OR base.owner_id = :caller OR member.user_id IS NOT NULL)
                AND (CAST(:after_time AS timestamptz) IS NULL
                     OR (base.created_at, base.id) < (:after_time, :after_id))
            ORDER BY base.created_at DESC, base.id DESC LIMIT :limit
        """),
        {**position, **_given(present), "caller": caller.user_id, "all": caller.sees_all, "limit": limit + 1},
    )
    return rows.mappings().all()


def _given(present: Present) -> dict[str, int | str]:
    return {
        "size": present.chunking.size,
        "overlap": present.chunking.overlap,
        "by": present.chunking.by,
        "most": present.max_tokens,
        "collection": present.collection,
    }


def create(connection: Connection, owner_id: str, *, name: str, description: str, chunking: Chunking | None) -> str:
    """A new base; its id. Raises `Conflict` (NAME_TAKEN)."""
    made = connection.execute(
        text("""
            INSERT INTO knowledge_bases (id, name, owner_id, description, chunk_size, chunk_overlap, chunk_by)
            VALUES (:id, :name, :owner, :description, :size, :overlap, :by)
            ON CONFLICT (owner_id, name) WHERE deleted_at IS NULL DO NOTHING RETURNING id
        """),
        {
            "id": str(uuid.uuid4()),
            "name": name,
            "owner": owner_id,
            "description": description,
            **_columns(chunking),
        },
    ).scalar_one_or_none()
    if made is None:
        raise _taken(name)
    return str(made)


def change(
    connection: Connection,
    base_id: str,
    *,
    name: str | None,
    description: str | None,
    chunking: Chunking | None,
    rechunk: bool,
) -> None:
    """What is None stays, and `chunking` unless it is to `rechunk`. Raises `Conflict` (NAME_TAKEN)."""
    try:
        with connection.begin_nested():
            connection.execute(
                text("""
                    UPDATE knowledge_bases
                    SET name = coalesce(:name, name), description = coalesce(:description, description),
                        chunk_size = CASE WHEN :rechunk THEN CAST(:size AS int) ELSE chunk_size END,
                        chunk_overlap = CASE WHEN :rechunk THEN CAST(:overlap AS int) ELSE chunk_overlap END,
                        chunk_by = CASE WHEN :rechunk THEN :by ELSE chunk_by END
                    WHERE id = :id AND deleted_at IS NULL
                """),
                {
                    "id": base_id,
                    "name": name,
                    "description": description,
                    "rechunk": rechunk,
                    **_columns(chunking),
                },
            )
    except IntegrityError:
        raise _taken(name) from None


def delete(connection: Connection, base_id: str) -> None:
    """Out of sight at once. Its documents: `empty`. Raises `Conflict` (DEFAULT_KNOWLEDGE_BASE)."""
    deleted = connection.execute(
        text("""
            UPDATE knowledge_bases SET deleted_at = now()
            WHERE id = :id AND deleted_at IS NULL AND id <> 'default'
                AND NOT EXISTS (SELECT 1 FROM users WHERE default_knowledge_base_id = :id)
        """),
        {"id": base_id},
    )
    if not deleted.rowcount:
        raise Conflict(
            "This is where somebody's uploads go that name no knowledge base: it cannot be deleted.",
            code="DEFAULT_KNOWLEDGE_BASE",
        )


def empty(connection: Connection, base_id: str, pipeline: Pipeline, *, user_id: str) -> list[StepRef]:
    """Begin to delete up to `AT_ONCE` of its documents; returns the messages to send."""
    found = connection.execute(
        text("SELECT id FROM documents WHERE knowledge_base_id = :id AND deleted_at IS NULL LIMIT :limit"),
        {"id": base_id, "limit": AT_ONCE},
    )
    return removals.begin(connection, list(found.scalars()), pipeline, user_id=user_id, asked=True)


def to_empty(connection: Connection) -> dict[str, str]:
    """Bases that were deleted and still have documents, each with its owner."""
    rows = connection.execute(
        text("""
            SELECT id, owner_id FROM knowledge_bases AS base
            WHERE deleted_at IS NOT NULL AND EXISTS (
                SELECT 1 FROM documents WHERE knowledge_base_id = base.id AND deleted_at IS NULL)
        """)
    )
    return {row.id: row.owner_id for row in rows}


def read_members(connection: Connection, base_id: str, *, position: dict[str, Any], limit: int) -> Sequence[RowMapping]:
    """The owner and the members, who joined this server last first; one more than `limit`, if there are as many."""
    rows = connection.execute(
        text("""
            SELECT person.id, person.username, person.created_at,
                CASE WHEN base.owner_id = person.id THEN 'owner' ELSE member.role END AS role
            FROM knowledge_bases AS base
                JOIN users AS person ON person.id = base.owner_id OR person.id IN (
                    SELECT user_id FROM knowledge_base_members WHERE knowledge_base_id = base.id)
                LEFT JOIN knowledge_base_members AS member
                    ON member.knowledge_base_id = base.id AND member.user_id = person.id
            WHERE base.id = :id AND (CAST(:after_time AS timestamptz) IS NULL
                                     OR (person.created_at, person.id) < (:after_time, :after_id))
            ORDER BY person.created_at DESC, person.id DESC LIMIT :limit
        """),
        {**position, "id": base_id, "limit": limit + 1},
    )
    return rows.mappings().all()


def set_member(connection: Connection, base_id: str, person: str, role: Role) -> RowMapping:
    """Give somebody, by id or username, a role. Raises `NotFound`, or `Conflict` (OWNER) for who owns the base."""
    found = _person(connection, base_id, person)
    connection.execute(
        text("""
            INSERT INTO knowledge_base_members (knowledge_base_id, user_id, role) VALUES (:base, :user, :role)
            ON CONFLICT (knowledge_base_id, user_id) DO UPDATE SET role = excluded.role
        """),
        {"base": base_id, "user": found["id"], "role": role.name.lower()},
    )
    return found


def remove_member(connection: Connection, base_id: str, person: str) -> str:
    """Take it from them; their id. Raises `NotFound` if they have none, `Conflict` (OWNER) for who owns the base."""
    found = _person(connection, base_id, person)
    removed = connection.execute(
        text("DELETE FROM knowledge_base_members WHERE (knowledge_base_id, user_id) = (:base, :user)"),
        {"base": base_id, "user": found["id"]},
    )
    if not removed.rowcount:
        raise NotFound(f"{person!r} is no member of this knowledge base.")
    return str(found["id"])


def _person(connection: Connection, base_id: str, person: str) -> RowMapping:
    found = (
        connection.execute(
            text("""
                SELECT id, username, created_at,
                    id = (SELECT owner_id FROM knowledge_bases WHERE id = :base) AS owns
                FROM users WHERE id = :person OR username = :username ORDER BY id = :person DESC LIMIT 1
            """),
            {"base": base_id, "person": person, "username": clean_username(person)},
        )
        .mappings()
        .one_or_none()
    )
    if found is None:
        raise NotFound(f"There is no user {person!r}.")
    if found["owns"]:
        raise Conflict("This is the knowledge base's owner, and stays so.", code="OWNER")
    return found


def _columns(chunking: Chunking | None) -> dict[str, int | str | None]:
    if chunking is None:
        return {"size": None, "overlap": None, "by": None}
    return {"size": chunking.size, "overlap": chunking.overlap, "by": chunking.by}


def _taken(name: str | None) -> Conflict:
    return Conflict(f"There is a knowledge base {name!r} already.", code="NAME_TAKEN")
