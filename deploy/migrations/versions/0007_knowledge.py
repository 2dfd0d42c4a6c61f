"""Where a knowledge base's chunks end, and which drops are whose.

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


def downgrade() -> None:
    op.drop_column("knowledge_bases", "chunk_by")
