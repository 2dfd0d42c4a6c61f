"""Tick: dead letters that nobody needs any more, after their days; and the count of those that wait for somebody."""

from __future__ import annotations

import structlog

from common import dead_letters
from common.services import Services
from common.telemetry import OPEN_DEAD_LETTERS

log = structlog.get_logger()

_AT_ONCE = 1000


def forget(services: Services) -> None:
    days = services.settings.dead_letter_days
    with services.database.transaction() as connection:
        cleared = dead_letters.clear(connection, days=days, limit=_AT_ONCE)
        waiting = dead_letters.count_open(connection)
    OPEN_DEAD_LETTERS.clear()
    for queue, count in waiting.items():
        OPEN_DEAD_LETTERS.labels(queue).set(count)
    if cleared:
        log.info("letters.forgotten", letters=cleared)
