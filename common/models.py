"""The tables. Postgres holds the truth about work; everything else can be rebuilt from it and the store.

State changes go through common/steps.py, common/tasks.py and common/documents.py only.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    LargeBinary,
    Text,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from common.status import Status

# In the order in which stores list keys: that of their bytes.
_KEY = Text(collation="C")


class Base(DeclarativeBase):
    type_annotation_map = {  # noqa: RUF012 - SQLAlchemy reads it from the class
        str: Text(),
        datetime: DateTime(timezone=True),
        dict[str, Any]: JSONB(),
        list[int]: ARRAY(BigInteger()),
        list[str]: ARRAY(Text()),
        bytes: LargeBinary(),
    }


class User(Base):
    __tablename__ = "users"
    id: Mapped[str] = mapped_column(primary_key=True)
    username: Mapped[str] = mapped_column(unique=True)
    is_admin: Mapped[bool] = mapped_column(server_default=text("false"))
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    password_hash: Mapped[str | None]  # Argon2id; none: no login by password
    disabled_at: Mapped[datetime | None]
    tokens_valid_after: Mapped[datetime | None]  # access tokens issued earlier are void: a new password, a logout
    oidc_issuer: Mapped[str | None]
    oidc_subject: Mapped[str | None]
    # Each of the two tables refers to the other.
    default_knowledge_base_id: Mapped[str | None] = mapped_column(ForeignKey("knowledge_bases.id", use_alter=True))

    __table_args__ = (Index("users_by_oidc", "oidc_issuer", "oidc_subject", unique=True),)


class ApiKey(Base):
    """A key is shown once; kept are its SHA-256 (it is random, so no slow hash is needed) and a look-up prefix."""

    __tablename__ = "api_keys"
    prefix: Mapped[str] = mapped_column(primary_key=True)
    hash: Mapped[bytes]
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    name: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    revoked_at: Mapped[datetime | None]
    scopes: Mapped[list[str]] = mapped_column(server_default=text("'{read,write,admin}'"))
    expires_at: Mapped[datetime | None]

    __table_args__ = (Index("api_keys_by_user", "user_id"),)


class KnowledgeBase(Base):
    __tablename__ = "knowledge_bases"
    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    owner_id: Mapped[str] = mapped_column(ForeignKey("users.id"))
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    description: Mapped[str] = mapped_column(server_default="")
    chunk_size: Mapped[int | None]  # tokens; none: the deployment's
    chunk_overlap: Mapped[int | None]
    chunk_by: Mapped[str | None]
    reindex_before: Mapped[datetime | None]  # versions from before then are processed again (common/reindexing.py)
    deleted_at: Mapped[datetime | None]  # its row stays, so that who had a role in it can see its last tasks

    __table_args__ = (
        Index("knowledge_bases_by_owner", "owner_id", "name", unique=True, postgresql_where=text("deleted_at IS NULL")),
    )


class KnowledgeBaseMember(Base):
    """Who else may read or change a knowledge base. Its owner_id needs no row."""

    __tablename__ = "knowledge_base_members"
    knowledge_base_id: Mapped[str] = mapped_column(
        ForeignKey("knowledge_bases.id", ondelete="CASCADE"), primary_key=True
    )
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), primary_key=True)
    role: Mapped[str]  # common/access.py

    __table_args__ = (
        CheckConstraint("role IN ('owner', 'editor', 'reader')", name="known_role"),
        Index("knowledge_base_members_by_user", "user_id"),
    )


class Binding(Base):
    """Whose drops under a prefix are, and where they go; the longest prefix counts. common/bindings.py"""

    __tablename__ = "bindings"
    id: Mapped[str] = mapped_column(primary_key=True)
    bucket_name: Mapped[str]
    prefix: Mapped[str] = mapped_column(_KEY)
    knowledge_base_id: Mapped[str] = mapped_column(ForeignKey("knowledge_bases.id"))
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id"))
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())

    __table_args__ = (Index("bindings_by_prefix", "bucket_name", "prefix", unique=True),)


class AuditEntry(Base):
    """Who did what. A trigger refuses to change or delete a row."""

    __tablename__ = "audit_log"
    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    at: Mapped[datetime] = mapped_column(server_default=func.now())
    user_id: Mapped[str]
    credential: Mapped[str]  # what was shown: a key's prefix, or "token"
    action: Mapped[str]
    subject: Mapped[str]
    details: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'"))

    __table_args__ = (Index("audit_log_by_time", "at", "id"),)


class Document(Base):
    """A key of a bucket, through all its versions. One that is being deleted no longer answers to its key."""

    __tablename__ = "documents"
    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    bucket_name: Mapped[str]
    object_key: Mapped[str] = mapped_column(_KEY)
    knowledge_base_id: Mapped[str] = mapped_column(ForeignKey("knowledge_bases.id"))
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id"))
    metadata_: Mapped[dict[str, Any]] = mapped_column("metadata", server_default=text("'{}'"))
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now())
    deleted_at: Mapped[datetime | None]
    # The archive or e-mail that it was in (common/members.py), and how much this one has unfolded to itself.
    parent_id: Mapped[str | None] = mapped_column(ForeignKey("documents.id", ondelete="SET NULL"))
    member_count: Mapped[int] = mapped_column(server_default=text("0"))
    member_bytes: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))

    __table_args__ = (
        Index(
            "documents_by_key", "bucket_name", "object_key", unique=True, postgresql_where=text("deleted_at IS NULL")
        ),
        # For stores that list folder by folder (common/sweeping.py): "/" comes before everything else.
        Index(
            "documents_by_folder",
            "bucket_name",
            text("replace(object_key, '/', chr(1))"),
            postgresql_where=text("deleted_at IS NULL"),
        ),
        Index("documents_leaving", "bucket_name", "object_key", postgresql_where=text("deleted_at IS NOT NULL")),
        Index("documents_by_knowledge_base", "knowledge_base_id", "created_at", "id"),
        Index("documents_by_time", "created_at", "id"),
        Index("documents_by_parent", "parent_id", postgresql_where=text("parent_id IS NOT NULL")),
    )


class DocumentVersion(Base):
    """What one arrival at the key held. The version that search shows is the newest whose task is COMPLETED."""

    __tablename__ = "document_versions"
    document_id: Mapped[str] = mapped_column(ForeignKey("documents.id", ondelete="CASCADE"), primary_key=True)
    version: Mapped[int] = mapped_column(primary_key=True)
    task_id: Mapped[str] = mapped_column(unique=True)
    content_type: Mapped[str | None]
    file_size: Mapped[int | None] = mapped_column(BigInteger)
    etag: Mapped[str | None]  # unknown while the upload is only announced
    store_version_id: Mapped[str | None]  # where the bucket is versioned
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    sha256: Mapped[str | None]  # hex; what the client said until VALIDATE has looked
    upload_id: Mapped[str | None]  # the store's, of a multipart upload
    part_size: Mapped[int | None] = mapped_column(BigInteger)  # bytes
    expires_at: Mapped[datetime | None]  # until when an announced object is waited for
    looked_at: Mapped[datetime | None]  # when the sweep last looked whether it has come after all

    __table_args__ = (
        Index("document_versions_expiring", "expires_at", postgresql_where=text("etag IS NULL")),
        Index("document_versions_by_sha256", "sha256", postgresql_where=text("sha256 IS NOT NULL")),
    )


class Task(Base):
    """One run of a pipeline for one document version. It outlives its document: it says what was done."""

    __tablename__ = "tasks"
    id: Mapped[str] = mapped_column(primary_key=True)
    type: Mapped[str]
    document_id: Mapped[str]
    version: Mapped[int]
    knowledge_base_id: Mapped[str]
    status: Mapped[str] = mapped_column(server_default=Status.PENDING)
    error_code: Mapped[str | None]
    error_message: Mapped[str | None]
    created_by: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    started_at: Mapped[datetime | None]
    completed_at: Mapped[datetime | None]
    tidied_at: Mapped[datetime | None]  # what an ended task left behind was cleared away
    trimmed_at: Mapped[datetime | None]  # what only its own steps needed was cleared away

    __table_args__ = (
        Index("tasks_by_document", "document_id", "version"),
        Index("tasks_by_knowledge_base", "knowledge_base_id", "created_at", "id"),
        Index("tasks_by_time", "created_at", "id"),
        Index("tasks_open", "knowledge_base_id", postgresql_where=text("completed_at IS NULL")),
        Index("tasks_ended", "completed_at", postgresql_where=text("completed_at IS NOT NULL")),
        Index("tasks_untidy", "completed_at", postgresql_where=text("tidied_at IS NULL AND completed_at IS NOT NULL")),
        Index(
            "tasks_untrimmed",
            "completed_at",
            postgresql_where=text("trimmed_at IS NULL AND tidied_at IS NULL AND completed_at IS NOT NULL"),
        ),
    )


class TaskDetail(Base):
    """A step of a task, and its own outbox entry.

    Batch 0 is the step as people see it. A step that fans out has further rows, 1 to `batches`, each run by a message
    of its own. A row with `ready_at` waits in its lane's line; one with `admitted_at` and without `published_at` is a
    message still to be sent.
    """

    __tablename__ = "task_details"
    task_id: Mapped[str] = mapped_column(ForeignKey("tasks.id", ondelete="CASCADE"), primary_key=True)
    step_order: Mapped[int] = mapped_column(primary_key=True)
    batch: Mapped[int] = mapped_column(primary_key=True, server_default=text("0"))
    step_name: Mapped[str]
    lane: Mapped[str] = mapped_column(server_default="")  # its task's knowledge base: each gets its turn
    weight: Mapped[int] = mapped_column(server_default=text("0"))
    status: Mapped[str] = mapped_column(server_default=Status.PENDING)
    progress: Mapped[float] = mapped_column(server_default=text("0"))  # 0 to 100
    details: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'"))
    error_code: Mapped[str | None]
    error_message: Mapped[str | None]
    attempt: Mapped[int] = mapped_column(server_default=text("0"))  # runs begun

    ready_at: Mapped[datetime | None]  # its input is there
    not_before: Mapped[datetime | None]  # a retry waits until then
    admitted_at: Mapped[datetime | None]  # it is among the few of its lane whose message may be on its way
    published_at: Mapped[datetime | None]  # RabbitMQ has confirmed its message

    owner: Mapped[str | None]  # the worker that runs it
    lease_until: Mapped[datetime | None]  # renewed while it does

    output: Mapped[bytes | None]  # a small artifact, or else
    output_key: Mapped[str | None]  # where the store keeps it
    output_cuts: Mapped[list[int] | None]  # where the shares of it end, in bytes, if a later step runs in batches
    input_first: Mapped[int | None] = mapped_column(BigInteger)  # a batch's share of its input, in bytes
    input_last: Mapped[int | None] = mapped_column(BigInteger)
    batches: Mapped[int | None]
    batches_done: Mapped[int] = mapped_column(server_default=text("0"))

    started_at: Mapped[datetime | None]
    completed_at: Mapped[datetime | None]

    __table_args__ = (
        Index(
            "task_details_queue",
            "step_name",
            "lane",
            "ready_at",
            postgresql_where=text("status = 'PENDING' AND ready_at IS NOT NULL"),
        ),
        Index(
            "task_details_admitted",
            "step_name",
            "lane",
            postgresql_where=text("status IN ('PENDING', 'RUNNING') AND admitted_at IS NOT NULL"),
        ),
        Index("task_details_leases", "owner", postgresql_where=text("status = 'RUNNING' AND owner IS NOT NULL")),
    )


class EventSeen(Base):
    """The latest event of each key. One that is not later than it is late, or told twice, and changes nothing."""

    __tablename__ = "events_seen"
    bucket_name: Mapped[str] = mapped_column(primary_key=True)
    object_key: Mapped[str] = mapped_column(_KEY, primary_key=True)
    sequencer: Mapped[str]  # left-padded hex, so that text order is time order
    seen_at: Mapped[datetime] = mapped_column(server_default=func.now())
    until: Mapped[str | None]  # of an event that was made up: a real one of the same bytes up to here is the same
    etag: Mapped[str | None]  # of what was there then; none: nothing, or this row is older than the column


class Worker(Base):
    """A worker that is alive, as its heartbeat says: who waits for a step learns whether anybody does it."""

    __tablename__ = "workers"
    id: Mapped[str] = mapped_column(primary_key=True)
    functions: Mapped[list[str]]
    connected: Mapped[bool]  # to RabbitMQ
    threads: Mapped[int] = mapped_column(server_default=text("1"))  # steps it runs at once
    started_at: Mapped[datetime] = mapped_column(server_default=func.now())
    seen_at: Mapped[datetime] = mapped_column(server_default=func.now())


class Sweep(Base):
    """How far the comparison of a bucket with the documents is, so that one that was broken off goes on there."""

    __tablename__ = "sweeps"
    bucket_name: Mapped[str] = mapped_column(primary_key=True)
    prefix: Mapped[str] = mapped_column(primary_key=True)
    after_key: Mapped[str | None] = mapped_column(_KEY)  # what is up to here was compared; none: no sweep is under way
    by_folder: Mapped[bool] = mapped_column(server_default=text("false"))  # this store lists folder by folder
    begun_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]  # the last one came to its end, or could not go on
    counts: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'"))
    error: Mapped[str | None]


class IndexCollection(Base):
    """A collection of the index, and its model. The one made last is written; the others go when nothing needs them."""

    __tablename__ = "collections"
    name: Mapped[str] = mapped_column(primary_key=True)
    model: Mapped[str]
    fingerprint: Mapped[str]
    made_at: Mapped[datetime]


class JobRun(Base):
    """When what is done once in a long while was last done, whichever process did it, and was started since."""

    __tablename__ = "job_runs"
    name: Mapped[str] = mapped_column(primary_key=True)
    ended_at: Mapped[datetime]


class DeadLetter(Base):
    """A message that was given up on, with its input and the reason. The same one again is counted."""

    __tablename__ = "dead_letters"
    id: Mapped[str] = mapped_column(primary_key=True)
    queue: Mapped[str]
    code: Mapped[str]
    reason: Mapped[str]
    body: Mapped[bytes]
    size: Mapped[int] = mapped_column(BigInteger)  # bytes; of a body that is larger, only the beginning is kept
    task_id: Mapped[str | None]  # as the message says, which anybody may have sent
    step_name: Mapped[str | None]
    batch: Mapped[int] = mapped_column(server_default=text("0"))
    died_at: Mapped[datetime]
    last_died_at: Mapped[datetime]
    times: Mapped[int] = mapped_column(server_default=text("1"))
    redriven_at: Mapped[datetime | None]
    redriven_by: Mapped[str | None]

    __table_args__ = (
        Index("dead_letters_by_time", "died_at", "id"),
        Index("dead_letters_by_task", "task_id", postgresql_where=text("task_id IS NOT NULL")),
    )
