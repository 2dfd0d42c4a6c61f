"""Who waits for a step learns how many are before it; what ended lately says how long things take.

Revision ID: 0004
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index(
        "task_details_queue",
        "task_details",
        ["step_name", "ready_at"],
        postgresql_where=sa.text("status = 'PENDING' AND ready_at IS NOT NULL"),
    )
    op.create_index("tasks_ended", "tasks", ["completed_at"], postgresql_where=sa.text("completed_at IS NOT NULL"))


def downgrade() -> None:
    op.drop_index("tasks_ended", "tasks")
    op.drop_index("task_details_queue", "task_details")
