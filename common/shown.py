"""What search shows: of each document the newest version whose task is COMPLETED, and of no other a passage."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import Connection, text

from common.document_filters import Condition

# Derived, so that it switches at once and for all in the transaction that completes a task.
_SHOWN = """
    FROM documents AS document
        JOIN LATERAL (
            SELECT one.version, one.content_type, one.file_size, one.task_id
            FROM document_versions AS one JOIN tasks ON tasks.id = one.task_id AND tasks.status = 'COMPLETED'
            WHERE one.document_id = document.id ORDER BY one.version DESC LIMIT 1
        ) AS version ON true
        LEFT JOIN LATERAL (
            SELECT details ->> 'media_type' AS media_type FROM task_details
            WHERE task_id = version.task_id AND step_name = 'VALIDATE' AND batch = 0 LIMIT 1
        ) AS judged ON true
        JOIN knowledge_bases AS base ON base.id = document.knowledge_base_id AND base.deleted_at IS NULL
    WHERE document.knowledge_base_id = ANY(:bases) AND document.deleted_at IS NULL
"""


@dataclass(frozen=True, slots=True)
class Shown:
    """A document as a hit tells of it."""

    name: str
    knowledge_base_id: str
    knowledge_base_name: str


def showing(
    connection: Connection, document_ids: Collection[str], bases: Collection[str], condition: Condition
) -> dict[tuple[str, int], Shown]:
    """Those of the documents that are in these bases and meet the condition, by (id, version that shows).

    So what a failed, cancelled or older run left in the index never shows.
    """
    rows = connection.execute(
        text(f"""
            SELECT document.id, version.version, document.name, base.id AS base_id, base.name AS base_name
            {_SHOWN} AND document.id = ANY(:ids) AND {condition.sql}
        """),
        {**condition.parameters, "ids": sorted(document_ids), "bases": list(bases)},
    )
    return {(row.id, row.version): Shown(row.name, row.base_id, row.base_name) for row in rows}


def matching(
    connection: Connection, bases: Collection[str], condition: Condition, *, among: Collection[str] | None, limit: int
) -> list[str]:
    """The ids of up to `limit` documents, of these only, if given, that show in these bases and meet the condition."""
    rows = connection.execute(
        text(f"""
            SELECT document.id {_SHOWN} AND (CAST(:ids AS text[]) IS NULL OR document.id = ANY(:ids))
                AND {condition.sql} LIMIT :limit
        """),
        {
            **condition.parameters,
            "ids": None if among is None else list(among),
            "bases": list(bases),
            "limit": limit,
        },
    )
    return list(rows.scalars())
