"""What ended tasks left behind is cleared away, also where some of it is refused."""

from __future__ import annotations

from collections.abc import Collection
from types import SimpleNamespace
from typing import Any, cast

import pytest

from common.errors import Unavailable
from common.services import Services
from functions.schedule.tidy import tidy
from tests.integration.rig import Rig

pytestmark = pytest.mark.integration


class Leftovers:
    """Index and store, of which one or all documents' rows are refused."""

    def __init__(self, rig: Rig, refused: Collection[str]) -> None:
        self.refused = refused
        self.cleared: list[str] = []
        self.asked = 0
        self.services = cast(
            "Services",
            SimpleNamespace(settings=rig.services.settings, database=rig.database, index=self, objects=self),
        )

    def delete_versions(self, document_id: str, _versions: Any) -> None:
        self.asked += 1
        if document_id in self.refused:
            raise Unavailable("Milvus refuses", server="milvus")

    def delete_prefix(self, prefix: str) -> None:
        self.cleared.append(prefix)


def cancelled(rig: Rig, count: int) -> None:
    """So many cancelled tasks, of documents d1, d2, …"""
    rig.sql(f"""
        INSERT INTO tasks (id, type, document_id, version, knowledge_base_id, created_by, status, completed_at)
        SELECT 't' || n, 'DOCUMENT_UPLOAD', 'd' || n, 1, 'default', 'admin', 'CANCELLED', now() - interval '1 hour'
        FROM generate_series(1, {count}) AS n
    """)


def test_what_is_refused_is_put_off_and_holds_up_nothing_else(rig: Rig) -> None:
    cancelled(rig, 9)
    left = Leftovers(rig, ["d1"])
    tidy(left.services)
    assert sorted(left.cleared) == [f"artifacts/t{number}/" for number in range(2, 10)]
    left.refused = []
    tidy(left.services)
    assert left.cleared[8:] == ["artifacts/t1/"]
    tidy(left.services)
    assert len(left.cleared) == 9


def test_a_server_that_is_away_is_not_asked_for_each(rig: Rig) -> None:
    cancelled(rig, 9)
    left = Leftovers(rig, [f"d{number}" for number in range(1, 10)])
    with pytest.raises(Unavailable):
        tidy(left.services)
    assert left.asked == 3
