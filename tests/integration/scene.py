"""A store of made-up objects and what is known of it, for what looks for events that nobody told of."""

from __future__ import annotations

from typing import Any

from sqlalchemy import text

from common import uploads
from tests.integration.rig import Rig
from tests.integration.told_store import ToldStore


class Scene:
    def __init__(self, rig: Rig) -> None:
        self.rig, self.store = rig, ToldStore()

    def rows(self, statement: str) -> list[Any]:
        with self.rig.database.transaction() as connection:
            return [tuple(row) for row in connection.execute(text(statement))]

    def announce(self) -> uploads.Announcement:
        return self.rig.announce()
