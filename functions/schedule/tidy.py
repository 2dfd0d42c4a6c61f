"""Ticks: clear away what ended tasks left behind, and what only the steps of completed ones needed.

The index holds the versions that show, and nothing else, in the end: a version that was superseded, cancelled or failed
may have left vectors, and every task leaves its pin and artifacts. Search shows only the newest completed version, so
there is no hurry.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence

import structlog

from common import tidying
from common.errors import Unavailable
from common.services import Services

log = structlog.get_logger()

_AT_ONCE = 100
# Then a server is away, and the rest would only wait for it too.
_MOST_REFUSALS = 3


def tidy(services: Services) -> None:
    """Vectors of versions that do not show any more, artifacts of tasks that were cancelled, replaced, or failed long
    ago. Goes on while there are any, for as long as until the next tick."""
    settings = services.settings

    def due() -> list[str]:
        with services.database.transaction() as connection:
            return tidying.untidy_tasks(
                connection,
                grace_seconds=settings.lease_seconds,
                keep_failed_seconds=settings.keep_failed_seconds,
                limit=_AT_ONCE,
            )

    _while_due(services, due, clear, "tidy")


def trim(services: Services) -> None:
    """Pins, and artifacts that nobody reads again, of tasks that are completed for `trim_seconds`."""

    def due() -> list[str]:
        with services.database.transaction() as connection:
            return tidying.untrimmed_tasks(connection, trim_seconds=services.settings.trim_seconds, limit=_AT_ONCE)

    _while_due(services, due, cut, "trim")


def clear(services: Services, task_id: str) -> None:
    """Take what the task left out of index, store and rows, if it is due. May be broken off and repeated."""
    settings = services.settings
    with services.database.transaction() as connection:
        left = tidying.hold(
            connection,
            task_id,
            # A run that lost its lease may write for a while yet.
            grace_seconds=settings.lease_seconds,
            keep_failed_seconds=settings.keep_failed_seconds,
        )
        if left is None:
            return
        if left.ran:
            services.index.delete_versions(left.document_id, [left.version])
            services.objects.delete_prefix(f"artifacts/{task_id}/")
        tidying.tidied(connection, task_id)


def cut(services: Services, task_id: str) -> None:
    """Leave of a completed task what is still read, if it is due. May be broken off and repeated."""
    with services.database.transaction() as connection:
        held = tidying.hold_to_trim(connection, task_id, trim_seconds=services.settings.trim_seconds)
        if held is not None:
            services.objects.delete_prefix(f"artifacts/{task_id}/", keep=held.kept)
            tidying.trimmed(connection, task_id)


def _while_due(
    services: Services, due: Callable[[], Sequence[str]], work: Callable[[Services, str], None], name: str
) -> None:
    until = time.monotonic() + services.settings.tidy_seconds
    done, more = 0, True
    while more:
        tasks = due()
        refusals = _each(services, tasks, work, name)
        done += len(tasks) - refusals
        more = len(tasks) == _AT_ONCE and not refusals and time.monotonic() < until
    if done:
        log.info("tidy.done", what=name, tasks=done)


def _each(services: Services, tasks: Sequence[str], work: Callable[[Services, str], None], name: str) -> int:
    """Do it for each; returns how many were refused."""
    refusals = 0
    # In any order: one that is refused for ever must not stand before all others.
    for task_id in random.sample(tasks, len(tasks)):
        try:
            work(services, task_id)
        except Unavailable as error:
            refusals += 1
            log.warning("tidy.put_off", what=name, task=task_id, reason=error.message)
            if refusals == _MOST_REFUSALS:
                raise
    return refusals
