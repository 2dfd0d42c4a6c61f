"""Postgres tells who listens what changed: a task as its clients see it, and what may have revoked a right.

Revision ID: 0003
"""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

# What common/task_views.py shows. Not the lease, which is renewed every few seconds, nor the outbox's marks: a
# statement that sets neither of these columns does not so much as look at the trigger.
_OF_TASK = "knowledge_base_id, status, error_code, error_message, started_at, completed_at"
_OF_STEP = "status, progress, details, error_code, error_message, attempt, not_before, started_at, completed_at"

_REVOKING = {
    "users": "UPDATE OF is_admin, disabled_at, tokens_valid_after, default_knowledge_base_id OR DELETE",
    "api_keys": "UPDATE OF hash, user_id, scopes, revoked_at, expires_at OR DELETE",
    "knowledge_bases": "UPDATE OF owner_id OR DELETE",
    "knowledge_base_members": "UPDATE OF role OR DELETE",
}


def upgrade() -> None:
    # Equal notifications of one transaction are one, so a claim or a finish costs at most one.
    op.execute("""
        CREATE FUNCTION tell_of_task() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF TG_TABLE_NAME = 'tasks' THEN
                PERFORM pg_notify('brigade_tasks', NEW.id);
            ELSE
                PERFORM pg_notify('brigade_tasks', NEW.task_id);
            END IF;
            RETURN NULL;
        END $$
    """)
    op.execute(f"""
        CREATE TRIGGER tasks_told AFTER UPDATE OF {_OF_TASK} ON tasks FOR EACH ROW
        WHEN ({_differs(_OF_TASK)}) EXECUTE FUNCTION tell_of_task()
    """)
    op.execute(f"""
        CREATE TRIGGER task_details_told AFTER UPDATE OF {_OF_STEP} ON task_details FOR EACH ROW
        WHEN (NEW.batch = 0 AND {_differs(_OF_STEP)}) EXECUTE FUNCTION tell_of_task()
    """)
    op.execute("""
        CREATE FUNCTION tell_of_rights() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            NOTIFY brigade_auth;
            RETURN NULL;
        END $$
    """)
    for table, change in _REVOKING.items():
        op.execute(f"""
            CREATE TRIGGER {table}_told AFTER {change} ON {table}
            FOR EACH STATEMENT EXECUTE FUNCTION tell_of_rights()
        """)


def _differs(columns: str) -> str:
    names = columns.split(", ")
    old, new = (", ".join(f"{row}.{name}" for name in names) for row in ("OLD", "NEW"))
    return f"({old}) IS DISTINCT FROM ({new})"


def downgrade() -> None:
    for table in _REVOKING:
        op.execute(f"DROP TRIGGER {table}_told ON {table}")
    op.execute("DROP FUNCTION tell_of_rights()")
    op.execute("DROP TRIGGER task_details_told ON task_details")
    op.execute("DROP TRIGGER tasks_told ON tasks")
    op.execute("DROP FUNCTION tell_of_task()")
