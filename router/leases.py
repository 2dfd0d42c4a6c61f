"""The steps that this worker runs at the moment: their leases kept alive, their progress written, their end noticed."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from common import tasks
from common.db import Database
from common.errors import LeaseLost, Retryable, TimedOut, Unavailable
from common.tasks import StepRef

log = structlog.get_logger()

# Progress is for people: more often than this they see no difference.
_PROGRESS_SECONDS = 0.5


class ShuttingDown(Retryable):
    """The worker is going away; another will run the step."""

    code = "SHUTTING_DOWN"


class Run:
    """One run of a step, as the function's context sees it."""

    def __init__(self, ref: StepRef, timeout_seconds: float) -> None:
        self.ref = ref
        self.timeout_seconds = timeout_seconds
        self.started = time.monotonic()
        self.percent = 0.0
        self.written_percent = 0.0
        self.lost = False
        self.stopping = False

    @property
    def overdue(self) -> bool:
        return time.monotonic() - self.started > self.timeout_seconds

    def progress(self, fraction: float) -> None:
        self.percent = 100 * min(max(fraction, 0.0), 1.0)

    def check(self) -> None:
        """Raise if there is no point in going on."""
        if self.lost:
            raise LeaseLost
        if self.stopping:
            raise ShuttingDown
        if self.overdue:
            raise TimedOut(f"The step took longer than the {self.timeout_seconds:g} s it may take.")


class Leases:
    def __init__(self, database: Database, *, owner: str, lease_seconds: float) -> None:
        self._database = database
        self._owner = owner
        self._lease_seconds = lease_seconds
        self._runs: dict[StepRef, Run] = {}
        self._renewed = time.monotonic()

    @contextmanager
    def hold(self, ref: StepRef, timeout_seconds: float) -> Iterator[Run]:
        run = self._runs[ref] = Run(ref, timeout_seconds)
        try:
            yield run
        finally:
            del self._runs[ref]

    def stop_all(self) -> None:
        """Ask every run to end at its next check."""
        for run in list(self._runs.values()):
            run.stopping = True

    def beat(self) -> None:
        """Write progress; renew leases when a third of their time has passed. Raises nothing: it will beat again."""
        runs = list(self._runs.values())
        try:
            self._write_progress(runs)
            if time.monotonic() - self._renewed > self._lease_seconds / 3:
                self._renew(runs)
        except Unavailable as error:
            log.warning("lease.not_renewed", error=error.message)

    def keep_alive(self, stop: threading.Event) -> None:
        """Beat until told to stop; the body of a thread."""
        while not stop.wait(min(_PROGRESS_SECONDS, self._lease_seconds / 6)):
            self.beat()

    def _renew(self, runs: list[Run]) -> None:
        self._renewed = time.monotonic()
        if not runs:
            return
        with self._database.transaction() as connection:
            refs = [run.ref for run in runs]
            still_ours = tasks.renew(connection, refs, owner=self._owner, lease_seconds=self._lease_seconds)
        for run in runs:
            run.lost = run.lost or run.ref not in still_ours

    def _write_progress(self, runs: list[Run]) -> None:
        moved = [run for run in runs if run.percent > run.written_percent]
        if not moved:
            return
        with self._database.transaction() as connection:
            for run in moved:
                run.written_percent = run.percent
                tasks.set_progress(connection, run.ref, owner=self._owner, percent=run.percent)
