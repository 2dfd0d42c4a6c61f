"""What the API answers about people, their keys, and what is shared with them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class Token:
    """Good for `expires_in` seconds."""

    access_token: str
    token_type: str
    expires_in: int


@dataclass(frozen=True, slots=True)
class User:
    id: str
    username: str
    is_admin: bool
    disabled: bool
    has_password: bool
    has_oidc: bool
    default_knowledge_base_id: str | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Me:
    """Who calls, and with what. `credential`: a key's prefix, or "token"."""

    user: User
    credential: str
    scopes: list[str]
    default_knowledge_base_id: str | None
    expires_at: datetime | None


@dataclass(frozen=True, slots=True)
class Removal:
    """`outcome`: deleted, or disabled where the user still owns something."""

    user_id: str
    outcome: str


@dataclass(frozen=True, slots=True)
class Key:
    """`prefix`: how the key begins, which is its name here."""

    prefix: str
    user_id: str
    name: str
    scopes: list[str]
    created_at: datetime
    expires_at: datetime | None


@dataclass(frozen=True, slots=True)
class FreshKey:
    """`key` is shown this once."""

    key: str
    prefix: str
    user_id: str
    name: str
    scopes: list[str]
    created_at: datetime
    expires_at: datetime | None


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """`credential`: a key's prefix, or "token". `subject`: the id of what it was done to."""

    id: int
    at: datetime
    user_id: str
    credential: str
    action: str
    subject: str
    details: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Chunking:
    """Tokens: the largest chunk, and how much of one its successor repeats. `by`: a chunk ends with its "heading"'s
    section and its page, or with its "page" only."""

    size: int
    overlap: int
    by: str = "heading"


@dataclass(frozen=True, slots=True)
class Reindexing:
    """`remaining`: documents that are still to be processed again, or being so."""

    remaining: int
    since: datetime


@dataclass(frozen=True, slots=True)
class KnowledgeBase:
    """`role`: the caller's: owner, editor, reader; None for an admin who has none. `stale`: documents whose chunks were
    made with other options, or another model, than would be now."""

    id: str
    name: str
    description: str
    chunking: Chunking
    role: str | None
    owner_id: str
    created_at: datetime
    document_count: int
    chunk_count: int
    stale: int = 0
    reindexing: Reindexing | None = None


@dataclass(frozen=True, slots=True)
class BaseDeletion:
    """`task_ids`: those that delete its documents; of a very large base the first."""

    knowledge_base_id: str
    task_ids: list[str]


@dataclass(frozen=True, slots=True)
class Member:
    user_id: str
    username: str
    role: str


@dataclass(frozen=True, slots=True)
class Binding:
    """Drops under this prefix of the bucket go into this base, and are this user's."""

    id: str
    bucket_name: str
    prefix: str
    knowledge_base_id: str
    knowledge_base_name: str
    user_id: str
    username: str
    created_at: datetime
