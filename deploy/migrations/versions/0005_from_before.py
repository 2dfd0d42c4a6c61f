"""What earlier releases left, in the states that this one leaves.

Revision ID: 0005
"""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Announced before uploads expired: a URL was good for an hour, and is waited for 15 minutes longer.
    op.execute("""
        UPDATE document_versions AS version SET expires_at = now() + interval '75 minutes'
        FROM tasks AS task
        WHERE task.id = version.task_id AND task.status = 'PENDING'
            AND version.etag IS NULL AND version.expires_at IS NULL
    """)
    # Batches that were left when another one failed their step: they were in the queue that people are told of.
    op.execute("""
        UPDATE task_details AS step
        SET status = 'CANCELLED', completed_at = task.completed_at, owner = NULL, lease_until = NULL
        FROM tasks AS task
        WHERE task.id = step.task_id AND task.status IN ('COMPLETED', 'FAILED', 'CANCELLED')
            AND step.batch > 0 AND step.status IN ('PENDING', 'RUNNING')
    """)


def downgrade() -> None:
    """Nothing to undo: earlier releases know these states."""
