"""What knowledge bases that answer need to know.

Revision ID: 0007
"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("knowledge_bases", sa.Column("chunk_by", sa.Text()))
    _members()
    _bases()


def _bases() -> None:
    op.add_column("knowledge_bases", sa.Column("reindex_before", sa.DateTime(timezone=True)))
    op.create_index("tasks_open", "tasks", ["knowledge_base_id"], postgresql_where=sa.text("completed_at IS NULL"))
    op.create_table(
        "bindings",
        sa.Column("id", sa.Text(), primary_key=True),
        sa.Column("bucket_name", sa.Text(), nullable=False),
        sa.Column("prefix", sa.Text(collation="C"), nullable=False),
        sa.Column("knowledge_base_id", sa.Text(), sa.ForeignKey("knowledge_bases.id"), nullable=False),
        sa.Column("user_id", sa.Text(), sa.ForeignKey("users.id"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
    )
    op.create_index("bindings_by_prefix", "bindings", ["bucket_name", "prefix"], unique=True)
    op.create_table(
        "collections",
        sa.Column("name", sa.Text(), primary_key=True),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.Text(), nullable=False),
        sa.Column("made_at", sa.DateTime(timezone=True), nullable=False),
    )


def _members() -> None:
    op.add_column("documents", sa.Column("parent_id", sa.Text(), sa.ForeignKey("documents.id", ondelete="SET NULL")))
    op.add_column("documents", sa.Column("member_count", sa.Integer(), nullable=False, server_default=sa.text("0")))
    op.add_column("documents", sa.Column("member_bytes", sa.BigInteger(), nullable=False, server_default=sa.text("0")))
    op.create_index(
        "documents_by_parent", "documents", ["parent_id"], postgresql_where=sa.text("parent_id IS NOT NULL")
    )


def downgrade() -> None:
    op.drop_table("collections")
    op.drop_table("bindings")
    op.drop_index("tasks_open", "tasks")
    op.drop_column("knowledge_bases", "reindex_before")
    op.drop_column("knowledge_bases", "chunk_by")
    op.drop_index("documents_by_parent", "documents")
    op.drop_column("documents", "member_bytes")
    op.drop_column("documents", "member_count")
    op.drop_column("documents", "parent_id")
