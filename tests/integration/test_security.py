"""API keys, in a real Postgres."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest
from pydantic import SecretStr

from common import security
from common.db import Database
from common.errors import ConfigurationError, Unauthenticated
from common.settings import Settings

pytestmark = pytest.mark.integration


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    with closing(Database(Settings(database_url=SecretStr(database_url)), connections=1)) as database:
        yield database


def test_registering_a_key_again_changes_nothing(database: Database) -> None:
    key = security.new_key()
    for _ in range(2):
        with database.transaction() as connection:
            security.register_admin_key(connection, key)
    with database.transaction() as connection:
        assert security.authenticate(connection, key).is_admin


def test_a_key_that_begins_as_another_is_refused_and_the_other_stays(database: Database) -> None:
    first, second = (f"our-company-{letter * 32}" for letter in "ab")
    with database.transaction() as connection:
        security.register_admin_key(connection, first)
    with pytest.raises(ConfigurationError, match="same 12 characters"), database.transaction() as connection:
        security.register_admin_key(connection, second)
    with database.transaction() as connection:
        assert security.authenticate(connection, first).is_admin
        with pytest.raises(Unauthenticated):
            security.authenticate(connection, second)
