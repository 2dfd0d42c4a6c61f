"""When a task will be done, from how long such steps took here lately. All durations are seconds."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from weakref import WeakKeyDictionary

from sqlalchemy import Connection, Engine, text

from common.waiting import Facts

# Enough for medians, and recent enough to follow a deployment that was made faster or slower.
_TASKS = 200
# A client that polls does not see the difference.
_KEEP_SECONDS = 10
# Before that much is done, how fast it goes cannot be told.
_TELLING_PERCENT = 5


@dataclass(frozen=True, slots=True)
class Measured:
    """Medians of what was completed lately.

    `steps`: by step and size class of the document, from beginning to end of the step; `runs`: by step, of one run,
    which is a batch where there are some; `at_once`: by step, how many runs go on now.
    """

    steps: Mapping[str, Mapping[int, float]] = field(default_factory=dict)
    runs: Mapping[str, float] = field(default_factory=dict)
    at_once: Mapping[str, int] = field(default_factory=dict)

    def step_seconds(self, step_name: str, file_size: int) -> float | None:
        """How long the step takes for a document of so many bytes; None: it was never measured.

        Of a size that was not seen it is taken from the nearest one: longer in proportion to the bytes for larger
        documents, and not shorter for smaller ones, as the fixed costs remain.
        """
        by_size = self.steps.get(step_name)
        if not by_size:
            return None
        wanted = size_class(file_size)
        nearest = min(by_size, key=lambda known: abs(known - wanted))
        return by_size[nearest] * 4.0 ** max(wanted - nearest, 0)


@dataclass(frozen=True, slots=True)
class Unfinished:
    """A step that is still to be ended. `progress` in percent."""

    step_name: str
    progress: float
    started_at: datetime | None


def size_class(file_size: int) -> int:
    """Documents within a factor of four in size are of one class: 0 for 1 to 3 bytes, 1 for 4 to 15, and so on."""
    return (max(file_size, 1).bit_length() - 1) // 2


def completion(measured: Measured, unfinished: list[Unfinished], facts: Facts) -> datetime | None:
    """When the last of these steps, in their order, will have ended; None: not all of them were ever measured."""
    expected = [measured.step_seconds(step.step_name, facts.file_size or 0) for step in unfinished]
    known = [seconds for seconds in expected if seconds is not None]
    if not known or len(known) < len(expected):
        return None
    seconds = _waiting(measured, facts) + _remaining(unfinished[0], known[0], facts.now) + sum(known[1:])
    return (facts.now + timedelta(seconds=seconds)).replace(microsecond=0)


def _remaining(step: Unfinished, expected: float, now: datetime) -> float:
    """Of a step that runs: by its progress, as soon as that tells anything."""
    if step.started_at is None:
        return expected
    elapsed = (now - step.started_at).total_seconds()
    if step.progress >= _TELLING_PERCENT:
        return elapsed * (100 - step.progress) / step.progress
    return max(expected - elapsed, 0)


def _waiting(measured: Measured, facts: Facts) -> float:
    """Until the current run begins: its retry is due, and those before it have had their turn."""
    name = facts.step_name or ""
    queued = facts.ahead * measured.runs.get(name, 0) / max(measured.at_once.get(name, 0), 1)
    put_off = (facts.not_before - facts.now).total_seconds() if facts.not_before else 0
    return max(put_off, queued, 0)


_kept: WeakKeyDictionary[Engine, tuple[float, Measured]] = WeakKeyDictionary()
_keeping = threading.Lock()


def measured(connection: Connection) -> Measured:
    """What was measured in this database, not older than some seconds."""
    with _keeping:
        since, found = _kept.get(connection.engine, (0.0, None))
    if found is None or time.monotonic() - since > _KEEP_SECONDS:
        found = measure(connection)
        with _keeping:
            _kept[connection.engine] = (time.monotonic(), found)
    return found


def measure(connection: Connection) -> Measured:
    steps: dict[str, dict[int, float]] = {}
    runs: dict[str, float] = {}
    for row in connection.execute(_MEDIANS, {"tasks": _TASKS}):
        if row.size_class is None:
            if row.run_seconds is not None:
                runs[row.step_name] = row.run_seconds
        elif row.step_seconds is not None:
            steps.setdefault(row.step_name, {})[row.size_class] = row.step_seconds
    at_once = connection.execute(
        text("""
            SELECT step_name, count(*) AS runs FROM task_details WHERE status = 'RUNNING' AND owner IS NOT NULL
            GROUP BY step_name
        """)
    )
    return Measured(steps, runs, {row.step_name: row.runs for row in at_once})


# The class is that of `size_class`: two bits of the size make one.
_MEDIANS = text("""
    WITH recent AS (
        SELECT task.id, (length(ltrim((greatest(version.file_size, 1)) ::bit(64) ::text, '0')) - 1) / 2 AS size_class
        FROM (SELECT id, document_id, version FROM tasks
              WHERE status = 'COMPLETED' AND completed_at IS NOT NULL ORDER BY completed_at DESC LIMIT :tasks) AS task
            LEFT JOIN document_versions AS version
                ON (version.document_id, version.version) = (task.document_id, task.version)),
    done AS (
        SELECT step.step_name, recent.size_class, step.batch, step.ready_at,
            extract(epoch FROM step.completed_at - step.started_at) ::float AS seconds
        FROM recent JOIN task_details AS step ON step.task_id = recent.id
        WHERE step.status = 'COMPLETED')
    SELECT step_name, size_class,
        percentile_cont(0.5) WITHIN GROUP (ORDER BY seconds) FILTER (WHERE batch = 0) AS step_seconds,
        percentile_cont(0.5) WITHIN GROUP (ORDER BY seconds) FILTER (WHERE ready_at IS NOT NULL) AS run_seconds
    FROM done GROUP BY GROUPING SETS ((step_name, size_class), (step_name))
""")
