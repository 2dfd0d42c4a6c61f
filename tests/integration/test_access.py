"""Whose base a name means: nobody can have another's documents sent to a base of their own by calling it the same."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from common import access
from common.access import Role
from common.db import Database
from common.errors import Conflict, NotFound
from common.principal import Principal
from common.services import Services
from common.settings import Settings
from tests.integration.live_api import People

pytestmark = pytest.mark.integration

ZOE = Principal("zoe", is_admin=False)


@pytest.fixture
def services(database_url: str) -> Iterator[Services]:
    services = Services(Settings.model_validate({"database_url": database_url}))
    yield services
    services.close()


@pytest.fixture
def people(services: Services) -> People:
    """Zoe, and two others, each with a base of the name `reports`, which has the id of its owner."""
    people = People(services)
    for name in ("zoe", "ann", "eve"):
        people.user(name)
    people.sql("UPDATE knowledge_bases SET name = 'reports' WHERE id IN ('ann', 'eve')")
    return people


def find(database: Database, name: str, caller: Principal = ZOE) -> str:
    with database.transaction() as connection:
        return access.find_base(connection, caller, name, Role.EDITOR)


def test_a_name_that_two_share_with_somebody_means_neither(services: Services, people: People) -> None:
    with pytest.raises(NotFound):
        find(services.database, "reports")
    people.share("ann", "zoe", "editor")
    assert find(services.database, "reports") == "ann"
    people.share("eve", "zoe", "owner")
    with pytest.raises(Conflict) as caught:
        find(services.database, "reports")
    assert caught.value.code == "AMBIGUOUS_NAME"
    assert (find(services.database, "ann"), find(services.database, "eve")) == ("ann", "eve")


def test_a_base_of_ones_own_comes_first(services: Services, people: People) -> None:
    people.share("ann", "zoe", "editor")
    people.share("eve", "zoe", "owner")
    people.sql("UPDATE knowledge_bases SET name = 'reports' WHERE id = 'zoe'")
    assert find(services.database, "reports") == "zoe"


def test_who_sees_all_is_not_sent_to_somebodys_by_chance(services: Services, people: People) -> None:
    with pytest.raises(Conflict):
        find(services.database, "reports", Principal("admin", is_admin=True))
