"""GET /tasks/stats: what the caller's tasks of some hours tell together."""

from __future__ import annotations

from typing import Annotated

import msgspec

from common import access, task_stats
from common.http import Call
from common.task_stats import TaskStats

# A month: further back the statement would take longer than a call may.
_HOURS = 31 * 24


class StatsQuery(msgspec.Struct, kw_only=True, frozen=True):
    hours: Annotated[float, msgspec.Meta(ge=0.1, le=_HOURS, description="How far to look back.")] = 24


def read_stats(call: Call, query: StatsQuery) -> TaskStats:
    """Counts, throughput, durations and queues of each step, and reasons of failures, of the last hours."""
    steps = [step.name for pipeline in call.pipelines.values() for step in pipeline.steps]
    with call.services.database.transaction() as connection:
        bases = access.bases_of_tasks(connection, call.caller)
        return task_stats.read(connection, bases, hours=query.hours, step_names=steps)
