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


def _members() -> None:
    op.add_column("documents", sa.Column("parent_id", sa.Text(), sa.ForeignKey("documents.id", ondelete="SET NULL")))
    op.add_column("documents", sa.Column("member_count", sa.Integer(), nullable=False, server_default=sa.text("0")))
    op.add_column("documents", sa.Column("member_bytes", sa.BigInteger(), nullable=False, server_default=sa.text("0")))
    op.create_index(
        "documents_by_parent", "documents", ["parent_id"], postgresql_where=sa.text("parent_id IS NOT NULL")
    )


def downgrade() -> None:
    op.drop_column("knowledge_bases", "chunk_by")
    op.drop_index("documents_by_parent", "documents")
    op.drop_column("documents", "member_bytes")
    op.drop_column("documents", "member_count")
    op.drop_column("documents", "parent_id")
