"""A migrated database for each test: the last test's, emptied and renamed, which takes a tenth of making one."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import closing, contextmanager

import psycopg2
from psycopg2 import extensions
from psycopg2.sql import SQL, Identifier, Literal

# Tables, their columns, indexes and triggers, and functions: a test that changes more of them than this sees needs a
# database of its own making.
_SHAPE = """
    SELECT md5(string_agg(class::text, ',' ORDER BY class.oid)) || (SELECT count(*) FROM pg_proc)
    FROM (SELECT oid, relname, relnatts, relhastriggers, relchecks FROM pg_class
          WHERE relnamespace = 'public'::regnamespace) AS class
"""


class Databases:
    """`template`: the URL of the migrated database that others are cloned from."""

    def __init__(self, template: str) -> None:
        self._server, self._template = template.rsplit("/", 1)
        self._kept: str | None = None
        with closing(self._connect(self._template)) as connection, connection.cursor() as cursor:
            self._shape = _shape(cursor)
            cursor.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
            self._tables = [name for (name,) in cursor.fetchall()]
            # What migrations put there.
            self._seeded = _filled(cursor, self._tables)
            cursor.execute("CREATE SCHEMA IF NOT EXISTS seed")
            for table in self._seeded:
                cursor.execute(SQL("CREATE TABLE IF NOT EXISTS seed.{0} AS TABLE public.{0}").format(Identifier(table)))

    @contextmanager
    def one(self) -> Iterator[str]:
        """The URL of one under a name that was never used, so that what a test left running finds nothing there."""
        name = f"test_{secrets.token_hex(4)}"
        with closing(self._connect("postgres")) as connection, connection.cursor() as cursor:
            if self._kept:
                cursor.execute(SQL("ALTER DATABASE {} RENAME TO {}").format(Identifier(self._kept), Identifier(name)))
                self._kept = None
            else:
                template = Identifier(self._template)
                cursor.execute(SQL("CREATE DATABASE {} TEMPLATE {}").format(Identifier(name), template))
            yield f"{self._server}/{name}"
            cursor.execute("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = %s", (name,))
            if self._emptied(name):
                self._kept = name
            else:
                cursor.execute(SQL("DROP DATABASE {} WITH (FORCE)").format(Identifier(name)))

    def _emptied(self, name: str) -> bool:
        """Whether it is as the template again; False: the test changed more than rows."""
        with closing(self._connect(name)) as connection, connection.cursor() as cursor:
            # No trigger, no foreign key: neither would let all go in one order.
            cursor.execute("SET session_replication_role = replica")
            if _shape(cursor) != self._shape:
                return False
            if filled := _filled(cursor, self._tables):
                tables = SQL(", ").join(map(Identifier, filled))
                cursor.execute(SQL("TRUNCATE {} RESTART IDENTITY CASCADE").format(tables))
            for table in self._seeded:
                cursor.execute(SQL("INSERT INTO public.{0} TABLE seed.{0}").format(Identifier(table)))
        return True

    def _connect(self, name: str) -> extensions.connection:
        connection = psycopg2.connect(f"{self._server}/{name}")
        connection.autocommit = True
        return connection


def _shape(cursor: extensions.cursor) -> str:
    cursor.execute(_SHAPE)
    return str(cursor.fetchone())


def _filled(cursor: extensions.cursor, tables: list[str]) -> list[str]:
    """Those of the tables that have rows."""
    looks = [SQL("SELECT {} WHERE EXISTS (SELECT FROM {})").format(Literal(name), Identifier(name)) for name in tables]
    cursor.execute(SQL(" UNION ALL ").join(looks))
    return [name for (name,) in cursor.fetchall()]
