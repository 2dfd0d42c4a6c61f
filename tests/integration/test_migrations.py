"""The migrations make exactly what the models say."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import Connection, create_engine, text

from common.models import Base
from deploy.migrate import MIGRATIONS, migrate


def test_the_migrated_schema_is_that_of_the_models(database_url: str) -> None:
    engine = create_engine(database_url.replace("postgresql://", "postgresql+psycopg2://", 1))
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []
    engine.dispose()


def test_migrating_again_changes_nothing(database_url: str) -> None:
    migrate(database_url)
    migrate(database_url)


def test_what_the_first_release_left_ends_in_this_one(database_url: str) -> None:
    """An upload that was announced without an end; batches of a step that had failed."""
    with _connected(database_url) as connection:
        connection.execute(text("DROP SCHEMA public CASCADE; CREATE SCHEMA public"))
        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS))
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        for name, status in (("open", "PENDING"), ("failed", "FAILED")):
            connection.execute(
                text("""
                    INSERT INTO documents (id, name, bucket_name, object_key, knowledge_base_id, user_id)
                    VALUES (:name, 'a.txt', 'b', 'incoming/' || :name, 'default', 'admin');
                    INSERT INTO tasks (id, type, document_id, version, created_by, status, completed_at)
                    VALUES (:name, 'DOCUMENT_UPLOAD', :name, 1, 'admin', :status, now());
                    INSERT INTO document_versions (document_id, version, task_id) VALUES (:name, 1, :name);
                    INSERT INTO task_details (task_id, step_order, batch, step_name, ready_at)
                    SELECT :name, 6, batch, 'VECTORIZE', now() FROM generate_series(1, 3) AS batch
                """),
                {"name": name, "status": status},
            )
    migrate(database_url)
    with _connected(database_url) as connection:
        waits = connection.execute(text("SELECT document_id FROM document_versions WHERE expires_at > now()"))
        assert waits.scalars().all() == ["open"]
        left = connection.execute(text("SELECT task_id, status, count(*) FROM task_details GROUP BY 1, 2 ORDER BY 1"))
        assert left.all() == [("failed", "CANCELLED", 3), ("open", "PENDING", 3)]
        bases = connection.execute(text("SELECT DISTINCT knowledge_base_id FROM tasks"))
        assert bases.scalars().all() == ["default"]


@contextmanager
def _connected(database_url: str) -> Iterator[Connection]:
    engine = create_engine(database_url.replace("postgresql://", "postgresql+psycopg2://", 1))
    with engine.begin() as connection:
        yield connection
    engine.dispose()
