"""What the sweep, the lines of knowledge bases, the dead letters and the audit need to know.

Revision ID: 0006
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_DUE = sa.text("status = 'PENDING' AND ready_at IS NOT NULL")


def upgrade() -> None:
    # A bucket is listed in the order of its keys' bytes, and the sweep reads documents in the same: under another
    # collation it could not use the index.
    for table in ("documents", "events_seen"):
        op.alter_column(table, "object_key", type_=sa.Text(collation="C"))
    op.add_column("events_seen", sa.Column("until", sa.Text()))
    op.add_column("events_seen", sa.Column("etag", sa.Text()))
    op.add_column("document_versions", sa.Column("looked_at", sa.DateTime(timezone=True)))
    op.add_column("workers", sa.Column("threads", sa.Integer(), nullable=False, server_default=sa.text("1")))
    op.create_table(
        "sweeps",
        sa.Column("bucket_name", sa.Text(), primary_key=True),
        sa.Column("prefix", sa.Text(), primary_key=True),
        sa.Column("after_key", sa.Text(collation="C")),
        sa.Column("by_folder", sa.Boolean(), nullable=False, server_default=sa.text("false")),
        sa.Column("begun_at", sa.DateTime(timezone=True)),
        sa.Column("ended_at", sa.DateTime(timezone=True)),
        sa.Column("counts", postgresql.JSONB(), nullable=False, server_default=sa.text("'{}'")),
        sa.Column("error", sa.Text()),
    )
    # Most stores list by the bytes of whole keys; those over file systems folder by folder.
    op.create_index(
        "documents_by_folder",
        "documents",
        ["bucket_name", sa.text("replace(object_key, '/', chr(1))")],
        postgresql_where=sa.text("deleted_at IS NULL"),
    )
    op.create_index(
        "documents_leaving",
        "documents",
        ["bucket_name", "object_key"],
        postgresql_where=sa.text("deleted_at IS NOT NULL"),
    )
    op.create_table(
        "job_runs",
        sa.Column("name", sa.Text(), primary_key=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_table(
        "dead_letters",
        sa.Column("id", sa.Text(), primary_key=True),
        sa.Column("queue", sa.Text(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("task_id", sa.Text()),
        sa.Column("step_name", sa.Text()),
        sa.Column("batch", sa.Integer(), nullable=False, server_default=sa.text("0")),
        sa.Column("died_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_died_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("times", sa.Integer(), nullable=False, server_default=sa.text("1")),
        sa.Column("redriven_at", sa.DateTime(timezone=True)),
        sa.Column("redriven_by", sa.Text()),
    )
    op.create_index("dead_letters_by_time", "dead_letters", ["died_at", "id"])
    has_task = sa.text("task_id IS NOT NULL")
    op.create_index("dead_letters_by_task", "dead_letters", ["task_id"], postgresql_where=has_task)
    op.add_column("tasks", sa.Column("trimmed_at", sa.DateTime(timezone=True)))
    op.create_index(
        "tasks_untrimmed",
        "tasks",
        ["completed_at"],
        postgresql_where=sa.text("trimmed_at IS NULL AND tidied_at IS NULL AND completed_at IS NOT NULL"),
    )
    _lines()


def _lines() -> None:
    op.add_column("task_details", sa.Column("lane", sa.Text(), nullable=False, server_default=""))
    op.add_column("task_details", sa.Column("admitted_at", sa.DateTime(timezone=True)))
    op.execute("""
        UPDATE task_details AS step SET lane = task.knowledge_base_id,
            admitted_at = CASE WHEN step.status IN ('PENDING', 'RUNNING') THEN step.published_at END
        FROM tasks AS task WHERE task.id = step.task_id
    """)
    # What is in line, lane by lane, for who is let in next, and for who asks how many are before them.
    op.drop_index("task_details_queue", "task_details")
    op.create_index("task_details_queue", "task_details", ["step_name", "lane", "ready_at"], postgresql_where=_DUE)
    # The relay looks at those that were let in, which are few.
    op.drop_index("task_details_outbox", "task_details")
    op.create_index(
        "task_details_admitted",
        "task_details",
        ["step_name", "lane"],
        postgresql_where=sa.text("status IN ('PENDING', 'RUNNING') AND admitted_at IS NOT NULL"),
    )


def downgrade() -> None:
    op.drop_index("task_details_admitted", "task_details")
    op.create_index("task_details_outbox", "task_details", ["ready_at"], postgresql_where=_DUE)
    op.drop_index("task_details_queue", "task_details")
    op.create_index("task_details_queue", "task_details", ["step_name", "ready_at"], postgresql_where=_DUE)
    op.drop_column("task_details", "admitted_at")
    op.drop_column("task_details", "lane")
    op.drop_index("tasks_untrimmed", "tasks")
    op.drop_column("tasks", "trimmed_at")
    op.drop_table("dead_letters")
    op.drop_index("documents_leaving", "documents")
    op.drop_index("documents_by_folder", "documents")
    op.drop_table("job_runs")
    op.drop_table("sweeps")
    op.drop_column("workers", "threads")
    op.drop_column("document_versions", "looked_at")
    op.drop_column("events_seen", "etag")
    op.drop_column("events_seen", "until")
    for table in ("documents", "events_seen"):
        op.alter_column(table, "object_key", type_=sa.Text())
