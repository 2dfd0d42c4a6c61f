"""API keys and what is remembered of them, in a real Postgres."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest
from pydantic import SecretStr
from sqlalchemy import text

from common import api_keys
from common.access_tokens import AccessTokens
from common.db import Database
from common.errors import ConfigurationError, Unauthenticated
from common.security import Authenticator
from common.settings import Settings

pytestmark = pytest.mark.integration

SETTINGS = Settings(jwt_secret=SecretStr("s" * 32))


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    with closing(Database(Settings(database_url=SecretStr(database_url)), connections=2)) as database:
        yield database


@pytest.fixture
def authenticator(database: Database) -> Authenticator:
    return Authenticator(database, AccessTokens(SETTINGS), cache_seconds=60)


def register(database: Database, key: str) -> str:
    with database.transaction() as connection:
        api_keys.register_admin_key(connection, key)
    return key


def revoke(database: Database, key: str) -> None:
    with database.transaction() as connection:
        connection.execute(text("UPDATE api_keys SET revoked_at = now() WHERE prefix = :prefix"), {"prefix": key[:12]})


def test_registering_a_key_again_changes_nothing(database: Database, authenticator: Authenticator) -> None:
    key = register(database, register(database, api_keys.new_key()))
    assert authenticator.principal(key).is_admin


def test_a_key_that_begins_as_another_is_refused_and_the_other_stays(
    database: Database, authenticator: Authenticator
) -> None:
    first, second = (f"our-company-{letter * 32}" for letter in "ab")
    register(database, first)
    with pytest.raises(ConfigurationError, match="same 12 characters"):
        register(database, second)
    assert authenticator.principal(first).is_admin
    with pytest.raises(Unauthenticated):
        authenticator.principal(second)


def test_a_key_that_would_be_taken_for_a_token_is_refused(database: Database) -> None:
    with pytest.raises(ConfigurationError, match="JWT"):
        register(database, "eyJ" + "a" * 40 + ".b.c")


@pytest.mark.parametrize("credential", ["", "a\0b", "键" * 40, "k" * 5000, "a\nb"])
def test_what_can_be_no_credential_is_refused_without_asking_postgres(credential: str) -> None:
    nowhere = Authenticator(
        Database(Settings(database_url=SecretStr("postgresql://127.0.0.1:1/"))),
        AccessTokens(SETTINGS),
        cache_seconds=60,
    )
    with pytest.raises(Unauthenticated):
        nowhere.principal(credential)


def test_what_is_remembered_is_forgotten_at_the_word_of_a_change(
    database: Database, authenticator: Authenticator
) -> None:
    authenticator.cache.while_listening(lambda: True)
    key = register(database, api_keys.new_key())
    authenticator.principal(key)
    revoke(database, key)
    assert authenticator.principal(key).is_admin  # the word has not come yet
    authenticator.cache.forget()
    with pytest.raises(Unauthenticated):
        authenticator.principal(key)


def test_nothing_is_remembered_while_nobody_listens(database: Database, authenticator: Authenticator) -> None:
    listening = True
    authenticator.cache.while_listening(lambda: listening)
    key = register(database, api_keys.new_key())
    authenticator.principal(key)
    listening = False
    revoke(database, key)
    with pytest.raises(Unauthenticated):
        authenticator.principal(key)


def test_what_was_read_before_a_change_is_not_remembered_after_it(
    database: Database, authenticator: Authenticator
) -> None:
    cache = authenticator.cache
    cache.while_listening(lambda: True)
    key = register(database, api_keys.new_key())
    caller, before = authenticator.principal(key), cache.changes
    cache.forget()
    cache.put(key, caller, before)
    assert cache.get(key) is None
