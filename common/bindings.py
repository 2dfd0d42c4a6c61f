"""Bindings: whose the drops under a prefix of a bucket are, and in which knowledge base. All take an open transaction.

The longest prefix counts. What the API announced, and what an archive held, has its own rules (common/documents.py).
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, RowMapping, text

from common.errors import Conflict, Forbidden, NotFound, Refused
from common.users import clean_username

_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_LONGEST_KEY = 1024  # bytes, in every store

# Of `key` in `bucket`: the base and the owner. Those of bases that were deleted are passed over.
OF_KEY = """
    SELECT binding.knowledge_base_id, binding.user_id
    FROM bindings AS binding JOIN knowledge_bases AS base ON base.id = binding.knowledge_base_id
    WHERE binding.bucket_name = {bucket} AND starts_with({key} COLLATE "C", binding.prefix) AND base.deleted_at IS NULL
    ORDER BY length(binding.prefix) DESC LIMIT 1
"""
_OF_KEY = text(OF_KEY.format(bucket=":bucket", key=":key"))  # of a constant
_VIEW = """
    SELECT binding.id, binding.bucket_name, binding.prefix, binding.knowledge_base_id, base.name AS knowledge_base_name,
        binding.user_id, owner.username, binding.created_at
    FROM bindings AS binding
        JOIN knowledge_bases AS base ON base.id = binding.knowledge_base_id
        JOIN users AS owner ON owner.id = binding.user_id
"""


def of_key(connection: Connection, bucket: str, key: str) -> tuple[str, str] | None:
    """The owner and the base of what is dropped there; None: the default's."""
    row = connection.execute(_OF_KEY, {"bucket": bucket, "key": key}).one_or_none()
    return None if row is None else (row.user_id, row.knowledge_base_id)


def bind(
    connection: Connection, *, bucket: str, prefix: str, base_id: str, owner: str | None, watched: Sequence[str]
) -> RowMapping:
    """What is dropped there from now on goes into this base. `owner`: by id or username; None: the base's.

    Raises `Refused` for a prefix under which nobody looks, or a bucket that cannot be; `NotFound`; `Forbidden` if the
    owner may not put anything into the base; `Conflict` (PREFIX_TAKEN).
    """
    if not _BUCKET.fullmatch(bucket):
        raise Refused(f"No store has a bucket called {bucket!r}.", code="INVALID_BUCKET")
    if not any(prefix.startswith(one) for one in watched):
        raise Refused(
            f"Only what lies under {' or '.join(watched)} becomes a document: begin the prefix so.",
            code="PREFIX_NOT_WATCHED",
        )
    if len(prefix.encode()) > _LONGEST_KEY or any(ord(character) < 32 for character in prefix):
        raise Refused(f"No key begins so: at most {_LONGEST_KEY} bytes, none of them control.", code="INVALID_PREFIX")
    made = connection.execute(
        text("""
            INSERT INTO bindings (id, bucket_name, prefix, knowledge_base_id, user_id)
            VALUES (:id, :bucket, :prefix, :base, :owner)
            ON CONFLICT (bucket_name, prefix) DO NOTHING RETURNING id
        """),
        {
            "id": str(uuid.uuid4()),
            "bucket": bucket,
            "prefix": prefix,
            "base": base_id,
            "owner": _owner(connection, base_id, owner),
        },
    ).scalar_one_or_none()
    if made is None:
        raise Conflict(f"{prefix} is bound already in {bucket}: unbind it first.", code="PREFIX_TAKEN")
    return connection.execute(text(f"{_VIEW} WHERE binding.id = :id"), {"id": made}).mappings().one()


def unbind(connection: Connection, binding_id: str) -> RowMapping:
    """What is dropped there from now on is another binding's, or the default's. Raises `NotFound`."""
    found = connection.execute(text(f"{_VIEW} WHERE binding.id = :id FOR UPDATE OF binding"), {"id": binding_id})
    binding = found.mappings().one_or_none()
    if binding is None:
        raise NotFound(f"There is no binding {binding_id!r}.")
    connection.execute(text("DELETE FROM bindings WHERE id = :id"), {"id": binding_id})
    return binding


def read(connection: Connection, *, position: dict[str, Any], limit: int) -> Sequence[RowMapping]:
    """All of them, the newest first; one more than `limit`, if there are as many."""
    rows = connection.execute(
        text(f"""
            {_VIEW} WHERE CAST(:after_time AS timestamptz) IS NULL
                OR (binding.created_at, binding.id) < (:after_time, :after_id)
            ORDER BY binding.created_at DESC, binding.id DESC LIMIT :limit
        """),
        {**position, "limit": limit + 1},
    )
    return rows.mappings().all()


def _owner(connection: Connection, base_id: str, name: str | None) -> str:
    row = connection.execute(
        text("""
            SELECT person.id, person.username, person.disabled_at,
                person.is_admin OR base.owner_id = person.id OR EXISTS (
                    SELECT FROM knowledge_base_members AS member
                    WHERE (member.knowledge_base_id, member.user_id) = (base.id, person.id)
                        AND member.role <> 'reader') AS writes
            FROM knowledge_bases AS base
                JOIN users AS person ON CASE WHEN CAST(:name AS text) IS NULL THEN person.id = base.owner_id
                    ELSE person.id = :name OR person.username = :username END
            WHERE base.id = :base ORDER BY person.id = :name DESC LIMIT 1
        """),
        {"base": base_id, "name": name, "username": clean_username(name) if name else None},
    ).one_or_none()
    if row is None:
        raise NotFound(f"There is no user {name!r}.")
    if not row.writes:
        raise Forbidden(f"{row.username} may not put anything into this knowledge base: make them an editor first.")
    return str(row.id)
