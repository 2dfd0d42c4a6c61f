"""That tests do not find what others left: the database that they share is emptied as if it were new."""

from __future__ import annotations

from contextlib import closing

import psycopg2
import pytest

from tests.integration.databases import Databases

pytestmark = pytest.mark.integration


def test_the_next_test_finds_what_migrations_made_and_nothing_else(databases: Databases) -> None:
    with databases.one() as first:
        fresh = _rows(first)
        _do(first, "UPDATE users SET username = 'other'; INSERT INTO sweeps (bucket_name, prefix) VALUES ('b', 'p')")
        _do(first, "INSERT INTO audit_log (user_id, credential, action, subject) VALUES ('u', 'c', 'a', 's')")
        assert _rows(first) != fresh
        left = psycopg2.connect(first)
    with databases.one() as second:
        assert _rows(second) == fresh
        _do(second, "ALTER TABLE sweeps ADD COLUMN more text")
    with databases.one() as third:
        _do(third, "INSERT INTO sweeps (bucket_name, prefix) VALUES ('b', 'p')")
        assert "more" not in str(_rows(third))
    for url in (first, second):
        with pytest.raises(psycopg2.OperationalError, match="does not exist"):
            psycopg2.connect(url)
    with pytest.raises(psycopg2.Error), left.cursor() as cursor:
        cursor.execute("SELECT 1")


def _do(url: str, sql: str) -> None:
    with closing(psycopg2.connect(url)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(sql)


def _rows(url: str) -> list[str]:
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1")
        found = []
        for (table,) in cursor.fetchall():
            cursor.execute(f"SELECT row_to_json({table})::text FROM {table} ORDER BY 1")
            found += [f"{table}: {row}" for (row,) in cursor.fetchall()]
        return found
