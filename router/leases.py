"""The steps that this worker runs at the moment: their leases kept alive, their progress written, their end noticed."""

from __future__ import annotations

import faulthandler
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import structlog

from common import steps
from common.db import Database
from common.errors import LeaseLost, Retryable, TimedOut, Unavailable
from common.steps import Claim

log = structlog.get_logger()

# Progress is for people: more often than this they see no difference.
_PROGRESS_SECONDS = 0.5
# How soon a run learns that its task was cancelled. Work must end 5 s after, and looks at its end in between.
_LOOK_SECONDS = 1.0


class ShuttingDown(Retryable):
    """The worker is going away; another will run the step."""

    code = "SHUTTING_DOWN"


class Run:
    """One run of a step, as the function's context sees it."""

    def __init__(self, claim: Claim, timeout_seconds: float) -> None:
        self.claim = claim
        self.timeout_seconds = timeout_seconds
        self.started = time.monotonic()
        self.percent = 0.0
        self.written_percent = 0.0
        self.lost = False
        self.stopping = False
        self.given_up = False

    @property
    def overdue_seconds(self) -> float:
        """How long it has gone on beyond its time; negative before that."""
        return time.monotonic() - self.started - self.timeout_seconds

    def progress(self, fraction: float) -> None:
        self.percent = 100 * min(max(fraction, 0.0), 1.0)

    def check(self) -> None:
        """Raise if there is no point in going on."""
        if self.lost:
            raise LeaseLost
        if self.stopping:
            raise ShuttingDown
        if self.overdue_seconds > 0:
            raise self.timed_out()

    def timed_out(self) -> TimedOut:
        return TimedOut(
            f"{self.claim.ref.step_name} took longer than the {self.timeout_seconds:g} s that one run of it may take "
            "(router/table.py). If the machine was only busy, retry the task."
        )


class Leases:
    """`on_stuck` is called when a run goes on beyond its time without looking whether anybody wants it."""

    def __init__(
        self, database: Database, *, lease_seconds: float, on_stuck: Callable[[], None] = lambda: None
    ) -> None:
        self._database = database
        self._lease_seconds = lease_seconds
        self._on_stuck = on_stuck
        self._runs: set[Run] = set()
        self._renewed = self._looked = time.monotonic()

    @contextmanager
    def hold(self, claim: Claim, timeout_seconds: float) -> Iterator[Run]:
        run = Run(claim, timeout_seconds)
        self._runs.add(run)
        try:
            yield run
        finally:
            self._runs.discard(run)

    def stop_all(self) -> None:
        """Ask every run to end at its next check."""
        for run in list(self._runs):
            run.stopping = True

    def beat(self) -> None:
        """Write progress; renew leases when a third of their time has passed; look each second who still has one."""
        runs = list(self._runs)
        self._give_up(runs)
        if time.monotonic() - self._renewed > self._lease_seconds / 3:
            self._renew(runs)
        elif time.monotonic() - self._looked > _LOOK_SECONDS:
            self._look(runs)
        self._write_progress(runs)  # last: it may have to wait for a row, and leases may not

    def keep_alive(self, stop: threading.Event, hang_seconds: float | None = None) -> None:
        """Beat until told to stop; the body of a thread.

        If it cannot for `hang_seconds`, as native code that never returns holds the interpreter, the process tells
        where it is and ends: the alarm goes off in a thread of C, which needs no interpreter.
        """
        while not stop.wait(min(_PROGRESS_SECONDS, self._lease_seconds / 6)):
            if hang_seconds is not None:
                faulthandler.dump_traceback_later(hang_seconds, exit=True)
            try:
                self.beat()
            except Unavailable as error:
                log.warning("lease.not_renewed", error=error.message)
            except Exception as error:  # without this thread all leases would be lost
                log.error("lease.not_renewed", exc_info=error)
        faulthandler.cancel_dump_traceback_later()

    def _give_up(self, runs: list[Run]) -> None:
        """Fail the steps of runs that are far beyond their time: they were told, and did not look."""
        for run in runs:
            if run.given_up or run.overdue_seconds < self._lease_seconds:
                continue
            error = run.timed_out()
            with self._database.transaction() as connection:
                # If it was taken from us, it still has one of our threads.
                steps.fail(connection, run.claim, code=error.code, message=error.message, details={})
            run.given_up = run.lost = True
            log.error("run.stuck", task=run.claim.ref.task_id, step=run.claim.ref.step_name)
            self._on_stuck()

    def _look(self, runs: list[Run]) -> None:
        self._looked = time.monotonic()
        if runs:
            with self._database.transaction() as connection:
                held = steps.held(connection, [run.claim for run in runs])
            _tell(runs, held)

    def _renew(self, runs: list[Run]) -> None:
        self._renewed = self._looked = time.monotonic()
        if not runs:
            return
        with self._database.transaction() as connection:
            held = steps.renew(connection, [run.claim for run in runs], lease_seconds=self._lease_seconds)
        _tell(runs, held)

    def _write_progress(self, runs: list[Run]) -> None:
        for run in runs:
            percent = run.percent
            if percent > run.written_percent:
                with self._database.transaction() as connection:
                    steps.set_progress(connection, run.claim, percent=percent)
                run.written_percent = percent


def _tell(runs: list[Run], held: set[str]) -> None:
    for run in runs:
        run.lost = run.lost or run.claim.owner not in held
