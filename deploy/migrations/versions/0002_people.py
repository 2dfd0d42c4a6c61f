"""Who may do what, what an upload announced, who did what, and which workers there are.

Revision ID: 0002
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

NOW = sa.text("now()")


def upgrade() -> None:
    _people()
    _sharing()
    _uploads()
    op.create_table(
        "audit_log",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), primary_key=True),
        sa.Column("at", sa.DateTime(timezone=True), server_default=NOW, nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("credential", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("details", postgresql.JSONB(), server_default=sa.text("'{}'"), nullable=False),
    )
    op.create_index("audit_log_by_time", "audit_log", ["at", "id"])
    op.execute("""
        CREATE FUNCTION audit_log_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            RAISE EXCEPTION 'The audit log is append-only.' USING ERRCODE = 'insufficient_privilege';
        END $$
    """)
    op.execute("""
        CREATE TRIGGER audit_log_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_log
        FOR EACH STATEMENT EXECUTE FUNCTION audit_log_is_append_only()
    """)
    op.create_table(
        "workers",
        sa.Column("id", sa.Text(), primary_key=True),
        sa.Column("functions", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("connected", sa.Boolean(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), server_default=NOW, nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), server_default=NOW, nullable=False),
    )


def _people() -> None:
    op.add_column("users", sa.Column("password_hash", sa.Text()))
    op.add_column("users", sa.Column("disabled_at", sa.DateTime(timezone=True)))
    op.add_column("users", sa.Column("tokens_valid_after", sa.DateTime(timezone=True)))
    op.add_column("users", sa.Column("oidc_issuer", sa.Text()))
    op.add_column("users", sa.Column("oidc_subject", sa.Text()))
    op.add_column("users", sa.Column("default_knowledge_base_id", sa.Text(), sa.ForeignKey("knowledge_bases.id")))
    op.create_index("users_by_oidc", "users", ["oidc_issuer", "oidc_subject"], unique=True)
    op.execute("UPDATE users SET default_knowledge_base_id = 'default' WHERE id = 'admin'")
    op.add_column(
        "api_keys",
        sa.Column(
            "scopes", postgresql.ARRAY(sa.Text()), server_default=sa.text("'{read,write,admin}'"), nullable=False
        ),
    )
    op.add_column("api_keys", sa.Column("expires_at", sa.DateTime(timezone=True)))
    op.create_index("api_keys_by_user", "api_keys", ["user_id"])


def _sharing() -> None:
    op.add_column("knowledge_bases", sa.Column("description", sa.Text(), server_default="", nullable=False))
    op.add_column("knowledge_bases", sa.Column("chunk_size", sa.Integer()))
    op.add_column("knowledge_bases", sa.Column("chunk_overlap", sa.Integer()))
    op.add_column("knowledge_bases", sa.Column("deleted_at", sa.DateTime(timezone=True)))
    op.create_index(
        "knowledge_bases_by_owner",
        "knowledge_bases",
        ["owner_id", "name"],
        unique=True,
        postgresql_where=sa.text("deleted_at IS NULL"),
    )
    op.create_table(
        "knowledge_base_members",
        sa.Column(
            "knowledge_base_id", sa.Text(), sa.ForeignKey("knowledge_bases.id", ondelete="CASCADE"), primary_key=True
        ),
        sa.Column("user_id", sa.Text(), sa.ForeignKey("users.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("role", sa.Text(), nullable=False),
        sa.CheckConstraint("role IN ('owner', 'editor', 'reader')", name="known_role"),
    )
    op.create_index("knowledge_base_members_by_user", "knowledge_base_members", ["user_id"])
    op.drop_index("documents_by_knowledge_base", "documents")
    op.create_index("documents_by_knowledge_base", "documents", ["knowledge_base_id", "created_at", "id"])
    op.create_index("documents_by_time", "documents", ["created_at", "id"])
    op.add_column("tasks", sa.Column("knowledge_base_id", sa.Text(), server_default="", nullable=False))
    op.execute("""
        UPDATE tasks SET knowledge_base_id = documents.knowledge_base_id
        FROM documents WHERE documents.id = tasks.document_id
    """)
    op.alter_column("tasks", "knowledge_base_id", server_default=None)
    op.create_index("tasks_by_knowledge_base", "tasks", ["knowledge_base_id", "created_at", "id"])
    op.create_index("tasks_by_time", "tasks", ["created_at", "id"])


def _uploads() -> None:
    op.add_column("document_versions", sa.Column("sha256", sa.Text()))
    op.add_column("document_versions", sa.Column("upload_id", sa.Text()))
    op.add_column("document_versions", sa.Column("part_size", sa.BigInteger()))
    op.add_column("document_versions", sa.Column("expires_at", sa.DateTime(timezone=True)))
    op.create_index(
        "document_versions_expiring", "document_versions", ["expires_at"], postgresql_where=sa.text("etag IS NULL")
    )
    op.create_index(
        "document_versions_by_sha256",
        "document_versions",
        ["sha256"],
        postgresql_where=sa.text("sha256 IS NOT NULL"),
    )


def downgrade() -> None:
    raise NotImplementedError("Going back would lose users, shares and the audit log: restore a backup instead.")
